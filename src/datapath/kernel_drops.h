// Packets of workloads that the kernel's own stack dropped (bpf/datapath/kernel_drop.bpf.c). They are seen while this lives.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "datapath/kernel.h"
#include "ebpf/object.h"
#include "net/address.h"

namespace beeline::datapath {

// All drops of one pair of addresses at one server's port for one reason.
struct KernelDrop {
    net::Ip source; // as the packet had them when it was dropped
    net::Ip destination;
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;        // the lower of both; 0: none
    bool answer = false;           // that port is the source's
    std::string reason;            // the kernel's name: "NO_SOCKET"
    std::string function;          // of the kernel; empty: not known
    std::uint64_t netns_inode = 0; // 0: not known
    bool on_node = false;          // it is the node's own
    std::uint64_t count = 0;
    std::uint64_t first_ns = 0; // CLOCK_MONOTONIC
    std::uint64_t last_ns = 0;
};

class KernelDrops {
public:
    // Shares the tables of `kernel`. Takes some ten milliseconds. Code::unsupported with a sentence for people where the
    // kernel does not tell why it drops.
    static Result<std::unique_ptr<KernelDrops>> start(const Kernel& kernel);

    // The inodes of the network namespaces that count: the workloads' beside the caller's own. One thread.
    void set_namespaces(const std::set<std::uint64_t>& wanted);

    // Any thread: what is still remembered, newest first.
    [[nodiscard]] Result<std::vector<KernelDrop>> list() const;
    // Any thread: packets by reason since the start.
    [[nodiscard]] Result<std::map<std::string, std::uint64_t>> sums() const;
    // The most entries that are remembered.
    [[nodiscard]] std::uint32_t capacity() const { return capacity_; }

private:
    explicit KernelDrops(ebpf::Object object) : object_(std::move(object)) {}
    [[nodiscard]] std::string reason_name(std::uint32_t reason) const;

    ebpf::Object object_;
    int drops_ = -1;
    int sums_ = -1;
    int namespaces_ = -1;
    std::uint32_t capacity_ = 0;
    std::map<std::uint32_t, std::string> reasons_;
    std::uint64_t own_namespace_ = 0;
    std::set<std::uint64_t> known_namespaces_;
    mutable std::mutex mutex_; // guards what follows
    mutable std::map<std::uint64_t, std::string> functions_;
    Fd link_; // last: nothing is counted before all is there
};

} // namespace beeline::datapath
