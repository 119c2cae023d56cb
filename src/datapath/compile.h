// Desired state in, map contents out. Pure: no kernel, no clock, no files.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "datapath/remote_node.h"
#include "datapath/tables.h"
#include "model/directory.h"
#include "model/objects.h"
#include "model/workload.h"

namespace beeline::datapath {

// What the maps of bpf/lib hold; of policy entries, slots and backends a little less, because a change writes new ones
// before it removes old ones.
struct Limits {
    std::size_t endpoints = 131'072;
    std::size_t ipcache = 262'144;
    std::size_t identities = 262'144;
    std::size_t policy = 1'000'000;
    std::size_t services = 262'144;
    std::size_t slots = 1'000'000;
    std::size_t backends = 1'000'000;
    std::size_t nodes = BL_NODES - 1;
};

// At most this many addresses of vanished UDP backends lead on to their service.
inline constexpr std::size_t kMostMoved = 1024;

struct CompileInput {
    const model::Objects& objects;
    const std::vector<model::Workload>& workloads;
    const std::vector<net::Ip>& host_addresses;
    // What the maps hold now: numbers of identities, services and backends, and slot generations, are kept from it.
    const Tables& previous;
    Limits limits = {};
    model::L7Choice l7 = {};
    std::span<const RemoteNode> nodes = {};
};

// A backend that is no endpoint of its service any more: its connections must end or move.
struct GoneBackend {
    std::uint32_t id = 0;
    bl_backend backend{};
};

// Where packets from outside go that name a port of the node.
struct HostPortRoute {
    net::Ip address; // of the node
    std::uint16_t port = 0;
    model::Protocol protocol = model::Protocol::tcp;
    net::Ip to;
    std::uint16_t target = 0;
    auto operator<=>(const HostPortRoute&) const = default;
};

struct Compiled {
    Tables tables;
    std::shared_ptr<const model::Directory> directory;
    std::vector<GoneBackend> gone;         // by id
    std::vector<HostPortRoute> host_ports; // ascending
    std::vector<std::string> warnings;     // conflicts that were settled, for people
};

// Identities. One stands for a kind (pod, host, world), a namespace with its labels, the pod's labels and named ports,
// and the policy CIDRs that contain the address; an address in no CIDR of a policy has none of those. Numbers: host and
// world without CIDRs have their reserved ones; the others keep the number that `previous` gives their digest, else
// they get the lowest one from 256 that neither `previous` nor the new tables use.
//
// Endpoints hold local workloads and the host, ipcache all the rest: manifests that stand for themselves, every policy
// CIDR, and 0.0.0.0/0 and ::/0, so that families never mix.
//
// Nodes keep their number as long as their address stays. What lies in a node's range of pods, or is a pod whose manifest
// names the node, carries that number in the ipcache; so do the node's own addresses, marked as such.
//
// Service, slot and backend numbers: bl_svc.id is kept by (address, port, protocol), a backend's id by (service id,
// address, port, protocol); new ones are above all that `previous` names. A changed backend list gets a new generation.
//
// Fails with Code::exhausted when a table would outgrow its map; the old state then stays in force.
Result<Compiled> compile(const CompileInput& input);

} // namespace beeline::datapath
