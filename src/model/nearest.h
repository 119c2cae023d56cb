// Why no rule let a connection through, which one came nearest, and what would have to change. Pure, like evaluate().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/evaluate.h"
#include "model/objects.h"

namespace beeline::model {

// One end's check of a connection, as check() takes it.
struct Probe {
    Party subject;
    Party peer;
    Direction direction = Direction::ingress;
    Protocol protocol = Protocol::tcp;
    std::uint16_t port = 0;
};

struct Mismatch {
    enum class Kind { port, protocol, pod_label, namespace_label, space, cidr, outside };
    Kind kind = Kind::port;
    std::string text;                 // "port 81 is not among TCP 80"
    std::optional<Requirement> unmet; // of the labels
};
std::string_view to_string(Mismatch::Kind kind);

// The allow rule with the fewest conditions that failed.
struct Near {
    ObjectName policy;
    std::size_t index = 0;
    std::string title; // "NetworkPolicy shop/allow-web ingress[0]"
    std::vector<Mismatch> failed;
};
// Nothing when no rule could allow anything, or the subject is not isolated.
std::optional<Near> nearest_rule(const Objects& objects, const Probe& probe);

// Something to do that makes the probe pass.
struct Change {
    enum class Kind { add_port, label_pod, label_namespace, new_policy };
    Kind kind = Kind::new_policy;
    std::string text;  // "add port TCP 81 to NetworkPolicy shop/allow-web ingress[0]"
    ObjectName target; // what changes or is made
    Policy policy;     // add_port, new_policy: as it has to be
    Labels labels;     // label_*: all that the target has then
};
std::string_view to_string(Change::Kind kind);

// Smallest first; each alone is enough for this end's check, and was tried out on a copy. The last is a new policy that
// selects nothing but what is isolated already and allows nothing but this peer and port. Empty when the check allows it, or
// when a deny rule decided.
std::vector<Change> changes(const Objects& objects, const Probe& probe);

// What a change does to the model.
void apply(const Change& change, Objects& objects, Probe& probe);

// A manifest for `beeline apply`.
std::string to_yaml(const Change& change);

} // namespace beeline::model
