#include "cli/runtime_supervise.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <optional>

namespace beeline::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGrace{10};
constexpr std::chrono::seconds kDrain{1};
constexpr int kPassedOn[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};

sigset_t taken_signals() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : kPassedOn)
        ::sigaddset(&set, signal);
    ::sigaddset(&set, SIGCHLD);
    return set;
}

// False at the end of the stream.
bool pump(int fd, std::string_view stream, LogWriter& log) {
    std::array<char, 65536> buffer; // filled by read
    for (;;) {
        const ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno == EAGAIN;
        if (got == 0) return false;
        log.write(stream, {buffer.data(), static_cast<std::size_t>(got)});
        // Signals wait while this goes on: not longer than one buffer.
        if (static_cast<std::size_t>(got) < buffer.size()) return true;
    }
}

int milliseconds_until(const std::optional<Clock::time_point>& deadline) {
    if (!deadline) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 0));
}

class Waiting {
public:
    explicit Waiting(const Watched& watched) : watched_(watched) {}

    int run() {
        std::array<pollfd, 3> polled{
            {{watched_.signals.fd(), POLLIN, 0}, {-1, POLLIN, 0}, {-1, POLLIN, 0}}};
        if (watched_.log != nullptr) {
            polled[1].fd = watched_.out.get();
            polled[2].fd = watched_.err.get();
        }
        while (!exit_code_) {
            ::poll(polled.data(), polled.size(), milliseconds_until(deadline_));
            if (deadline_ && Clock::now() >= *deadline_) kill_all();
            if (polled[1].revents != 0 && !pump(polled[1].fd, "stdout", *watched_.log))
                polled[1].fd = -1;
            if (polled[2].revents != 0 && !pump(polled[2].fd, "stderr", *watched_.log))
                polled[2].fd = -1;
            take_signals();
        }
        return *exit_code_;
    }

private:
    void take_signals() {
        signalfd_siginfo info{};
        while (!exit_code_ && ::read(watched_.signals.fd(), &info, sizeof(info)) == sizeof(info)) {
            const int signal = static_cast<int>(info.ssi_signo);
            if (signal == SIGCHLD) {
                look_at_main();
            } else if (signal == SIGTERM && deadline_) {
                kill_all();
            } else {
                if (signal == SIGTERM) deadline_ = Clock::now() + kGrace;
                // From the keyboard it is meant for the whole group.
                const bool keyboard =
                    info.ssi_code == SI_KERNEL && (signal == SIGINT || signal == SIGQUIT);
                ::kill(keyboard ? -watched_.main : watched_.main, signal);
            }
        }
    }

    void look_at_main() {
        for (;;) {
            siginfo_t info{};
            if (::waitid(P_PID, static_cast<id_t>(watched_.main), &info,
                         WEXITED | WSTOPPED | WNOHANG) != 0 ||
                info.si_pid == 0)
                return;
            if (info.si_code == CLD_EXITED) exit_code_ = info.si_status;
            if (info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED)
                exit_code_ = 128 + info.si_status;
            if (exit_code_) return;
            if (info.si_code == CLD_STOPPED && watched_.terminal != nullptr)
                watched_.terminal->stopped(watched_.main, info.si_status);
        }
    }

    void kill_all() {
        watched_.kill_all();
        ::kill(watched_.main, SIGKILL);
        deadline_ = Clock::now() + kGrace;
    }

    const Watched& watched_;
    std::optional<Clock::time_point> deadline_;
    std::optional<int> exit_code_;
};

} // namespace

Result<Signals> Signals::take() {
    // Whoever ignores these leaves them ignored to its children: then no child could be waited for, and a broken pipe
    // must be an error here, not the end.
    ::signal(SIGCHLD, SIG_DFL);
    ::signal(SIGPIPE, SIG_IGN);
    const sigset_t set = taken_signals();
    if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return fail_errno(errno, "block signals");
    Fd fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!fd) return fail_errno(errno, "signalfd");
    return Signals(std::move(fd));
}

int Signals::pending() const {
    sigset_t set;
    if (::sigpending(&set) != 0) return 0;
    for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT})
        if (::sigismember(&set, signal) == 1) return signal;
    return 0;
}

Result<> make_output_pipe(Fd& read, Fd& write) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    read.reset(ends[0]);
    write.reset(ends[1]);
    // Of the read end alone: the flag belongs to each end, and the workload expects writes that wait.
    if (::fcntl(read.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "pipe");
    return {};
}

int wait_for_end(const Watched& watched) { return Waiting(watched).run(); }

void drain_output(LogWriter& log, const Fd& out, const Fd& err) {
    const auto deadline = Clock::now() + kDrain;
    bool out_open = static_cast<bool>(out);
    bool err_open = static_cast<bool>(err);
    while ((out_open || err_open) && Clock::now() < deadline) {
        std::array<pollfd, 2> polled{
            {{out_open ? out.get() : -1, POLLIN, 0}, {err_open ? err.get() : -1, POLLIN, 0}}};
        ::poll(polled.data(), polled.size(), 50);
        if (polled[0].revents != 0) out_open = pump(out.get(), "stdout", log);
        if (polled[1].revents != 0) err_open = pump(err.get(), "stderr", log);
    }
    log.flush();
}

std::string read_until_closed(int fd) {
    std::string text;
    std::array<char, 4096> buffer; // filled by read
    for (;;) {
        const ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

} // namespace beeline::cli
