// beeline-cni: called by container runtimes. See cni/plugin.h.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "cni/plugin.h"

namespace {

// Reads one byte more than is allowed at most, so that too much is noticed.
std::string read_input() {
    std::string input;
    std::array<char, 65536> buffer; // filled by read
    while (input.size() <= beeline::cni::kMaxInput) {
        const auto size = ::read(STDIN_FILENO, buffer.data(), buffer.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) break;
        input.append(buffer.data(), static_cast<std::size_t>(size));
    }
    return input;
}

bool print(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto size = ::write(fd, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return false;
        text.remove_prefix(static_cast<std::size_t>(size));
    }
    return true;
}

} // namespace

int main() {
    const auto environment =
        beeline::cni::read_environment([](const char* name) { return std::getenv(name); });
    const std::string input = environment.command.empty() ? "" : read_input();
    const auto output =
        beeline::cni::run_plugin(environment, input, beeline::api::paths_from_environment);
    print(STDERR_FILENO, output.err);
    return print(STDOUT_FILENO, output.out) ? output.exit_code : 1;
}
