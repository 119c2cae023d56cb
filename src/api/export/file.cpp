#include "api/export/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "api/export/pump.h"
#include "base/log.h"

namespace beeline::exporting {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kBuffer = 256U << 10;
constexpr auto kRetry = std::chrono::seconds(1);

Result<> write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail_errno(errno, "write");
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

// Writes `from` compressed to `to`; `from` goes once that is complete.
Result<> compress(const std::string& from, const std::string& to) {
    const Fd in(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
    if (!in) return fail_errno(errno, "cannot read " + from);
    Fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!out) return fail_errno(errno, "cannot write " + to);
    gzFile zip = gzdopen(out.get(), "wb6");
    if (zip == nullptr) return fail(Code::system, "cannot compress to {}", to);
    (void)out.release(); // gzclose() closes it
    std::array<char, 64 << 10> block{};
    bool good = true;
    for (ssize_t got = 0; good && (got = ::read(in.get(), block.data(), block.size())) != 0;)
        good = got > 0 && gzwrite(zip, block.data(), static_cast<unsigned>(got)) == got;
    good = gzclose(zip) == Z_OK && good;
    if (!good) {
        ::unlink(to.c_str());
        return fail(Code::system, "cannot compress {}", from);
    }
    if (::unlink(from.c_str()) != 0) return fail_errno(errno, "cannot remove " + from);
    return {};
}

class FileExporter final : public Exporter, public Sink {
public:
    FileExporter(const FileOptions& options, Selector selector)
        : options_(options), selector_(std::move(selector)), file_(options) {
        // A block that were larger than the file would overrun its limit.
        if (options.max_bytes != 0)
            block_ =
                static_cast<std::size_t>(std::min<std::uint64_t>(kBuffer, options.max_bytes / 2));
    }
    ~FileExporter() override {
        pump_.reset();
        flush();
    }
    Result<> start(const observe::Store& store) {
        TRY(file_.write("")); // a path that cannot be written is told at once
        pump_ = TRY(Pump::start(store, *this));
        return {};
    }

    [[nodiscard]] std::string name() const override { return options_.name; }
    [[nodiscard]] std::string kind() const override { return "file"; }
    [[nodiscard]] Stats stats() const override {
        const std::lock_guard lock(mutex_);
        return stats_;
    }

    void take(const model::Flow& flow) override {
        if (flow.kind == model::Flow::Kind::lost && flow.lost_where == observe::kLostInQueue) {
            const std::lock_guard lock(mutex_);
            stats_.lost += flow.lost;
        }
        if (!selector_.make(flow, event_)) return;
        buffer_ += json_line(event_);
        buffer_ += '\n';
        ++lines_;
        if (buffer_.size() >= block_) flush();
    }
    void idle() override {
        flush();
        const auto done = file_.tick();
        if (!done) note(done.error());
    }

private:
    void flush() {
        if (buffer_.empty()) return;
        // While nothing can be written, lines are lost and not kept: memory is bounded.
        Result<> done;
        if (Clock::now() >= retry_) {
            done = file_.write(buffer_);
            if (!done) {
                retry_ = Clock::now() + kRetry;
                note(done.error());
            }
        } else {
            done = fail(Code::unavailable, "{}", "");
        }
        const std::lock_guard lock(mutex_);
        (done ? stats_.sent : stats_.failed) += lines_;
        if (done) stats_.last_error.clear();
        buffer_.clear();
        lines_ = 0;
    }
    void note(const Error& error) {
        const std::lock_guard lock(mutex_);
        if (stats_.last_error == error.message) return;
        stats_.last_error = error.message;
        log_error("flows cannot be written", kv("file", options_.path), kv("error", error.message));
    }

    FileOptions options_;
    Selector selector_;
    RotatingFile file_;
    std::size_t block_ = kBuffer;
    std::string buffer_;
    std::uint64_t lines_ = 0;
    Clock::time_point retry_;
    observer::ExportEvent event_;
    mutable std::mutex mutex_;
    Stats stats_; // under mutex_
    std::unique_ptr<Pump> pump_;
};

} // namespace

std::string RotatingFile::older(unsigned number, bool compressed) const {
    return options_.path + "." + std::to_string(number) + (compressed ? ".gz" : "");
}

bool RotatingFile::too_old() const {
    return options_.max_age_s != 0 &&
           Clock::now() - opened_ >= std::chrono::seconds(options_.max_age_s);
}

Result<> RotatingFile::open() {
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(options_.path).parent_path(),
                                        ignored);
    Fd fd(::open(options_.path.c_str(),
                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
    if (!fd) return fail_errno(errno, "cannot open " + options_.path);
    struct stat file{};
    if (::fstat(fd.get(), &file) != 0) return fail_errno(errno, "cannot look at " + options_.path);
    size_ = static_cast<std::uint64_t>(file.st_size);
    opened_ = Clock::now();
    fd_ = std::move(fd);
    // What a crash cut off in the middle of a line must not swallow the next one.
    if (size_ > 0) {
        const Fd reader(::open(options_.path.c_str(), O_RDONLY | O_CLOEXEC));
        char last = '\n';
        if (reader && ::pread(reader.get(), &last, 1, file.st_size - 1) == 1 && last != '\n') {
            TRY(write_all(fd_.get(), "\n"));
            ++size_;
        }
    }
    return {};
}

Result<> RotatingFile::rotate() {
    fd_.reset();
    std::error_code ignored;
    for (const bool zipped : {false, true})
        if (options_.keep > 0) std::filesystem::remove(older(options_.keep, zipped), ignored);
    for (unsigned number = options_.keep; number > 0; --number) {
        for (const bool zipped : {false, true}) {
            if (number == 1 && zipped) continue; // the current file is never compressed
            const std::string from = number == 1 ? options_.path : older(number - 1, zipped);
            if (!std::filesystem::exists(from, ignored)) continue;
            if (::rename(from.c_str(), older(number, zipped).c_str()) != 0)
                return fail_errno(errno, "cannot rename " + from);
        }
    }
    if (options_.keep == 0) {
        if (::unlink(options_.path.c_str()) != 0 && errno != ENOENT)
            return fail_errno(errno, "cannot remove " + options_.path);
    } else if (options_.compress) {
        TRY(compress(older(1, false), older(1, true)));
    }
    return open();
}

Result<> RotatingFile::write(std::string_view lines) {
    if (!fd_) TRY(open());
    const bool full = options_.max_bytes != 0 && size_ + lines.size() > options_.max_bytes;
    if (size_ > 0 && !lines.empty() && (full || too_old())) TRY(rotate());
    const auto done = write_all(fd_.get(), lines);
    if (!done) {
        fd_.reset(); // the next try opens it anew
        return done;
    }
    size_ += lines.size();
    return {};
}

Result<> RotatingFile::tick() { return fd_ && size_ > 0 && too_old() ? rotate() : Result<>{}; }

Result<std::unique_ptr<Exporter>> start_file(const FileOptions& options, hubble::Origin origin,
                                             const observe::Store& store) {
    auto out = std::make_unique<FileExporter>(
        options, TRY(Selector::compile(options.selection, std::move(origin))));
    TRY(out->start(store));
    return std::unique_ptr<Exporter>(std::move(out));
}

} // namespace beeline::exporting
