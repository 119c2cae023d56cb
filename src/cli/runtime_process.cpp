#include "cli/runtime_process.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>

#include "cli/runtime_isolation.h"

namespace beeline::cli {
namespace {

struct Pipe {
    Fd read;
    Fd write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

// Reads until every writer has closed.
std::string read_all(int fd) {
    std::string text;
    std::array<char, 512> buffer; // filled by read
    for (;;) {
        const ssize_t got = ::read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

bool read_byte(int fd) {
    char byte = 0;
    ssize_t got = -1;
    do
        got = ::read(fd, &byte, 1);
    while (got < 0 && errno == EINTR);
    return got == 1;
}

void write_byte(int fd) { (void)!::write(fd, "g", 1); }

constexpr char kReady = 0;

// A report is the exit code as one byte, then the message; kReady alone says that all is well.
[[noreturn]] void report_and_exit(int fd, int code, std::string_view message) {
    std::string text(1, static_cast<char>(code));
    text += message;
    (void)!::write(fd, text.data(), text.size());
    ::_exit(code);
}

void reset_signals() {
    for (int signal = 1; signal < NSIG; ++signal)
        ::signal(signal, SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Moves `fd` to `number`; the copy is not inherited by programs when `number` is above 2.
bool move_fd(int fd, int number) {
    if (fd == number) return ::fcntl(fd, F_SETFD, number > 2 ? FD_CLOEXEC : 0) == 0;
    return ::dup3(fd, number, number > 2 ? O_CLOEXEC : 0) == number;
}

// The numbers that a child of the supervisor keeps its descriptors at.
constexpr int kStatus = 3;
constexpr int kGo = 4;
constexpr int kInit = 5; // main only, and only with an init

// fds[n] becomes n; everything else is closed.
bool keep_only(std::vector<int> fds) {
    // First out of the way of those numbers, wherever they are now.
    for (int& fd : fds) {
        fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 16);
        if (fd < 0) return false;
    }
    int number = 0;
    for (const int fd : fds)
        if (!move_fd(fd, number++)) return false;
    ::closefrom(number);
    return true;
}

[[noreturn]] void run_init(const ProcessPlan& plan, int status, int go) {
    ::prctl(PR_SET_NAME, "beeline-init", 0, 0, 0);
    ::setsid();
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (!keep_only({null, null, null, status, go})) ::_exit(1);
    reset_signals();
    const auto prepare = [&]() -> Result<> {
        TRY(die_with_parent(kStatus));
        if (!read_byte(kGo)) ::_exit(1);
        TRY(enter_new_namespaces(plan.spec, plan.netns, plan.hidden));
        if (::chdir("/") != 0) return fail_errno(errno, "/");
        return drop_all_capabilities();
    };
    if (auto done = prepare(); !done) report_and_exit(kStatus, 1, done.error().message);
    // Children whose parent is gone come here; the kernel reaps them at once when this signal is ignored. Other
    // signals from inside do nothing to a process 1 that does not handle them.
    ::signal(SIGCHLD, SIG_IGN);
    (void)!::write(kStatus, &kReady, 1);
    ::closefrom(0);
    for (;;)
        ::pause();
}

Result<> change_directory(const ProcessPlan& plan) {
    if (!plan.spec.workdir.empty()) {
        if (::chdir(plan.spec.workdir.c_str()) != 0)
            return fail_errno(errno, "--workdir " + plan.spec.workdir);
    } else if (::chdir(plan.directory.c_str()) != 0 && ::chdir("/") != 0) {
        return fail_errno(errno, "/");
    }
    return {};
}

// The C library's own search falls back to a shell for files without a format; this one never does.
[[noreturn]] void execute(const RunSpec& spec) {
    std::vector<char*> arguments;
    arguments.reserve(spec.command.size() + 1);
    for (const auto& argument : spec.command)
        arguments.push_back(const_cast<char*>(argument.c_str()));
    arguments.push_back(nullptr);
    std::vector<char*> environment;
    environment.reserve(spec.environment.size() + 1);
    std::string_view path;
    for (const auto& variable : spec.environment) {
        environment.push_back(const_cast<char*>(variable.c_str()));
        if (variable.starts_with("PATH=")) path = std::string_view(variable).substr(5);
    }
    environment.push_back(nullptr);

    const std::string& program = spec.command.front();
    int number = ENOENT;
    if (program.find('/') != std::string::npos) {
        ::execve(program.c_str(), arguments.data(), environment.data());
        number = errno;
    } else {
        for (;;) {
            const auto colon = path.find(':');
            if (const auto folder = path.substr(0, colon); !folder.empty()) {
                const std::string candidate = std::string(folder) + "/" + program;
                ::execve(candidate.c_str(), arguments.data(), environment.data());
                // A file that exists says more than those that do not.
                if (errno != ENOENT && errno != ENOTDIR) number = errno;
            }
            if (colon == std::string_view::npos) break;
            path.remove_prefix(colon + 1);
        }
    }
    const bool missing = number == ENOENT || number == ENOTDIR;
    const char* hint = number == ENOENT && program.find('/') == std::string::npos
                           ? " in the workload's PATH"
                       : number == ENOEXEC ? " (a script needs a first line such as #!/bin/sh)"
                                           : "";
    report_and_exit(kStatus, missing ? 127 : 126,
                    fmt::format("cannot execute {}: {}{}", program, std::strerror(number), hint));
}

[[noreturn]] void run_main(const ProcessPlan& plan, int init, int status, int go) {
    // Away from the supervisor's process group, so that a signal to one group never reaches the other.
    if (plan.own_session) {
        ::setsid();
    } else {
        ::setpgid(0, 0);
    }
    std::vector<int> fds = {plan.in, plan.out, plan.err, status, go};
    if (init >= 0) fds.push_back(init);
    if (!keep_only(fds))
        report_and_exit(status, 1, fmt::format("arrange descriptors: {}", std::strerror(errno)));
    reset_signals();
    const auto prepare = [&]() -> Result<> {
        TRY(die_with_parent(kStatus));
        if (!read_byte(kGo)) ::_exit(1);
        if (init < 0) {
            TRY(enter_new_namespaces(plan.spec, plan.netns, plan.hidden));
        } else if (::setns(kInit, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC) != 0) {
            return fail_errno(errno, "join the workload's namespaces");
        }
        if (!read_byte(kGo)) ::_exit(1);
        ::umask(022);
        TRY(become_user(plan.spec));
        // A change of the user takes the request back.
        TRY(die_with_parent(kStatus));
        return change_directory(plan);
    };
    if (auto done = prepare(); !done) report_and_exit(kStatus, 1, done.error().message);
    execute(plan.spec);
}

} // namespace

void Processes::Child::end() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    pid = 0;
}

Processes::~Processes() {
    // Init last: the kernel lets it go only when its namespace is empty.
    main_.end();
    init_.end();
}

Result<Processes> Processes::create(const ProcessPlan& plan,
                                    const std::function<Result<>(pid_t)>& place) {
    Processes result;
    Fd init;
    const Fd own(::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC));
    if (!own) return fail_errno(errno, "/proc/self/ns/pid");
    if (!plan.spec.host_pid) {
        auto status = TRY(make_pipe());
        auto go = TRY(make_pipe());
        // The next children live in the new namespace, the first as its process 1.
        if (::unshare(CLONE_NEWPID) != 0) return fail_errno(errno, "make a pid namespace");
        result.init_.pid = ::fork();
        if (result.init_.pid == 0) {
            status.read.reset();
            go.write.reset();
            run_init(plan, status.write.get(), go.read.get());
        }
        const int error = errno;
        if (result.init_.pid < 0) {
            (void)::setns(own.get(), CLONE_NEWPID);
            return fail_errno(error, "fork");
        }
        status.write.reset();
        auto started = [&]() -> Result<> {
            TRY(place(result.init_.pid));
            write_byte(go.write.get());
            const auto report = read_all(status.read.get());
            if (report == std::string(1, kReady)) return {};
            return fail(Code::system, "{}",
                        report.empty() ? "process 1 of the workload was killed" : report.substr(1));
        }();
        if (started) {
            init = Fd(static_cast<int>(::syscall(SYS_pidfd_open, result.init_.pid, 0)));
            if (!init) started = fail_errno(errno, "pidfd_open");
        }
        if (!started) {
            (void)::setns(own.get(), CLONE_NEWPID);
            return Failure(started.error());
        }
    }

    auto made = [&]() -> Result<> {
        auto status = TRY(make_pipe());
        auto go = TRY(make_pipe());
        result.main_.pid = ::fork();
        if (result.main_.pid == 0) {
            status.read.reset();
            go.write.reset();
            run_main(plan, init.get(), status.write.get(), go.read.get());
        }
        if (result.main_.pid < 0) return fail_errno(errno, "fork");
        if (!plan.own_session) ::setpgid(result.main_.pid, result.main_.pid);
        result.status_ = std::move(status.read);
        result.go_ = std::move(go.write);
        return {};
    }();
    if (!plan.spec.host_pid && ::setns(own.get(), CLONE_NEWPID) != 0 && made)
        made = fail_errno(errno, "return to the host's pid namespace");
    if (!made) return Failure(made.error());
    TRY(place(result.main_.pid));
    write_byte(result.go_.get());
    return result;
}

ExecReport Processes::release() {
    write_byte(go_.get());
    go_.reset();
    const auto report = read_all(status_.get());
    status_.reset();
    if (report.empty()) return {};
    return {report.front(), report.substr(1)};
}

} // namespace beeline::cli
