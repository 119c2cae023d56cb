#include "datapath/service_compile.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <set>
#include <unordered_set>

#include <fmt/format.h>

#include "model/label_index.h"
#include "model/party.h"

namespace beeline::datapath {
namespace {

using model::Protocol;
using model::Service;
using model::ServicePort;

struct Endpoint {
    net::Ip address;
    std::uint16_t port = 0;
    bool ready = false;
    bool last_resort = false; // serving although terminating: used only when nobody is ready
};

class EndpointFinder {
public:
    EndpointFinder(const model::Objects& objects, const std::vector<model::Workload>& workloads);

    // Of one service port and one family: usable ones, each (address, port) once, ascending.
    [[nodiscard]] std::vector<Endpoint> usable(const Service& service, const ServicePort& port,
                                               bool v4) const;

private:
    struct Pod {
        model::Labels labels;
        std::vector<model::NamedPort> ports;
        std::vector<net::Ip> addresses;
        bool ready = true;
    };

    void add_pod(const std::string& space, Pod pod);
    void add_from_slices(const std::vector<const model::EndpointSlice*>& slices,
                         const ServicePort& port, std::vector<Endpoint>& out) const;
    void add_from_pods(const Service& service, const model::Labels& labels, const ServicePort& port,
                       bool v4, std::vector<Endpoint>& out) const;

    std::map<model::ObjectName, std::vector<const model::EndpointSlice*>> slices_; // by service
    std::deque<Pod> pods_;
    model::LabelIndex pod_index_;
};

EndpointFinder::EndpointFinder(const model::Objects& objects,
                               const std::vector<model::Workload>& workloads) {
    for (const auto& [name, slice] : objects.slices)
        slices_[{name.space, slice.service}].push_back(&slice);

    std::set<model::ObjectName> attached;
    for (const model::Workload& workload : workloads) {
        attached.insert(workload.name);
        add_pod(workload.name.space,
                {merged_labels(workload, objects), merged_ports(workload, objects),
                 workload.addresses, merged_ready(workload, objects)});
    }
    for (const auto& [name, pod] : objects.pods) {
        // Unlike a policy's peers, the backends of a service may be on their node's network.
        if (pod.finished || pod.addresses.empty() || attached.contains(name)) continue;
        add_pod(name.space, {pod.labels, pod.ports, pod.addresses, pod.ready});
    }
}

void EndpointFinder::add_pod(const std::string& space, Pod pod) {
    pods_.push_back(std::move(pod));
    pod_index_.add(space, pods_.back().labels);
}

void EndpointFinder::add_from_slices(const std::vector<const model::EndpointSlice*>& slices,
                                     const ServicePort& port, std::vector<Endpoint>& out) const {
    for (const model::EndpointSlice* slice : slices) {
        for (const model::EndpointSlice::Port& offered : slice->ports) {
            if (offered.name != port.name || offered.protocol != port.protocol || offered.port == 0)
                continue;
            for (const model::EndpointSlice::Endpoint& one : slice->endpoints) {
                out.push_back(
                    {one.address, offered.port, one.ready, one.serving && one.terminating});
            }
        }
    }
}

std::optional<std::uint16_t> target_port(const ServicePort& port,
                                         const std::vector<model::NamedPort>& pod_ports) {
    if (port.target_port != 0) return port.target_port;
    if (port.target_name.empty()) return port.port;
    for (const model::NamedPort& one : pod_ports) {
        if (one.name == port.target_name && one.protocol == port.protocol) return one.port;
    }
    return std::nullopt;
}

void EndpointFinder::add_from_pods(const Service& service, const model::Labels& labels,
                                   const ServicePort& port, bool v4,
                                   std::vector<Endpoint>& out) const {
    model::LabelSelector selector;
    for (const auto& [key, value] : labels) {
        selector.requirements.push_back({key, model::Requirement::Operator::in, {value}});
    }
    for (const auto id : pod_index_.select(selector, {service.name.space})) {
        const Pod& pod = pods_[id];
        const auto target = target_port(port, pod.ports);
        // One address of a family stands for the pod, as in EndpointSlices.
        const auto address = std::find_if(pod.addresses.begin(), pod.addresses.end(),
                                          [&](const net::Ip& ip) { return ip.is_v4() == v4; });
        if (!target || address == pod.addresses.end()) continue;
        out.push_back({*address, *target, pod.ready || service.publish_not_ready, false});
    }
}

std::vector<Endpoint> EndpointFinder::usable(const Service& service, const ServicePort& port,
                                             bool v4) const {
    std::vector<Endpoint> all;
    // An empty selector is none: it would make every pod a backend.
    if (const auto given = slices_.find(service.name); given != slices_.end()) {
        add_from_slices(given->second, port, all);
    } else if (service.selector && !service.selector->empty()) {
        add_from_pods(service, *service.selector, port, v4, all);
    }
    std::erase_if(all, [&](const Endpoint& one) {
        return one.address.is_v4() != v4 || one.address.is_zero();
    });

    // One endpoint may stand in several slices; the best that any of them says counts.
    std::sort(all.begin(), all.end(), [](const Endpoint& a, const Endpoint& b) {
        return std::tuple(a.address, a.port, !a.ready, !a.last_resort) <
               std::tuple(b.address, b.port, !b.ready, !b.last_resort);
    });
    all.erase(std::unique(all.begin(), all.end(),
                          [](const Endpoint& a, const Endpoint& b) {
                              return a.address == b.address && a.port == b.port;
                          }),
              all.end());

    const bool any_ready =
        std::any_of(all.begin(), all.end(), [](const Endpoint& one) { return one.ready; });
    std::erase_if(all,
                  [&](const Endpoint& one) { return any_ready ? !one.ready : !one.last_resort; });
    return all;
}

class Numbers {
public:
    explicit Numbers(const Tables& previous);

