// Who an address belongs to, and what a workload is called, labelled and listening on once its
// manifest is known.
#pragma once

#include <vector>

#include "model/evaluate.h"
#include "model/objects.h"
#include "model/workload.h"

namespace beeline::model {

// The workload's own labels and ports with those of the Pod manifest of the same name laid over
// them: the manifest wins key by key, and for ports by name and protocol.
Labels merged_labels(const Workload& workload, const Objects& objects);
std::vector<NamedPort> merged_ports(const Workload& workload, const Objects& objects);

// Which application protocols are read of it.
L7Protocols l7_protocols(const L7Choice& choice, const Workload& workload, const Objects& objects);

// Ready for traffic, as far as both the workload and its manifest (if any) say.
bool merged_ready(const Workload& workload, const Objects& objects);

Party party_of(const Workload& workload, const Objects& objects, const net::Ip& address);
Party party_of(const Pod& pod, const net::Ip& address);

// A manifest describes a pod elsewhere: it has addresses of its own, runs, is not on its node's
// network.
bool stands_for_itself(const Pod& pod);

// The owner of `address`: the host, else a workload, else the first manifest with that address
// whose name no workload has, else the world.
Party party_at(const Objects& objects, const std::vector<Workload>& workloads,
               const std::vector<net::Ip>& host_addresses, const net::Ip& address);

} // namespace beeline::model
