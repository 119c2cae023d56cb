#include "cli/sysdump/command.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/fd.h"

namespace beeline::cli {
namespace {

using Clock = std::chrono::steady_clock;

// Not $PATH: this runs as root.
std::string find_program(const std::string& name) {
    for (const auto* folder : {"/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
        auto path = folder + name;
        if (::access(path.c_str(), X_OK) == 0) return path;
    }
    return {};
}

} // namespace

Result<std::string> command_output(const std::vector<std::string>& command, std::size_t most,
                                   std::chrono::milliseconds timeout) {
    const auto program = find_program(command.front());
    if (program.empty()) return fail(Code::not_found, "{} is not installed", command.front());
    std::vector<char*> arguments;
    for (const auto& word : command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const char* environment[]{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C", nullptr};
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    const Fd read_end(ends[0]);
    Fd write_end(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(errno, "fork");
    if (pid == 0) {
        const int null = ::open("/dev/null", O_RDONLY);
        ::dup2(null, STDIN_FILENO);
        ::dup2(write_end.get(), STDOUT_FILENO);
        ::dup2(write_end.get(), STDERR_FILENO);
        ::execve(program.c_str(), arguments.data(), const_cast<char**>(environment));
        ::_exit(127);
    }
    write_end.reset();
    std::string output;
    const auto until = Clock::now() + timeout;
    bool late = false;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
        pollfd entry{.fd = read_end.get(), .events = POLLIN, .revents = 0};
        const int ready = left > 0 ? ::poll(&entry, 1, static_cast<int>(left)) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) {
            late = true;
            ::kill(pid, SIGKILL);
            break;
        }
        std::array<char, 65536> buffer;
        const auto size = ::read(read_end.get(), buffer.data(), buffer.size());
        if (size <= 0) break;
        const auto room = most - std::min(most, output.size());
        output.append(buffer.data(), std::min(room, static_cast<std::size_t>(size)));
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late) return fail(Code::unavailable, "{} took too long", command.front());
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        output += fmt::format("\n[exit code {}]\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    return output;
}

} // namespace beeline::cli
