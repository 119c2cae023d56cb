// Probes in TLS libraries: the plain text of chosen workloads' connections (bpf/sensor/tls.bpf.c). One thread; counts from any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "datapath/kernel.h"
#include "ebpf/object.h"

namespace beeline::datapath {

class TlsProbes {
public:
    static constexpr std::size_t kMostFiles = 512;

    // Shares the ring and the tables of `kernel`.
    static Result<std::unique_ptr<TlsProbes>> load(const Kernel& kernel);

    // Places probes in the libraries that a process has mapped, in its own binary, and in the usual libraries of its file
    // system, for processes that are too short-lived to be looked at. Each file once. `proc`: "/proc".
    void look_at(std::uint32_t pid, const std::string& proc = "/proc");
    // When calls were seen whose connection their session does not tell: places probes that see which socket a call uses.
    void help_unknown();
    // Takes all probes away.
    void clear();

    struct Counts {
        std::size_t files = 0;    // with probes
        std::uint64_t failed = 0; // where one could not be placed
    };
    [[nodiscard]] Counts counts() const;

private:
    TlsProbes(ebpf::Object object, const Kernel& kernel)
        : object_(std::move(object)), kernel_(kernel) {}
    void add_file(const std::string& path);
    Result<> place(const std::string& path, const char* program, std::uint64_t offset,
                   bool at_return, std::uint64_t cookie);
    void watch_sockets();

    ebpf::Object object_;
    const Kernel& kernel_;
    std::uint64_t unknown_ = 0; // calls, when last looked
    bool has_sock_tracepoints_ = false;
    std::set<std::pair<std::uint64_t, std::uint64_t>> seen_; // device and inode
    std::vector<Fd> links_;
    bool watching_sockets_ = false;
    std::atomic<std::size_t> files_{0};
    std::atomic<std::uint64_t> failed_{0};
};

} // namespace beeline::datapath
