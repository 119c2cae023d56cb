// Network interfaces of workloads: made, verified and removed in the agent's network namespace, the node.
//
// A workload gets a veth pair. Its own end has the addresses (/32, /128), default routes through the node's gateways
// (onlink) and permanent neighbour entries for them; the host's end has a host route and a permanent neighbour entry for
// each address. So neither side ever asks who has an address. The node's gateways sit on the device bl_host.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/workload.h"
#include "net/namespace.h"
#include "net/netlink.h"

namespace beeline::datapath {

struct NodeNetwork {
    std::optional<net::Ip> gateway_v4; // absent: workloads have no IPv4
    std::optional<net::Ip> gateway_v6;
    std::uint32_t mtu = 0; // 0: that of the device with the default route, else 1500
    std::string state;     // existing folder, for the sysctls as they were
};

class Plumbing {
public:
    struct Spec {
        std::string container;
        std::string interface; // inside
        std::vector<net::Ip> addresses;
        std::optional<net::Mac> mac; // of the workload's end
        std::uint32_t mtu = 0;       // 0: the node's
    };
    struct Interface {
        std::string host_interface;
        std::uint32_t ifindex = 0;
        net::Mac mac{}; // of the workload's end
        net::Mac host_mac{};
        std::uint32_t mtu = 0;
    };
    // A pair whose host side works already and whose inner end is still down: nothing can be sent through it yet.
    struct Staged {
        Interface interface;
        net::Netlink inside;
        std::uint32_t inner_index = 0;
    };

    // Belongs to the namespace that the calling thread is in, for good.
    static Result<Plumbing> create(NodeNetwork network);

    // bl_host with the gateway addresses, forwarding and reverse-path sysctls. Idempotent; addresses of earlier ranges go.
    Result<> prepare_node();
    // bl_host, every workload interface, and the sysctls back to what they were. Idempotent.
    Result<> remove_node();

    // Makes the pair. `exists` when the workload has an interface of this name. After a failure nothing is left.
    Result<Staged> stage(const Spec& spec, const net::Namespace& netns);
    // Addresses, neighbours, routes, up. The caller removes the interface when this fails.
    Result<> activate(Staged& staged, const Spec& spec);
    // Idempotent; only interfaces that stage() made. Their inner end goes with them, wherever it is.
    Result<> remove(const std::string& host_interface);

    // The host's end of an interface that another plugin made. `unsupported` when there is none in this namespace.
    Result<Interface> find_existing(const net::Namespace& netns, const std::string& interface);

    // Says what is not as stage() and activate() left it; of chained workloads only that both ends are there.
    Result<> check(const model::Workload& workload, const net::Namespace& netns);
    // Does the host's end exist?
    [[nodiscard]] bool present(const model::Workload& workload);
    // Removes interfaces named as ours that are not in `keep`; their names.
    Result<std::vector<std::string>> remove_others(const std::set<std::string>& keep);

    [[nodiscard]] std::uint32_t mtu() const { return mtu_; }
    // Of workloads that come from now on.
    void set_mtu(std::uint32_t mtu) { mtu_ = mtu; }
    [[nodiscard]] const NodeNetwork& network() const { return network_; }
    [[nodiscard]] std::uint64_t node_inode() const { return home_.inode(); }

private:
    Plumbing(NodeNetwork network, net::Namespace home, net::Netlink netlink)
        : network_(std::move(network)), home_(std::move(home)), netlink_(std::move(netlink)) {}
    [[nodiscard]] std::optional<net::Ip> gateway_for(const net::Ip& ip) const;
    Result<std::uint32_t> outside_mtu();
    Result<std::uint32_t> make_host_device();
    Result<> stage_host_side(const Spec& spec, Staged& staged);
    Result<> check_inside(const model::Workload& workload, net::Netlink& inside,
                          const net::Link& link);
    Result<> check_host_side(const model::Workload& workload, const net::Link& host);

    NodeNetwork network_;
    net::Namespace home_;
    net::Netlink netlink_;
    std::uint32_t mtu_ = 1500;
};

} // namespace beeline::datapath
