#include "datapath/compile.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "datapath/identity.h"
#include "datapath/policy_compile.h"
#include "datapath/service_compile.h"
#include "model/party.h"

namespace beeline::datapath {
namespace {

using model::FlowEnd;

// Whose an address is, and what the tables and the directory say of it.
struct Owner {
    Identities::Index identity = 0;
    model::Directory::Entry entry;
    bl_endpoint endpoint{}; // of the host and of workloads
    bool node = false;      // another node's own address
    std::string on;         // name of the node that it is on, as far as an object says so
    [[nodiscard]] bool local() const { return entry.kind != FlowEnd::Kind::remote; }
};

using Owners = std::unordered_map<net::Ip, Owner>;

std::string describe(const Owner& owner) {
    if (owner.entry.kind == FlowEnd::Kind::host) return "the host";
    if (owner.node) return "Node " + owner.entry.name;
    const std::string name = model::ObjectName{owner.entry.space, owner.entry.name}.to_string();
    return (owner.local() ? "workload " : "Pod ") + name;
}

// Decides who owns each address: the host before workloads before manifests, as model::party_at does.
class OwnerFinder {
public:
    OwnerFinder(Identities& identities, const model::L7Choice& l7,
                std::vector<std::string>& warnings)
        : identities_(identities), l7_(l7), warnings_(warnings) {}

    void add_host(const net::Ip& address);
    void add_workload(const model::Workload& workload, const model::Objects& objects);
    void add_node(const RemoteNode& node);
    void add_pod(const model::Pod& pod);
    Owners take() { return std::move(owners_); }

private:
    void add(const net::Ip& address, Owner owner);

    Identities& identities_;
    const model::L7Choice& l7_;
    std::vector<std::string>& warnings_;
    Owners owners_;
};

void OwnerFinder::add(const net::Ip& address, Owner owner) {
    if (address.is_zero()) return;
    const auto known = owners_.find(address);
    if (known == owners_.end()) {
        owners_.emplace(address, std::move(owner));
    } else if (describe(known->second) != describe(owner)) {
        warnings_.push_back(fmt::format("{}: address {} already belongs to {}", describe(owner),
                                        address.to_string(), describe(known->second)));
    }
}

void OwnerFinder::add_host(const net::Ip& address) {
    Owner owner;
    owner.identity = identities_.of_host(address);
    owner.entry.kind = FlowEnd::Kind::host;
    owner.endpoint.flags = BL_EP_HOST;
    add(address, std::move(owner));
}

void OwnerFinder::add_workload(const model::Workload& workload, const model::Objects& objects) {
    const model::Labels labels = merged_labels(workload, objects);
    const std::vector<model::NamedPort> ports = merged_ports(workload, objects);
    const model::L7Protocols l7 = l7_protocols(l7_, workload, objects);
    constexpr model::L7Protocols kDns = model::l7_bit(model::L7::Protocol::dns);
    for (const net::Ip& address : workload.addresses) {
        Owner owner;
        owner.identity = identities_.of_pod(workload.name.space, labels, ports, address, true);
        owner.entry = {FlowEnd::Kind::workload, workload.id,        0,
                       workload.name.space,     workload.name.name, labels};
        owner.entry.ifindex = workload.ifindex;
        owner.entry.cgroup = workload.cgroup_id;
        owner.endpoint.ifindex = workload.ifindex;
        owner.endpoint.id = workload.id;
        if ((l7 & ~kDns) != 0) owner.endpoint.flags |= BL_EP_L7;
        if ((l7 & kDns) != 0) owner.endpoint.flags |= BL_EP_DNS;
        std::copy(workload.mac.begin(), workload.mac.end(), owner.endpoint.mac);
        add(address, std::move(owner));
    }
}

void OwnerFinder::add_node(const RemoteNode& node) {
    for (const net::Ip& address : node.addresses) {
        Owner owner;
        owner.identity = identities_.of_remote_node(address);
        owner.entry.kind = FlowEnd::Kind::remote;
        owner.entry.name = node.name;
        owner.node = true;
        owner.on = node.name;
        add(address, std::move(owner));
    }
}

void OwnerFinder::add_pod(const model::Pod& pod) {
    for (const net::Ip& address : pod.addresses) {
        Owner owner;
        owner.on = pod.node;
        owner.identity = identities_.of_pod(pod.name.space, pod.labels, pod.ports, address, false);
        owner.entry = {FlowEnd::Kind::remote, 0, 0, pod.name.space, pod.name.name, pod.labels};
        add(address, std::move(owner));
    }
}

Owners find_owners(const CompileInput& input, Identities& identities,
                   std::vector<std::string>& warnings) {
    OwnerFinder finder(identities, input.l7, warnings);
    for (const net::Ip& address : input.host_addresses)
        finder.add_host(address);
    std::set<model::ObjectName> attached;
    for (const model::Workload& workload : input.workloads) {
        attached.insert(workload.name);
        finder.add_workload(workload, input.objects);
    }
    for (const RemoteNode& node : input.nodes)
        finder.add_node(node);
    for (const auto& [name, pod] : input.objects.pods) {
        if (stands_for_itself(pod) && !attached.contains(name)) finder.add_pod(pod);
    }
    return finder.take();
}

using Worlds = std::vector<std::pair<net::Prefix, Identities::Index>>;

Worlds find_worlds(Identities& identities) {
    Worlds worlds;
    for (const net::Prefix& prefix : identities.cidrs().prefixes()) {
        worlds.emplace_back(prefix, identities.of_world(prefix));
    }
    for (const net::Prefix& everything : {net::Prefix::all_v4(), net::Prefix::all_v6()}) {
        worlds.emplace_back(everything, identities.of_world(everything));
    }
    return worlds;
}

// Numbers of the other nodes, and whose range of pods an address is in.
class NodeNumbers {
public:
    NodeNumbers(std::span<const RemoteNode> nodes, const Table<std::uint32_t, bl_node>& previous);