    std::uint32_t service(const bl_svc_key& key);
    std::uint32_t backend(const bl_backend& backend);
    // The generation under which the slots of `service` are `backends`.
    [[nodiscard]] std::uint32_t generation(const bl_svc_key& key, std::uint32_t service,
                                           const std::vector<std::uint32_t>& backends) const;

private:
    const bl_svc* before(const bl_svc_key& key) const;

    const Tables& previous_;
    Table<bl_backend, std::uint32_t> backends_;
    std::uint32_t last_service_ = 0;
    std::uint32_t last_backend_ = 0;
};

Numbers::Numbers(const Tables& previous) : previous_(previous) {
    for (const auto& [key, service] : previous.services)
        last_service_ = std::max(last_service_, service.id);
    for (const auto& [key, id] : previous.slots)
        last_service_ = std::max(last_service_, key.service);
    for (const auto& [id, backend] : previous.backends) {
        last_service_ = std::max(last_service_, backend.service);
        last_backend_ = std::max(last_backend_, id);
        const auto [entry, is_new] = backends_.try_emplace(backend, id);
        if (!is_new) entry->second = std::min(entry->second, id);
    }
}

const bl_svc* Numbers::before(const bl_svc_key& key) const {
    const auto found = previous_.services.find(key);
    if (found == previous_.services.end() || found->second.flags & BL_SVC_MOVED) return nullptr;
    return &found->second;
}

std::uint32_t Numbers::service(const bl_svc_key& key) {
    const bl_svc* known = before(key);
    return known ? known->id : ++last_service_;
}

std::uint32_t Numbers::backend(const bl_backend& backend) {
    const auto [entry, is_new] = backends_.try_emplace(backend, last_backend_ + 1);
    if (is_new) ++last_backend_;
    return entry->second;
}

std::uint32_t Numbers::generation(const bl_svc_key& key, std::uint32_t service,
                                  const std::vector<std::uint32_t>& backends) const {
    const bl_svc* known = before(key);
    if (!known) return 1;
    bool same = known->count == backends.size();
    for (std::uint32_t slot = 0; same && slot < backends.size(); ++slot) {
        const auto found = previous_.slots.find({service, known->generation, slot});
        same = found != previous_.slots.end() && found->second == backends[slot];
    }
    return same ? known->generation : known->generation + 1;
}

class ServiceWriter {
public:
    explicit ServiceWriter(const CompileInput& input)
        : finder_(input.objects, input.workloads), numbers_(input.previous) {}

