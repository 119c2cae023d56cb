#include "cli/runtime_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <deque>

#include "cli/runtime_files.h"

namespace beeline::cli {
namespace {

std::string old_name(const std::string& path, int age) { return fmt::format("{}.{}", path, age); }

// Calls `each` for every whole line at the start of `text`; returns how many bytes those took.
template <typename F>
std::size_t whole_lines(std::string_view text, F&& each) {
    std::size_t used = 0;
    for (auto end = text.find('\n'); end != std::string_view::npos; end = text.find('\n', used)) {
        const bool more = each(text.substr(used, end - used));
        used = end + 1;
        if (!more) break;
    }
    return used;
}

} // namespace

void remove_log(const std::string& path) {
    ::unlink(path.c_str());
    for (int age = 1; age <= LogWriter::kOldFiles; ++age)
        ::unlink(old_name(path, age).c_str());
}

Result<LogWriter> LogWriter::create(const std::string& path, std::uint64_t most_bytes) {
    remove_log(path);
    Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    if (!fd) return fail_errno(errno, path);
    return LogWriter(path, std::move(fd), most_bytes);
}

void LogWriter::write(std::string_view stream, std::string_view bytes) {
    std::string& pending = stream == "stderr" ? err_ : out_;
    pending.append(bytes);
    pending.erase(0, whole_lines(pending, [&](std::string_view line) {
                      for (; line.size() > kMostLine; line.remove_prefix(kMostLine))
                          put(stream, 'P', line.substr(0, kMostLine));
                      put(stream, 'F', line);
                      return true;
                  }));
    while (pending.size() >= kMostLine) {
        put(stream, 'P', std::string_view(pending).substr(0, kMostLine));
        pending.erase(0, kMostLine);
    }
}

void LogWriter::flush() {
    if (!out_.empty()) put("stdout", 'F', out_);
    if (!err_.empty()) put("stderr", 'F', err_);
    out_.clear();
    err_.clear();
}

void LogWriter::put(std::string_view stream, char tag, std::string_view text) {
    std::string line = fmt::format("{} {} {} {}\n", timestamp(), stream, tag, text);
    if (lost_ != 0)
        line =
            fmt::format("{} beeline F {} lines could not be written\n", timestamp(), lost_) + line;
    if (size_ + line.size() > most_bytes_) rotate();
    // A full disk must not stop the workload.
    const auto written = fd_ ? ::write(fd_.get(), line.data(), line.size()) : -1;
    if (written > 0) size_ += static_cast<std::uint64_t>(written);
    if (written == static_cast<ssize_t>(line.size())) {
        lost_ = 0;
    } else {
        ++lost_;
        if (!fd_) fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    }
}

void LogWriter::rotate() {
    for (int age = kOldFiles; age > 1; --age)
        std::rename(old_name(path_, age - 1).c_str(), old_name(path_, age).c_str());
    std::rename(path_.c_str(), old_name(path_, 1).c_str());
    fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
    size_ = 0;
}

LogLine parse_log_line(std::string_view line) {
    LogLine result;
    const auto first = line.find(' ');
    const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
    if (second == std::string_view::npos || second + 2 >= line.size() || line[second + 2] != ' ' ||
        (line[second + 1] != 'F' && line[second + 1] != 'P')) {
        result.stream = "beeline";
        result.text = line;
        return result;
    }
    result.time = line.substr(0, first);
    result.stream = line.substr(first + 1, second - first - 1);
    result.full = line[second + 1] == 'F';
    result.text = line.substr(second + 3);
    return result;
}

Result<> LogReader::tail(long count, const std::function<bool(std::string_view line)>& on_line) {
    fd_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd_) {
        if (errno == ENOENT) return fail(Code::not_found, "there is no log {}", path_);
        return fail_errno(errno, path_);
    }
    std::deque<std::string> last;
    const auto keep = [&](std::string_view line) {
        if (count < 0) return on_line(line);
        last.emplace_back(line);
        if (last.size() > static_cast<std::size_t>(count)) last.pop_front();
        return true;
    };
    for (int age = LogWriter::kOldFiles; age > 0; --age) {
        const auto text = read_file(old_name(path_, age));
        if (text) whole_lines(*text, keep);
    }
    drain(keep);
    for (const auto& line : last)
        if (!on_line(line)) break;
    return {};
}

bool LogReader::drain(const std::function<bool(std::string_view line)>& on_line) {
    std::array<char, 65536> buffer; // filled by read
    for (;;) {
        const ssize_t got = ::read(fd_.get(), buffer.data(), buffer.size());
        if (got <= 0) return true;
        pending_.append(buffer.data(), static_cast<std::size_t>(got));
        bool more = true;
        pending_.erase(
            0, whole_lines(pending_, [&](std::string_view line) { return more = on_line(line); }));
        if (!more) return false;
    }
}

Result<> LogReader::more(const std::function<bool(std::string_view line)>& on_line) {
    for (int file = 0; file <= LogWriter::kOldFiles; ++file) {
        struct stat current{};
        struct stat named{};
        if (::fstat(fd_.get(), &current) != 0) return fail_errno(errno, path_);
        // Look at the name first: whatever the old file got before it was renamed is then read below.
        const bool moved = ::stat(path_.c_str(), &named) == 0 && named.st_ino != current.st_ino;
        if (!drain(on_line) || !moved) return {};
        fd_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
        if (!fd_) return fail_errno(errno, path_);
        pending_.clear();
    }
    return {};
}

} // namespace beeline::cli
