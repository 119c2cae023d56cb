// The reference of what policies mean: pure, slow and plain. Tests, explain and dry-run use it; the
// kernel's verdicts are checked against it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/objects.h"

namespace beeline::model {

// One end of a connection.
struct Party {
    enum class Kind { pod, host, world };
    Kind kind = Kind::world;
    ObjectName name;              // of a pod
    Labels labels;                // of a pod
    std::vector<NamedPort> ports; // of a pod: what named ports resolve to
    net::Ip address;
};

struct Query {
    Party source;
    Party destination;
    Protocol protocol = Protocol::tcp;
    std::uint16_t port = 0; // destination port; 0 for protocols without ports
};

// What one direction's check said.
struct Check {
    bool isolated = false;
    bool allowed = true;
    std::string rule;                   // title of the rule that decided; empty when none had to
    std::vector<std::string> selecting; // titles of the policies that isolate the subject here
};

struct Decision {
    bool allowed = true;
    Check egress;  // of the source
    Check ingress; // of the destination
};

// What policies mean:
// - A direction of a pod is open unless a policy isolates it there. Then a matching deny rule
// drops, else a matching
//   allow rule passes, else the connection is dropped (default deny). Replies are not judged.
// - A pod always reaches itself, and the host always reaches its own pods, whatever the policies
// say.
// - Pods are matched by selectors and by ipBlocks, the host and the world by ipBlocks only; a rule
// without a peer list
//   matches everyone.
// Which rule is named when several match: the first in (policy title, rule index) order among those
// that had to look at the peer (by their peer list, or by a port name that the peer resolves, as
// egress rules do); else the first in that order among the rules for everyone. The kernel names the
// same one.
Decision evaluate(const Objects& objects, const Query& query);

// One direction only: is `subject` allowed to talk to / be reached by `peer`.
Check check(const Objects& objects, const Party& subject, const Party& peer, Direction direction,
            Protocol protocol, std::uint16_t port);

} // namespace beeline::model
