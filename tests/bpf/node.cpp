#include "node.h"

#include <csignal>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "ebpf/system.h"
#include "net/netlink.h"

namespace beeline::test {
namespace {

bl_addr addr(std::string_view text) {
    bl_addr out{};
    std::memcpy(out.byte, ip(text).bytes.data(), sizeof out.byte);
    return out;
}

__be16 network(std::uint16_t port) { return __builtin_bswap16(port); }

template <typename T>
bool cannot(const char* what, const Result<T>& result) {
    if (result) return false;
    std::fprintf(stderr, "cannot run here: %s: %s\n", what, result.error().message.c_str());
    return true;
}

// Pins of test processes that were killed.
void remove_leftovers() {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/fs/bpf/beeline", error)) {
        int pid = 0;
        if (std::sscanf(entry.path().filename().c_str(), "test-%d-", &pid) == 1 &&
            kill(pid, 0) != 0) {
            datapath::Kernel::remove_pins(entry.path().string());
        }
    }
}

} // namespace

std::unique_ptr<TestNode> TestNode::create(unsigned interfaces, std::uint32_t ct_entries) {
    if (geteuid() != 0) {
        std::fprintf(stderr, "cannot run here: loading BPF programs needs root\n");
        return nullptr;
    }
    ebpf::route_libbpf_logs();
    if (cannot("mount", ebpf::mount_file_systems())) return nullptr;
    if (unshare(CLONE_NEWNET) != 0) {
        std::perror("cannot run here: unshare");
        return nullptr;
    }
    std::unique_ptr<TestNode> node(new TestNode);
    auto netlink = net::Netlink::open();
    if (cannot("netlink", netlink)) return nullptr;
    for (unsigned i = 0; i < interfaces; ++i) {
        const std::string name = fmt::format("bl{}", i);
        if (cannot("veth", netlink->run(net::create_veth({.name = name, .peer_name = name + "p"}))))
            return nullptr;
        const auto link = netlink->link(std::string_view(name));
        if (cannot("veth", link)) return nullptr;
        node->ifindexes_.push_back(link->index);
    }
    static unsigned counter = 0;
    remove_leftovers();
    node->pins_ = fmt::format("/sys/fs/bpf/beeline/test-{}-{}", getpid(), ++counter);
    datapath::KernelOptions options;
    options.pins = node->pins_;
    options.gateway4 = ip("10.0.0.1");
    options.gateway6 = ip("fd00::1");
    options.ct_entries = ct_entries;
    options.l7_ring_bytes = 1 << 20;
    auto kernel = datapath::Kernel::load(options);
    // What the verifier refuses is a failure of ours, not of the machine.
    if (!kernel && kernel.error().number == EACCES) std::abort();
    if (cannot("load", kernel)) return nullptr;
    node->kernel_ = std::move(*kernel);
    auto ring = ebpf::Ring::open(node->kernel_->flow_ring());
    if (cannot("ring", ring)) return nullptr;
    node->ring_ = std::move(*ring);
    return node;
}

TestNode::~TestNode() {
    ring_.reset();
    kernel_.reset();
    if (!pins_.empty()) datapath::Kernel::remove_pins(pins_);
}

void TestNode::endpoint(unsigned n, std::string_view address, std::uint32_t identity,
                        unsigned flags) {
    bl_endpoint ep{};
    ep.ifindex = ifindexes_[n];
    ep.identity = identity;
    ep.id = n + 1;
    ep.flags = static_cast<__u16>(flags);
    std::memcpy(ep.mac, mac(n).data(), 6);
    wanted_.endpoints[addr(address)] = ep;
}

void TestNode::host(std::string_view address) {
    bl_endpoint ep{};
    ep.identity = BL_ID_host;
    ep.flags = BL_EP_HOST;
    wanted_.endpoints[addr(address)] = ep;
}

void TestNode::world(std::string_view prefix, std::uint32_t identity) {
    const auto parsed = net::Prefix::parse(prefix).value();
    bl_prefix key{};
    key.prefixlen = parsed.mapped_length();
    std::memcpy(key.addr.byte, parsed.base.bytes.data(), 16);
    wanted_.ipcache[key] = bl_ipcache{.identity = identity, .node = 0, .flags = 0};
}

void TestNode::node(std::uint32_t number, std::string_view address, unsigned n, bool tunnel) {
    bl_node node{};
    node.addr = addr(address);
    node.ifindex = ifindexes_[n];
    node.mtu = 1500;
    node.flags = tunnel ? BL_NODE_TUNNEL : 0;
    node.hop4 = 0x0200000a; // any
    node.hop6 = addr("fd00::2");
    wanted_.nodes[number] = node;
}

void TestNode::no_node(std::uint32_t number) { wanted_.nodes.erase(number); }

