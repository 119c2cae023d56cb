// The processes of a workload: made, isolated, and held back until they may become the user's program.
//
//   supervisor (host)
//    ├── init     process 1 of the pid namespace: makes the other namespaces, then only reaps
//    └── main     joins them, waits for `release`, becomes the user, executes the program
//
// With --pid host there is no init and main makes the namespaces itself. Both die with the supervisor, and with init
// the kernel ends everything else in its pid namespace.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "cli/run_spec.h"

namespace beeline::cli {

struct ProcessPlan {
    const RunSpec& spec;
    std::string netns;               // file of the network namespace to live in
    std::vector<std::string> hidden; // folders that look empty from inside; ignored when privileged
    std::string directory;           // where to start when the spec gives none and it is accessible
    bool own_session = false;        // detached: no terminal
    int in = 0;                      // descriptors that become 0, 1 and 2
    int out = 1;
    int err = 2;
};

// Whether the program was started. `exit_code` is as shells have it: 126 found but not executable, 127 not found.
struct ExecReport {
    int exit_code = 0;
    std::string message; // empty: it was
    [[nodiscard]] bool started() const { return message.empty(); }
};

class Processes {
public:
    // Makes the processes; `place` is called with the host's pid of each before it does anything, to put it into its
    // cgroup. Whatever was made is gone again after a failure.
    // Must be called by a process with a single thread.
    static Result<Processes> create(const ProcessPlan& plan,
                                    const std::function<Result<>(pid_t)>& place);

    Processes(Processes&&) = default;
    Processes& operator=(Processes&&) = default;
    ~Processes(); // kills and reaps what is left

    [[nodiscard]] pid_t main() const { return main_.pid; }
    [[nodiscard]] pid_t init() const { return init_.pid; } // 0 with --pid host

    // Lets main become the program.
    ExecReport release();

    // The caller has reaped main: it must not be signalled any more.
    void forget_main() { main_.pid = 0; }

private:
    // A child that is killed and reaped when this goes away.
    struct Child {
        pid_t pid = 0;
        Child() = default;
        explicit Child(pid_t child) : pid(child) {}
        Child(Child&& other) noexcept : pid(std::exchange(other.pid, 0)) {}
        Child& operator=(Child&& other) noexcept {
            std::swap(pid, other.pid);
            return *this;
        }
        ~Child() { end(); }
        void end();
    };

    Processes() = default;

    Child init_;
    Child main_;
    Fd go_;
    Fd status_; // main's report; closed unwritten by a successful exec
};

} // namespace beeline::cli
