// The verbs of CNI as the agent carries them out. beeline-cni and `beeline run` send them through the local API.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "datapath/ipam.h"
#include "datapath/plumbing.h"
#include "datapath/workloads.h"

namespace beeline::datapath {

struct CniContext {
    Plumbing& plumbing;
    Ipam& ipam;
    Workloads& workloads;
    std::string cgroup_mount;             // of cgroup2; empty: not known
    std::function<Result<>()> ready = {}; // asked by STATUS; empty: always ready
    // Asked by CHECK: is what the kernel must do for this workload in force? Empty: yes.
    std::function<Result<>(const model::Workload&)> enforced = {};
    std::function<Result<>()> may_lease = {}; // asked before an address is given; empty: always
};

struct CniRequest {
    std::string container;
    std::string netns;
    std::string interface;
    std::string args;      // CNI_ARGS
    nlohmann::json config; // with cniVersion and name
};

// `code` 0: done, `result` is what ADD answers and {} for the others. Else an error of net/cni_protocol.h.
struct CniResponse {
    int code = 0;
    std::string message;
    std::string details;
    nlohmann::json result = nlohmann::json::object();
};

// `verb` is add, del, check, gc or status. ADD returns after the workload is attached and its addresses work; a failed one
// leaves nothing. DEL succeeds in whatever state things are, and again.
CniResponse handle_cni(CniContext& context, std::string_view verb, const CniRequest& request);

// {"container","netns","interface","args","path","config"}, as in the local API.
Result<CniRequest> parse_cni_request(std::string_view text);

// At start, before the API is served: gives up addresses and interfaces that belong to no workload, and claims those that
// do. Call it after Plumbing::prepare_node().
Result<> reconcile_workloads(CniContext& context);

// Carries out the DELs that came while the agent was down: one file each in `folder` (Paths::tombstones()). To be called at
// start before the API is served, and every few seconds after, for one may be written just before the socket opens.
// Returns how many were carried out.
std::size_t replay_tombstones(CniContext& context, const std::string& folder);

} // namespace beeline::datapath