    [[nodiscard]] std::uint16_t by_name(const std::string& name) const {
        const auto found = by_name_.find(name);
        return found == by_name_.end() ? std::uint16_t{0} : found->second;
    }
    [[nodiscard]] std::uint16_t of(const net::Prefix& prefix) const {
        const std::uint32_t at = ranges_.longest(prefix.base);
        if (at == CidrSet::kNone || !ranges_.prefixes()[at].contains(prefix)) return 0;
        return by_range_.at(ranges_.prefixes()[at]);
    }
    [[nodiscard]] const std::map<net::Prefix, std::uint16_t>& by_range() const { return by_range_; }
    Table<std::uint32_t, bl_node> take() { return std::move(table_); }

private:
    std::map<std::string, std::uint16_t> by_name_;
    std::map<net::Prefix, std::uint16_t> by_range_;
    CidrSet ranges_{{}};
    Table<std::uint32_t, bl_node> table_;
};

NodeNumbers::NodeNumbers(std::span<const RemoteNode> nodes,
                         const Table<std::uint32_t, bl_node>& previous) {
    Table<bl_addr, std::uint32_t> kept;
    for (const auto& [number, node] : previous)
        kept.emplace(node.addr, number);
    std::uint32_t next = 1;
    for (const RemoteNode& node : nodes) {
        if (BytesEqual{}(node.path.addr, bl_addr{})) continue;
        const auto known = kept.find(node.path.addr);
        std::uint32_t number = known == kept.end() ? 0 : known->second;
        if (number == 0 || table_.contains(number)) {
            // As with identities, one that `previous` still names is not given to another at once.
            while (previous.contains(next) || table_.contains(next))
                ++next;
            number = next++;
        }
        table_.emplace(number, node.path);
        by_name_.emplace(node.name, static_cast<std::uint16_t>(number));
        for (const net::Prefix& range : node.ranges)
            by_range_.emplace(range, static_cast<std::uint16_t>(number));
    }
    std::vector<net::Prefix> all;
    all.reserve(by_range_.size());
    for (const auto& [range, number] : by_range_)
        all.push_back(range);
    ranges_ = CidrSet(std::move(all));
}

// Addresses of a range that no pod is known to have: strangers, whom only CIDRs name.
Identities::Index stranger_in(const net::Prefix& range, Identities& identities) {
    const CidrSet& cidrs = identities.cidrs();
    std::uint32_t cidr = cidrs.longest(range.base);
    while (cidr != CidrSet::kNone && !cidrs.prefixes()[cidr].contains(range))
        cidr = cidrs.parent(cidr);
    if (cidr != CidrSet::kNone) return identities.of_world(cidrs.prefixes()[cidr]);
    return identities.of_world(range.is_v4() ? net::Prefix::all_v4() : net::Prefix::all_v6());
}

void write_addresses(const Owners& owners, const Worlds& worlds, const NodeNumbers& nodes,
                     Identities& identities, const std::vector<std::uint16_t>& flags,
                     Tables& tables, model::Directory& directory) {
    for (const auto& [range, number] : nodes.by_range()) {
        tables.ipcache[to_abi(range)] =
            bl_ipcache{identities[stranger_in(range, identities)].number, number, 0};
    }
    for (const auto& [prefix, identity] : worlds) {
        tables.ipcache[to_abi(prefix)] =
            bl_ipcache{identities[identity].number, nodes.of(prefix), 0};
    }
    for (const auto& [address, owner] : owners) {
        const std::uint32_t number = identities[owner.identity].number;
        if (owner.local()) {
            bl_endpoint endpoint = owner.endpoint;
            endpoint.identity = number;
            endpoint.flags |= flags[owner.identity];
            tables.endpoints.emplace(to_abi(address), endpoint);
        } else {
            const std::uint16_t in_range =
                owner.node ? std::uint16_t{0} : nodes.of(net::Prefix::host(address));
            tables.ipcache[to_abi(net::Prefix::host(address))] = {
                number, in_range != 0 ? in_range : nodes.by_name(owner.on),
                static_cast<__u16>(owner.node ? BL_IPC_NODE : 0)};
        }
        model::Directory::Entry entry = owner.entry;
        entry.identity = number;
        directory.by_address.emplace(address, std::move(entry));
    }
    for (Identities::Index index = 0; index < identities.size(); ++index) {
        const Identity& identity = identities[index];
        directory.identities.emplace(identity.number, identities.describe(index));
        if (identity.number >= BL_ID_FIRST_LOCAL)
            tables.identities.emplace(identity.number, identity.digest);
    }
}

Result<> check_limits(const Tables& tables, const Limits& limits) {
    struct Row {
        const char* what;
        std::size_t needed;
        std::size_t limit;
    };
    for (const Row& row : std::initializer_list<Row>{
             {"addresses of this machine and its workloads", tables.endpoints.size(),
              limits.endpoints},
             {"pods elsewhere and policy CIDRs", tables.ipcache.size(), limits.ipcache},
             {"identities", tables.identities.size(), limits.identities},
             {"service addresses and ports", tables.services.size(), limits.services},
             {"service slots", tables.slots.size(), limits.slots},
             {"service backends", tables.backends.size(), limits.backends},
             {"other nodes", tables.nodes.size(), limits.nodes},
         }) {
        if (row.needed > row.limit) {
            return fail(Code::exhausted, "{}: {} are needed, {} fit", row.what, row.needed,
                        row.limit);
        }
    }
    return {};
}

} // namespace

Result<Compiled> compile(const CompileInput& input) {
    Compiled compiled;
    auto directory = std::make_shared<model::Directory>();

    Identities identities(input.objects);
    const Owners owners = find_owners(input, identities, compiled.warnings);
    const Worlds worlds = find_worlds(identities);
    identities.assign_numbers(input.previous.identities);

    auto policy = compile_policy(input.objects, identities, input.limits.policy);
    if (!policy) return tl::unexpected(std::move(policy).error());
    NodeNumbers nodes(input.nodes, input.previous.nodes);
    write_addresses(owners, worlds, nodes, identities, policy->flags, compiled.tables, *directory);
    compiled.tables.nodes = nodes.take();
    compiled.tables.policy = std::move(policy->entries);
    directory->rules = std::move(policy->rules);
    directory->subjects = std::move(policy->subjects);

    ServiceTables services =
        compile_services(input, [&](const net::Ip& address) { return owners.contains(address); });
    compiled.tables.services = std::move(services.services);
    compiled.tables.slots = std::move(services.slots);
    compiled.tables.backends = std::move(services.backends);
    compiled.gone = std::move(services.gone);
    compiled.host_ports = std::move(services.host_ports);
    compiled.warnings.insert(compiled.warnings.end(), services.warnings.begin(),
                             services.warnings.end());
    directory->services = std::move(services.names);

    for (const model::Workload& workload : input.workloads) {
        if (workload.ifindex)
            directory->interfaces.emplace(workload.ifindex, workload.host_interface);
    }
    for (const RemoteNode& node : input.nodes) {
        if (node.path.ifindex) directory->interfaces.emplace(node.path.ifindex, node.interface);
    }
    TRY(check_limits(compiled.tables, input.limits));
    compiled.directory = std::move(directory);
    return compiled;
}

} // namespace beeline::datapath
