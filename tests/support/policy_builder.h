// Policies, selectors and addresses written as short as a test row needs them. Wrong text aborts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/objects.h"

namespace beeline::test {

net::Ip ip(std::string_view text);
net::Prefix cidr(std::string_view text);

// "a=b,c!=d,e,!f,g in (h,i),j notin (k,l)"; "" and "*" select everything.
model::LabelSelector selector(std::string_view text);
model::ObjectName object_name(std::string_view text); // "shop/web"

model::Peer pods(std::string_view pod_selector);
model::Peer namespaces(std::string_view namespace_selector);
model::Peer pods_in(std::string_view namespace_selector, std::string_view pod_selector);
model::CidrBlock cidr_block(std::string_view network,
                            const std::vector<std::string_view>& except = {});
model::Peer block(std::string_view network, const std::vector<std::string_view>& except = {});

model::PolicyPort tcp(unsigned first, unsigned last = 0); // last 0: only `first`
model::PolicyPort udp(unsigned first, unsigned last = 0);
model::PolicyPort sctp(unsigned first, unsigned last = 0);
model::PolicyPort named(std::string_view name, model::Protocol protocol = model::Protocol::tcp);
model::PolicyPort all_of(model::Protocol protocol);

using Peers = std::vector<model::Peer>;
using Ports = std::vector<model::PolicyPort>;

// A NetworkPolicy. A rule isolates its direction; no peers: everyone, no ports: everything.
class PolicyBuilder {
public:
    explicit PolicyBuilder(std::string_view name, std::string_view subject = "");

    PolicyBuilder& in(Peers peers = {}, Ports ports = {});
    PolicyBuilder& out(Peers peers = {}, Ports ports = {});
    PolicyBuilder& deny_in(Peers peers = {}, Ports ports = {});
    PolicyBuilder& deny_out(Peers peers = {}, Ports ports = {});
    PolicyBuilder& isolate_in();
    PolicyBuilder& isolate_out();
    PolicyBuilder& only(model::Direction direction); // policyTypes names this direction alone

    operator model::Policy() const { return policy_; } // NOLINT: that is what a builder is for

private:
    model::Policy policy_;
};

// policy("shop/web", "app=web").in({pods("role=front")}, {tcp(80)})
inline PolicyBuilder policy(std::string_view name, std::string_view subject = "") {
    return PolicyBuilder(name, subject);
}

void add(model::Objects& objects, const model::Policy& policy);
void add_namespace(model::Objects& objects, const std::string& name, model::Labels labels = {});

} // namespace beeline::test
