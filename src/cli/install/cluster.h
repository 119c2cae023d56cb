// The chart's objects at an API server: made, compared, waited for, removed.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "kube/client.h"

namespace beeline::cli::install {

struct Object {
    std::string kind;
    std::string name;
    std::string space; // empty: of the whole cluster
    std::string path;  // at the API server
    nlohmann::json body;
    [[nodiscard]] std::string title() const; // "DaemonSet kube-system/beeline"
};

// Objects of kinds that the chart has.
Result<Object> object_of(nlohmann::json body);

enum class Outcome { created, changed, unchanged, removed, absent };
std::string_view outcome_name(Outcome outcome);

struct ApplyOptions {
    bool dry_run = false; // the server judges and keeps nothing
    bool force = false;   // also fields that others manage
};

// By server-side apply: fields that the object does not name stay as they are.
Result<Outcome> apply(kube::Client& client, const Object& object, const ApplyOptions& options);
Result<Outcome> remove(kube::Client& client, const Object& object, bool dry_run);
// Makes the namespace when it is not there, with the right to run such pods in it.
Result<Outcome> make_namespace(kube::Client& client, const std::string& space, bool dry_run);

// Until every node that shall have the agent has the newest one, ready. `progress` is called when its text changes.
Result<> wait_ready(kube::Client& client, const Object& daemon_set, std::chrono::seconds timeout,
                    const std::function<void(const std::string&)>& progress);

} // namespace beeline::cli::install
