#include "cli/runtime_terminal.h"

#include <fcntl.h>
#include <unistd.h>

#include <csignal>

namespace beeline::cli {
namespace {

// With no parent in another group of this session nobody would resume a stopped process.
bool nobody_would_resume() {
    return ::getsid(::getppid()) != ::getsid(0) || ::getpgid(::getppid()) == ::getpgrp();
}

} // namespace

Terminal Terminal::find() {
    Terminal terminal;
    if (::isatty(0) == 0 && ::isatty(1) == 0 && ::isatty(2) == 0) return terminal;
    Fd fd(::open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
    if (!fd || ::tcgetpgrp(fd.get()) != ::getpgrp() || ::tcgetattr(fd.get(), &terminal.mode_) != 0)
        return terminal;
    // Otherwise the kernel stops who takes the terminal from the background.
    ::signal(SIGTTOU, SIG_IGN);
    terminal.whole_ = ::isatty(0) == 1 && ::isatty(1) == 1;
    terminal.fd_ = std::move(fd);
    return terminal;
}

Terminal::~Terminal() {
    if (!fd_) return;
    give(::getpgrp());
    ::tcsetattr(fd_.get(), TCSADRAIN, &mode_);
}

void Terminal::start(pid_t group) {
    if (fd_ && whole_) give(group);
}

void Terminal::stopped(pid_t group, int signal) {
    if (!fd_) return;
    const bool wants_terminal = signal == SIGTTIN || signal == SIGTTOU;
    if (wants_terminal && ours()) {
        give(group);
    } else if (!nobody_would_resume()) {
        if (::tcgetpgrp(fd_.get()) == group) give(::getpgrp());
        ::raise(SIGSTOP);
        if (ours()) start(group);
    }
    ::kill(-group, SIGCONT);
}

bool Terminal::ours() const { return ::tcgetpgrp(fd_.get()) == ::getpgrp(); }

void Terminal::give(pid_t group) const { ::tcsetpgrp(fd_.get(), group); }

} // namespace beeline::cli