    void add(const Service& service);
    // Services with one backend, at every address of the node that they are for.
    void add_host_ports(const model::Workload& workload, const std::vector<net::Ip>& node);
    ServiceTables take() { return std::move(out_); }

private:
    void add_frontend(const Service& service, const ServicePort& port, const net::Ip& address);
    void add_host_port(const model::Workload& workload, const model::HostPort& port,
                       const net::Ip& address, std::uint32_t flags);
    std::vector<Endpoint> endpoints(const Service& service, const ServicePort& port, bool v4);
    void put(const bl_svc_key& key, bl_svc entry, const std::vector<Endpoint>& endpoints);

    EndpointFinder finder_;
    Numbers numbers_;
    ServiceTables out_;
};

void ServiceWriter::add(const Service& service) {
    if (service.headless || service.external_name) return;
    for (const ServicePort& port : service.ports) {
        for (const net::Ip& address : service.cluster_ips)
            add_frontend(service, port, address);
    }
}

std::vector<Endpoint> ServiceWriter::endpoints(const Service& service, const ServicePort& port,
                                               bool v4) {
    std::vector<Endpoint> usable = finder_.usable(service, port, v4);
    if (port.protocol != Protocol::sctp) return usable;
    const std::size_t left_out =
        std::erase_if(usable, [&](const Endpoint& one) { return one.port != port.port; });
    if (left_out) {
        out_.warnings.push_back(fmt::format("Service {} port {}/SCTP: {} endpoints on another port "
                                            "are left out, SCTP ports cannot be translated",
                                            service.name.to_string(), port.port, left_out));
    }
    return usable;
}

void ServiceWriter::add_frontend(const Service& service, const ServicePort& port,
                                 const net::Ip& address) {
    const auto [name, is_first] =
        out_.names.try_emplace({address, port.port, port.protocol}, service.name.to_string());
    if (!is_first) {
        out_.warnings.push_back(fmt::format(
            "Service {}: {} port {}/{} already belongs to Service {}", service.name.to_string(),
            address.to_string(), port.port, model::to_string(port.protocol), name->second));
        return;
    }
    bl_svc_key key{};
    key.addr = to_abi(address);
    key.port = htons(port.port);
    key.proto = static_cast<std::uint8_t>(port.protocol);
    bl_svc entry{};
    entry.affinity_s = service.affinity_s;
    put(key, entry, endpoints(service, port, address.is_v4()));
}

void ServiceWriter::add_host_ports(const model::Workload& workload,
                                   const std::vector<net::Ip>& node) {
    static const std::array<net::Ip, 2> kLoopback{net::Ip::parse("127.0.0.1").value(),
                                                  net::Ip::parse("::1").value()};
    for (const model::HostPort& port : workload.host_ports) {
        for (const net::Ip& address : node)
            add_host_port(workload, port, address, 0);
        for (const net::Ip& address : kLoopback)
            add_host_port(workload, port, address, BL_SVC_NODE_ONLY);
    }
}

void ServiceWriter::add_host_port(const model::Workload& workload, const model::HostPort& port,
                                  const net::Ip& address, std::uint32_t flags) {
    if (!port.at(address)) return;
    const auto own = std::find_if(workload.addresses.begin(), workload.addresses.end(),
                                  [&](const net::Ip& ip) { return ip.is_v4() == address.is_v4(); });
    if (own == workload.addresses.end()) return;
    bl_svc_key key{};
    key.addr = to_abi(address);
    key.port = htons(port.port);
    key.proto = static_cast<std::uint8_t>(port.protocol);
    if (out_.services.contains(key)) {
        out_.warnings.push_back(fmt::format("workload {}: hostPort {} of {} is taken already",
                                            workload.name.to_string(), port.to_string(),
                                            address.to_string()));
        return;
    }
    bl_svc entry{};
    entry.flags = flags;
    put(key, entry, {{*own, port.target, true, false}});
    if ((flags & BL_SVC_NODE_ONLY) == 0)
        out_.host_ports.push_back({address, port.port, port.protocol, *own, port.target});
}

void ServiceWriter::put(const bl_svc_key& key, bl_svc entry,
                        const std::vector<Endpoint>& endpoints) {
    entry.id = numbers_.service(key);
    std::vector<std::uint32_t> ids;
    for (const Endpoint& endpoint : endpoints) {
        bl_backend backend{};
        backend.addr = to_abi(endpoint.address);
        backend.port = htons(endpoint.port);
        backend.proto = key.proto;
        backend.service = entry.id;
        ids.push_back(numbers_.backend(backend));
        out_.backends.emplace(ids.back(), backend);
    }
    entry.count = static_cast<std::uint32_t>(ids.size());
    entry.generation = numbers_.generation(key, entry.id, ids);
    for (std::uint32_t slot = 0; slot < ids.size(); ++slot) {
        out_.slots.emplace(bl_slot_key{entry.id, entry.generation, slot}, ids[slot]);
    }
    out_.services.emplace(key, entry);
}

std::vector<GoneBackend> gone_backends(const Tables& previous, const ServiceTables& now) {
    std::vector<GoneBackend> gone;
    for (const auto& [id, backend] : previous.backends) {
        if (!now.backends.contains(id)) gone.push_back({id, backend});
    }
    std::sort(gone.begin(), gone.end(),
              [](const GoneBackend& a, const GoneBackend& b) { return a.id < b.id; });
    return gone;
}

// Addresses of vanished UDP backends that should lead to their service: (address key, service id), the latest first.
std::vector<std::pair<bl_svc_key, std::uint32_t>>
moved_candidates(const Tables& previous, const std::vector<GoneBackend>& gone) {
    std::vector<std::pair<bl_svc_key, std::uint32_t>> moved;
    for (auto one = gone.rbegin(); one != gone.rend(); ++one) {
        if (one->backend.proto != IPPROTO_UDP) continue;
        moved.emplace_back(bl_svc_key{one->backend.addr, one->backend.port, IPPROTO_UDP, {}},
                           one->backend.service);
    }
    const auto carried = static_cast<std::ptrdiff_t>(moved.size());
    for (const auto& [key, service] : previous.services) {
        if (service.flags & BL_SVC_MOVED) moved.emplace_back(key, service.id);
    }
    std::sort(moved.begin() + carried, moved.end(), [](const auto& a, const auto& b) {
        return std::memcmp(&a.first, &b.first, sizeof a.first) < 0;
    });
    return moved;
}

void add_moved(const Tables& previous, const std::function<bool(const net::Ip&)>& owned,
               ServiceTables& now) {
    std::unordered_map<std::uint32_t, bl_svc> by_id;
    for (const auto& [key, service] : now.services)
        by_id.emplace(service.id, service);
    std::unordered_set<bl_svc_key, BytesHash, BytesEqual> alive;
    for (const auto& [id, backend] : now.backends)
        alive.insert({backend.addr, backend.port, backend.proto, {}});

    std::size_t count = 0;
    for (const auto& [key, id] : moved_candidates(previous, now.gone)) {
        const auto service = by_id.find(id);
        if (count == kMostMoved) break;
        if (service == by_id.end() || alive.contains(key) || owned(from_abi(key.addr))) continue;
        bl_svc entry = service->second;
        entry.flags |= BL_SVC_MOVED;
        if (now.services.emplace(key, entry).second) ++count;
    }
}

} // namespace

ServiceTables compile_services(const CompileInput& input,
                               const std::function<bool(const net::Ip&)>& owned) {
    ServiceWriter writer(input);
    for (const auto& [name, service] : input.objects.services)
        writer.add(service);
    for (const auto& workload : input.workloads)
        writer.add_host_ports(workload, input.host_addresses);
    ServiceTables tables = writer.take();
    std::sort(tables.host_ports.begin(), tables.host_ports.end());
    tables.gone = gone_backends(input.previous, tables);
    add_moved(input.previous, owned, tables);
    return tables;
}

} // namespace beeline::datapath
