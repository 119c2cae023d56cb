// Policies -> entries of bl_policy.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "datapath/identity.h"
#include "datapath/tables.h"
#include "model/directory.h"
#include "model/objects.h"

namespace beeline::datapath {

// A part of the space of protocols and ports: everything whose first `length` of 24 bits (8 of the protocol, 16 of the
// port) are those of `bits`. Length 0 is everything, 8 one protocol, 24 one port.
struct PortPrefix {
    std::uint32_t bits = 0;
    std::uint8_t length = 0;

    [[nodiscard]] bool covers(const PortPrefix& other) const {
        return length <= other.length && ((bits ^ other.bits) >> (24 - length)) == 0;
    }
    bool operator==(const PortPrefix&) const = default;
};

// The fewest prefixes that make up first..last; all ports of a protocol are one.
std::vector<PortPrefix> port_prefixes(model::Protocol protocol, std::uint16_t first,
                                      std::uint16_t last);

struct PolicyTables {
    Table<bl_policy_key, bl_policy> entries;
    std::vector<std::uint16_t> flags; // BL_EP_INGRESS, BL_EP_EGRESS by index of the identity
    std::unordered_map<std::uint32_t, std::string> rules;
    std::unordered_map<std::uint32_t, model::Directory::Subject> subjects;
};

// Entries for the local identities, after numbers were assigned. The kernel takes the longest matching entry of the
// peer and of "any peer", a deny in either first. So within one peer every entry carries what all broader entries of
// that peer say together with it: a deny if any of them denies, and the first rule of that kind in (policy title, rule
// index) order. Verdict and rule are then those of model::evaluate.
// Fails with Code::exhausted above `limit` entries, naming the policy that needs most.
Result<PolicyTables> compile_policy(const model::Objects& objects, const Identities& identities,
                                    std::size_t limit);

} // namespace beeline::datapath
