// `beelined --cleanup`: removes everything that an instance ever made.
#pragma once

#include "api/client/paths.h"
#include "base/result.h"

namespace beeline::agent {

// Ends the workloads of `beeline run`, removes interfaces, firewall table, pins (and with them every attachment), cgroups, run and
// state files. Acts in the current network namespace. Manifests are the user's and stay. Fails when the agent runs.
Result<> cleanup(const api::Paths& paths);

} // namespace beeline::agent
