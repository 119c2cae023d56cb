#include "model/party.h"

#include <algorithm>

namespace beeline::model {
namespace {

const Pod* manifest_of(const Workload& workload, const Objects& objects) {
    const auto found = objects.pods.find(workload.name);
    return found == objects.pods.end() ? nullptr : &found->second;
}

bool has(const std::vector<net::Ip>& addresses, const net::Ip& address) {
    return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

} // namespace

Labels merged_labels(const Workload& workload, const Objects& objects) {
    const Pod* pod = manifest_of(workload, objects);
    if (!pod) return workload.labels;
    Labels labels = pod->labels;
    labels.insert(workload.labels.begin(), workload.labels.end());
    return labels;
}

std::vector<NamedPort> merged_ports(const Workload& workload, const Objects& objects) {
    const Pod* pod = manifest_of(workload, objects);
    if (!pod) return workload.ports;
    std::vector<NamedPort> ports = pod->ports;
    for (const NamedPort& own : workload.ports) {
        const bool replaced =
            std::any_of(pod->ports.begin(), pod->ports.end(), [&](const NamedPort& port) {
                return port.name == own.name && port.protocol == own.protocol;
            });
        if (!replaced) ports.push_back(own);
    }
    return ports;
}

L7Protocols l7_protocols(const L7Choice& choice, const Workload& workload, const Objects& objects) {
    const Pod* pod = manifest_of(workload, objects);
    return choice.of(merged_labels(workload, objects), pod ? pod->l7 : std::nullopt);
}

bool merged_ready(const Workload& workload, const Objects& objects) {
    const Pod* pod = manifest_of(workload, objects);
    return workload.ready && (!pod || (pod->ready && !pod->finished));
}

Party party_of(const Workload& workload, const Objects& objects, const net::Ip& address) {
    return {Party::Kind::pod, workload.name, merged_labels(workload, objects),
            merged_ports(workload, objects), address};
}

Party party_of(const Pod& pod, const net::Ip& address) {
    return {Party::Kind::pod, pod.name, pod.labels, pod.ports, address};
}

bool stands_for_itself(const Pod& pod) {
    return !pod.addresses.empty() && !pod.finished && !pod.host_network;
}

Party party_at(const Objects& objects, const std::vector<Workload>& workloads,
               const std::vector<net::Ip>& host_addresses, const net::Ip& address) {
    if (has(host_addresses, address)) return {Party::Kind::host, {}, {}, {}, address};
    for (const Workload& workload : workloads) {
        if (has(workload.addresses, address)) return party_of(workload, objects, address);
    }
    for (const auto& [name, pod] : objects.pods) {
        const bool attached =
            std::any_of(workloads.begin(), workloads.end(),
                        [&](const Workload& workload) { return workload.name == name; });
        if (!attached && stands_for_itself(pod) && has(pod.addresses, address)) {
            return party_of(pod, address);
        }
    }
    return {Party::Kind::world, {}, {}, {}, address};
}

} // namespace beeline::model
