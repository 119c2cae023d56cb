// Job control of a foreground workload: it has a process group of its own, which gets the terminal as a shell would
// give it.
#pragma once

#include <sys/types.h>
#include <termios.h>

#include "base/fd.h"

namespace beeline::cli {

class Terminal {
public:
    // Of this process, if it has one and is in its foreground.
    static Terminal find();
    ~Terminal(); // takes the terminal back, in the mode in which it was
    Terminal(Terminal&&) = default;
    Terminal& operator=(Terminal&&) = delete;

    // Gives the terminal to `group` at its start. When only one end is the terminal, as in a pipeline, it stays shared
    // until the workload asks for it.
    void start(pid_t group);
    // `group` has been stopped by `signal`. Hands over the terminal if that is what it wants; else stops this process
    // as well, so that the shell sees it, and resumes the group when the shell resumes us.
    void stopped(pid_t group, int signal);

private:
    Terminal() = default;
    [[nodiscard]] bool ours() const;
    void give(pid_t group) const;

    Fd fd_;
    termios mode_{};
    bool whole_ = false; // both standard input and output
};

} // namespace beeline::cli
