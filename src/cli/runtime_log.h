// The log of a detached workload. One line: `TIME STREAM TAG TEXT`, as container runtimes write them, with STREAM
// stdout, stderr or beeline (the supervisor itself) and TAG F for a full line, P for a piece of a long one.
// FILE, FILE.1 (older) and FILE.2 (oldest).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::cli {

class LogWriter {
public:
    static constexpr std::uint64_t kMostBytes = 10 << 20; // of one file
    static constexpr int kOldFiles = 2;
    static constexpr std::size_t kMostLine = 16 << 10; // longer lines are cut into pieces

    // Starts anew: earlier files of this name are removed.
    static Result<LogWriter> create(const std::string& path, std::uint64_t most_bytes = kMostBytes);

    // `stream` must be "stdout" or "stderr". Text after the last newline waits for its rest.
    void write(std::string_view stream, std::string_view bytes);
    void note(std::string_view text) { put("beeline", 'F', text); }
    // Writes what waits, as unfinished lines.
    void flush();

private:
    LogWriter(std::string path, Fd fd, std::uint64_t most_bytes)
        : path_(std::move(path)), fd_(std::move(fd)), most_bytes_(most_bytes) {}
    void put(std::string_view stream, char tag, std::string_view text);
    void rotate();

    std::string path_;
    Fd fd_;
    std::uint64_t most_bytes_;
    std::uint64_t size_ = 0;
    std::uint64_t lost_ = 0; // lines that could not be written; told by the next that can
    std::string out_;        // unfinished lines
    std::string err_;
};

struct LogLine {
    std::string_view time;
    std::string_view stream;
    bool full = true;
    std::string_view text;
};

// An unparsable line comes back as text of the stream "beeline".
LogLine parse_log_line(std::string_view line);

void remove_log(const std::string& path);

// The last `count` lines over all files of a log, oldest first; everything when `count` is negative.
class LogReader {
public:
    explicit LogReader(std::string path) : path_(std::move(path)) {}

    // False from `on_line` ends it.
    Result<> tail(long count, const std::function<bool(std::string_view line)>& on_line);
    // What was written since `tail` or the last call, through rotations. Only whole lines.
    Result<> more(const std::function<bool(std::string_view line)>& on_line);

private:
    bool drain(const std::function<bool(std::string_view line)>& on_line);

    std::string path_;
    Fd fd_;
    std::string pending_;
};

} // namespace beeline::cli
