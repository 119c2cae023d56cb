// A node for tests of the packet programs: the objects loaded in a network namespace of the process's own, with veth pairs as
// the interfaces of its workloads. Nothing is attached: packets go through test-run.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "abi/flow.h"
#include "datapath/kernel.h"
#include "ebpf/ring.h"
#include "packet.h"

namespace beeline::test {

constexpr int kPass = 0, kDropped = 2, kRedirected = 7; // TC_ACT_*

struct Row {
    int verdict = 0;
    Parsed packet;
    std::uint32_t mark = 0;
    std::vector<bl_flow_event> events;
};

class TestNode {
public:
    // Null with a printed reason when this cannot run here (no root, no BPF).
    static std::unique_ptr<TestNode> create(unsigned interfaces, std::uint32_t ct_entries = 4096);
    ~TestNode();

    [[nodiscard]] datapath::Kernel& kernel() { return *kernel_; }
    [[nodiscard]] std::uint32_t ifindex(unsigned n) const { return ifindexes_[n]; }
    static net::Mac mac(unsigned n) { return {2, 0, 0, 0, 1, static_cast<std::uint8_t>(n)}; }

    // Local workload n with an address, an identity and BL_EP_* flags.
    void endpoint(unsigned n, std::string_view address, std::uint32_t identity, unsigned flags = 0);
    void host(std::string_view address);
    void world(std::string_view prefix, std::uint32_t identity);
    // Another node, reached over the interface of workload n; its packets may have 1500 bytes.
    void node(std::uint32_t number, std::string_view address, unsigned n, bool tunnel);
    void no_node(std::uint32_t number);
    // An address or range there.
    void remote(std::string_view prefix, std::uint32_t identity, std::uint32_t number,
                bool itself = false);
    void allow(std::uint32_t subject, int direction, std::uint32_t peer, int proto = 0,
               int port = -1, std::uint32_t rule = 1, bool deny = false);
    void service(std::string_view address, std::uint16_t port, int proto, std::uint32_t id,
                 const std::vector<std::pair<std::string, std::uint16_t>>& backends,
                 std::uint32_t affinity_s = 0);
    void commit();                         // writes what was declared since, and moves the epoch
    void replace(datapath::Tables tables); // instead of what was declared
    [[nodiscard]] const datapath::Tables& tables() const { return written_; }

    // As sent by workload n (its MAC unless the packet says otherwise).
    Row from_pod(unsigned n, Packet packet);
    Row from_pod_as(unsigned n, const Packet& packet);
    // To workload n from the host's stack; ingress: the interface it came in by, 0 for the host itself.
    Row to_pod(unsigned n, const Packet& packet, std::uint32_t ingress = 0);

    // From another node by interface n.
    Row from_tunnel(unsigned n, const Packet& packet);
    Row from_netdev(unsigned n, const Packet& packet);

    std::vector<bl_flow_event> events();
    std::size_t connections();

private:
    TestNode() = default;
    Row run(const char* program, const Bytes& bytes, const ebpf::PacketContext& context);

    std::string pins_;
    std::unique_ptr<datapath::Kernel> kernel_;
    std::unique_ptr<ebpf::Ring> ring_;
    std::vector<std::uint32_t> ifindexes_;
    datapath::Tables written_;
    datapath::Tables wanted_;
    std::uint32_t next_backend_ = 1;
};

} // namespace beeline::test
