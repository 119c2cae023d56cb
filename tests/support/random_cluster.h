// Random clusters, policies and probes for tests that compare two ways of judging. Same generator state, same result.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "model/evaluate.h"
#include "model/objects.h"
#include "model/workload.h"

namespace beeline::test {

struct ClusterSizes {
    unsigned namespaces = 3;
    unsigned workloads = 10; // attached here; some have a manifest laid over them
    unsigned manifests =
        5; // pods elsewhere, finished ones and ones on the host's network among them
    unsigned policies = 8;
    bool deny_rules = true; // NetworkPolicy has none, the model does
};

struct RandomCluster {
    model::Objects objects;
    std::vector<model::Workload> workloads;
    std::vector<net::Ip> host_addresses;
};

// Workloads have addresses in 10.0.0.0/22 and fd00::/62 (one family or both), the host 10.0.0.254, 192.168.7.1,
// fd00::fe and fd07::1.
RandomCluster make_cluster(std::mt19937& random, const ClusterSizes& sizes = {});

// Two ends of one family, at least one of them a workload; labels and ports of the ends are filled in.
model::Query make_query(std::mt19937& random, const RandomCluster& cluster);

// What this machine must do: model::evaluate, but only workloads of this machine are subjects. Policies of a pod
// elsewhere are enforced where it runs.
model::Decision node_decision(const RandomCluster& cluster, const model::Query& query);

// "n0/p1 10.0.0.3 -> host 10.0.0.254 TCP/80", for messages.
std::string describe(const model::Query& query);

} // namespace beeline::test
