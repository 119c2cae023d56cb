// Flows in Hubble's messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <beeline/extension.pb.h>
#include <flow/flow.pb.h>

#include "model/flow.h"

namespace beeline::hubble {

// Whose flows they are.
struct Origin {
    std::string node;                // as clients shall see it
    std::string cluster = "default"; // of its workloads
    std::string version;             // of the agent
    std::vector<std::string> labels; // of the node
};

// Precondition: the flow is not of kind lost. `extension`: with the FlowExtension. `out` is empty before.
void convert(const model::Flow& flow, const Origin& origin, ::flow::Flow& out,
             bool extension = true);
[[nodiscard]] ::flow::Flow convert(const model::Flow& flow, const Origin& origin);
// Of kind lost.
void convert_lost(const model::Flow& flow, ::flow::LostEvent& out);

// Hubble's number for a reason of the datapath: the same name, else the nearest meaning.
[[nodiscard]] ::flow::DropReason drop_reason(unsigned reason);

void set_time(std::int64_t time_ns, google::protobuf::Timestamp& out);

// The deciding rule's title, "NetworkPolicy shop/web ingress[0]", as the policy it belongs to.
void policy_of(std::string_view title, ::flow::Policy& out);

// What the controller of a pod is called, by the names and labels that Kubernetes gives its pods; a pod without one
// is its own workload.
void workload_of(const model::FlowEnd& end, ::flow::Workload& out);

} // namespace beeline::hubble
