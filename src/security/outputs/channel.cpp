#include "security/outputs/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string_view>

#include "base/fd.h"

extern char** environ; // NOLINT(readability-redundant-declaration)

namespace beeline::security {
namespace {

constexpr int kPipeTimeoutMs = 2000;
constexpr mode_t kFileMode = 0640;

Result<> write_all(int fd, std::string_view text, std::string_view where, int timeout_ms = -1) {
    while (!text.empty()) {
        if (timeout_ms >= 0) {
            pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
            if (poll(&ready, 1, timeout_ms) == 0)
                return fail(Code::unavailable, "{} takes no more", where);
        }
        const auto count = write(fd, text.data(), text.size());
        if (count < 0) {
            if (errno == EINTR || errno == EAGAIN) continue;
            return fail_errno(errno, fmt::format("cannot write to {}", where));
        }
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return {};
}

class Stdout final : public Channel {
public:
    Result<> send(const std::string& line, bool, const model::Alert&) override {
        return write_all(STDOUT_FILENO, line + "\n", "standard output");
    }
};

class Syslog final : public Channel {
public:
    Result<> send(const std::string& line, bool, const model::Alert& alert) override {
        syslog(LOG_USER | static_cast<int>(alert.priority), "%s", line.c_str());
        return {};
    }
};

class File final : public Channel {
public:
    explicit File(FileOutput output) : output_(std::move(output)) {}

    Result<> send(const std::string& line, bool, const model::Alert&) override {
        TRY(open_again_if_moved());
        if (output_.max_bytes != 0 && size_ > 0 && size_ + line.size() + 1 > output_.max_bytes) {
            rotate();
            TRY(open_file());
        }
        TRY(write_all(fd_.get(), line + "\n", output_.path));
        size_ += line.size() + 1;
        return {};
    }

private:
    Result<> open_file() {
        fd_ = Fd(open(output_.path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
                      kFileMode));
        if (!fd_) return fail_errno(errno, "cannot open the alert file " + output_.path);
        struct stat now{};
        if (fstat(fd_.get(), &now) != 0) return fail_errno(errno, output_.path);
        inode_ = now.st_ino;
        size_ = static_cast<std::uint64_t>(now.st_size);
        return {};
    }

    Result<> open_again_if_moved() {
        struct stat now{};
        if (fd_ && stat(output_.path.c_str(), &now) == 0 && now.st_ino == inode_) return {};
        return open_file();
    }

    // path.4 -> path.5, ... path -> path.1
    void rotate() const {
        const auto old = [&](unsigned number) {
            return number == 0 ? output_.path : fmt::format("{}.{}", output_.path, number);
        };
        if (output_.keep == 0) {
            (void)unlink(output_.path.c_str());
            return;
        }
        for (unsigned number = output_.keep; number > 0; --number)
            (void)rename(old(number - 1).c_str(), old(number).c_str());
    }

    FileOutput output_;
    Fd fd_;
    ino_t inode_ = 0;
    std::uint64_t size_ = 0;
};

class Program final : public Channel {
public:
    explicit Program(ProgramOutput output) : output_(std::move(output)) {}
    ~Program() override { end(); }

    Result<> send(const std::string& line, bool, const model::Alert&) override {
        if (!input_) TRY(start());
        auto done = write_all(input_.get(), line + "\n", output_.command[0], kPipeTimeoutMs);
        if (!done && output_.keep_alive) { // it ended meanwhile: once more with a new one
            end();
            TRY(start());
            done = write_all(input_.get(), line + "\n", output_.command[0], kPipeTimeoutMs);
        }
        if (!done || !output_.keep_alive) end();
        return done;
    }

private:
    Result<> start() {
        int ends[2];
        if (pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "cannot make a pipe");
        const Fd output(ends[0]);
        input_ = Fd(ends[1]);
        std::vector<char*> arguments;
        arguments.reserve(output_.command.size() + 1);
        for (auto& word : output_.command)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, output.get(), STDIN_FILENO);
        // The agent blocks signals and ignores SIGPIPE: the program starts without that.
        posix_spawnattr_t attributes;
        posix_spawnattr_init(&attributes);
        sigset_t none;
        sigset_t all;
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &all);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        const int error =
            posix_spawnp(&child_, arguments[0], &actions, &attributes, arguments.data(), environ);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
        if (error != 0) {
            input_.reset();
            child_ = -1;
            return fail_errno(error, fmt::format("cannot start {}", output_.command[0]));
        }
        return {};
    }

    // The end of its input ends a well-behaved program; others are killed.
    void end() {
        input_.reset();
        if (child_ <= 0) return;
        for (int tries = 0; tries < 20; ++tries) {
            if (waitpid(child_, nullptr, WNOHANG) != 0) {
                child_ = -1;
                return;
            }
            (void)poll(nullptr, 0, 50);
        }
        kill(child_, SIGKILL);
        (void)waitpid(child_, nullptr, 0);
        child_ = -1;
    }

    ProgramOutput output_;
    Fd input_;
    pid_t child_ = -1;
};

} // namespace

std::unique_ptr<Channel> stdout_channel() { return std::make_unique<Stdout>(); }
std::unique_ptr<Channel> syslog_channel() { return std::make_unique<Syslog>(); }
std::unique_ptr<Channel> file_channel(FileOutput output) {
    return std::make_unique<File>(std::move(output));
}
std::unique_ptr<Channel> program_channel(ProgramOutput output) {
    return std::make_unique<Program>(std::move(output));
}

} // namespace beeline::security
