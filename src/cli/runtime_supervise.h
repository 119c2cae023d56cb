// Waiting for a workload's end: signals, its output, its terminal.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "cli/runtime_log.h"
#include "cli/runtime_terminal.h"

namespace beeline::cli {

// The signals of this process that a workload should get, and SIGCHLD, as readable events instead of interruptions.
class Signals {
public:
    static Result<Signals> take();
    [[nodiscard]] int fd() const { return fd_.get(); }
    // A signal that has come and asks to end, 0 when there is none.
    [[nodiscard]] int pending() const;

private:
    explicit Signals(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

// A pipe whose `read` end does not block.
Result<> make_output_pipe(Fd& read, Fd& write);

struct Watched {
    pid_t main; // a child of this process
    const Signals& signals;
    std::function<void()> kill_all;
    Terminal* terminal; // null: none
    LogWriter* log;     // null: the workload writes to our own streams
    const Fd& out;      // of make_output_pipe, for `log`
    const Fd& err;
};

// Passes signals on and output into the log until `main` has ended and is reaped. After a SIGTERM everything is killed
// when ten seconds have passed or when a second one comes. Returns the exit code, 128 + N after signal N.
int wait_for_end(const Watched& watched);

// What is still in the pipes when the workload has ended.
void drain_output(LogWriter& log, const Fd& out, const Fd& err);

std::string read_until_closed(int fd);

} // namespace beeline::cli
