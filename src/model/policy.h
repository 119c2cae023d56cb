// One policy form for every policy language. Kubernetes NetworkPolicy compiles to it today,
// Cilium's kinds later.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/labels.h"
#include "model/protocol.h"
#include "net/address.h"

namespace beeline::model {

enum class Direction : std::uint8_t { egress = 0, ingress = 1 }; // numbers as BL_DIR_*
std::string_view to_string(Direction direction);

struct CidrBlock {
    net::Prefix cidr;
    std::vector<net::Prefix> except; // inside cidr, carve out of this block only
    [[nodiscard]] bool contains(const net::Ip& ip) const;
    bool operator==(const CidrBlock&) const = default;
};

// Who is on the other side. Either `block`, or selectors: `pods` within namespaces that
// `namespaces` selects, or within the policy's own namespace when it selects none.
struct Peer {
    std::optional<LabelSelector> pods;
    std::optional<LabelSelector> namespaces;
    std::optional<CidrBlock> block;
    bool operator==(const Peer&) const = default;
};

// A destination port. `name` resolves on the receiving pod; otherwise first..last, 0..65535 for all
// ports.
struct PolicyPort {
    Protocol protocol = Protocol::tcp;
    std::string name;
    std::uint16_t first = 0;
    std::uint16_t last = 65535;
    bool operator==(const PolicyPort&) const = default;
};

struct Rule {
    enum class Action : std::uint8_t { allow, deny };
    Action action = Action::allow;
    bool any_peer = false; // no peer list: everyone, also outside the cluster
    std::vector<Peer> peers;
    bool any_port = false; // no port list: every port and every protocol
    std::vector<PolicyPort> ports;
    bool operator==(const Rule&) const = default;
};

struct Policy {
    std::string kind;  // "NetworkPolicy"
    std::string space; // namespace
    std::string name;
    LabelSelector subject; // pods of `space`
    bool isolates_ingress = false;
    bool isolates_egress = false;
    std::vector<Rule> ingress; // inert unless isolates_ingress
    std::vector<Rule> egress;

    [[nodiscard]] bool isolates(Direction direction) const {
        return direction == Direction::ingress ? isolates_ingress : isolates_egress;
    }
    [[nodiscard]] const std::vector<Rule>& rules(Direction direction) const {
        return direction == Direction::ingress ? ingress : egress;
    }
    // "NetworkPolicy shop/allow-web"
    [[nodiscard]] std::string title() const;
    bool operator==(const Policy&) const = default;
};

// Which rule: "NetworkPolicy shop/allow-web ingress[0]".
std::string rule_title(const Policy& policy, Direction direction, std::size_t index);

} // namespace beeline::model
