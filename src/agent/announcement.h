// What this machine says of itself to others, where the source carries it (etcd).
#pragma once

#include <vector>

#include "agent/config.h"
#include "net/address.h"
#include "source/source.h"

namespace beeline::agent {

// One address of each family: the configured ones, else those that this machine uses towards the source, else towards the
// world, else its first.
std::vector<net::Ip> node_addresses(const Config& config, const std::vector<net::Ip>& host);

source::Announcement announcement(const Config& config, const std::vector<net::Ip>& host,
                                  const std::vector<model::Workload>& workloads);

} // namespace beeline::agent