void TestNode::remote(std::string_view prefix, std::uint32_t identity, std::uint32_t number,
                      bool itself) {
    world(prefix, identity);
    auto& entry = wanted_.ipcache[datapath::to_abi(net::Prefix::parse(prefix).value())];
    entry.node = static_cast<__u16>(number);
    entry.flags = itself ? BL_IPC_NODE : 0;
}

void TestNode::allow(std::uint32_t subject, int direction, std::uint32_t peer, int proto, int port,
                     std::uint32_t rule, bool deny) {
    bl_policy_key key{};
    key.prefixlen = port >= 0    ? BL_POLICY_PREFIX_PORT
                    : proto != 0 ? BL_POLICY_PREFIX_PROTO
                                 : BL_POLICY_PREFIX_PEER;
    key.subject = subject;
    key.peer = peer;
    key.direction = static_cast<__u8>(direction);
    key.proto = static_cast<__u8>(proto);
    key.port = port >= 0 ? network(static_cast<std::uint16_t>(port)) : __be16{0};
    wanted_.policy[key] = bl_policy{.rule = rule, .deny = deny ? 1U : 0U};
}

void TestNode::service(std::string_view address, std::uint16_t port, int proto, std::uint32_t id,
                       const std::vector<std::pair<std::string, std::uint16_t>>& backends,
                       std::uint32_t affinity_s) {
    bl_svc_key key{};
    key.addr = addr(address);
    key.port = network(port);
    key.proto = static_cast<__u8>(proto);
    bl_svc& svc = wanted_.services[key];
    for (auto it = wanted_.slots.begin(); it != wanted_.slots.end();) {
        if (it->first.service == id) {
            wanted_.backends.erase(it->second);
            it = wanted_.slots.erase(it);
        } else {
            ++it;
        }
    }
    svc.id = id;
    ++svc.generation;
    svc.count = static_cast<std::uint32_t>(backends.size());
    svc.affinity_s = affinity_s;
    for (std::uint32_t slot = 0; slot < svc.count; ++slot) {
        bl_backend backend{};
        backend.addr = addr(backends[slot].first);
        backend.port = network(backends[slot].second);
        backend.proto = static_cast<__u8>(proto);
        backend.service = id;
        wanted_.backends[next_backend_] = backend;
        wanted_.slots[bl_slot_key{id, svc.generation, slot}] = next_backend_++;
    }
}

void TestNode::commit() {
    const auto done = kernel_->write(written_, wanted_);
    if (!done) {
        std::fprintf(stderr, "commit: %s\n", done.error().message.c_str());
        std::abort();
    }
    written_ = wanted_;
}

void TestNode::replace(datapath::Tables tables) {
    wanted_ = std::move(tables);
    commit();
}

Row TestNode::run(const char* program, const Bytes& bytes, const ebpf::PacketContext& context) {
    const auto result = ebpf::run_packet(kernel_->program(program).value(), bytes, context);
    if (!result) {
        std::fprintf(stderr, "%s: %s\n", program, result.error().message.c_str());
        std::abort();
    }
    Row row;
    row.verdict = result->verdict;
    row.mark = result->mark;
    if (result->packet.size() >= 14 + 40) row.packet = parse(result->packet);
    row.events = events();
    return row;
}

Row TestNode::from_pod(unsigned n, Packet packet) {
    return from_pod_as(n, packet.from_mac(mac(n)));
}

Row TestNode::from_pod_as(unsigned n, const Packet& packet) {
    return run("bl_from_pod", packet.bytes(),
               {.ifindex = ifindexes_[n], .ingress_ifindex = ifindexes_[n]});
}

Row TestNode::to_pod(unsigned n, const Packet& packet, std::uint32_t ingress) {
    return run("bl_to_pod", packet.bytes(), {.ifindex = ifindexes_[n], .ingress_ifindex = ingress});
}

Row TestNode::from_tunnel(unsigned n, const Packet& packet) {
    return run("bl_from_tunnel", packet.bytes(),
               {.ifindex = ifindexes_[n], .ingress_ifindex = ifindexes_[n]});
}

Row TestNode::from_netdev(unsigned n, const Packet& packet) {
    return run("bl_from_netdev", packet.bytes(),
               {.ifindex = ifindexes_[n], .ingress_ifindex = ifindexes_[n]});
}

std::vector<bl_flow_event> TestNode::events() {
    std::vector<bl_flow_event> out;
    (void)ring_->consume([&](std::span<const std::byte> record) {
        bl_flow_event event{};
        std::memcpy(&event, record.data(), std::min(record.size(), sizeof event));
        out.push_back(event);
    });
    return out;
}

std::size_t TestNode::connections() {
    std::size_t count = 0;
    const auto map = ebpf::Map<bl_flow_key, bl_ct>::of(kernel_->map("bl_ct").value()).value();
    (void)map.for_each([&](const bl_flow_key&, const bl_ct&) { ++count; });
    return count;
}

} // namespace beeline::test
