// Hand-worked verdicts: the table that the reference evaluation and the compiled tables must both
// reproduce.
//
// Every case plays on the same stage: namespaces x, y, z with pods a, b, c each, one host, and a
// world outside.
//   x  no labels of its own      y  env=prod,team=red      z  env=dev
//   a  pod=a,tier=front          b  pod=b,tier=back        c  pod=c
// Addresses of pod N (a=1) in namespace M (x=1): 10.0.M.N and fd00:M::N. The host: 10.0.0.1 and
// fd00::1. Port names: every pod has web (TCP 80) and alt (TCP 81); http is TCP 8080 on a, TCP 9090
// on b, UDP 8080 on c; dns is TCP 53 and UDP 53 on b.
#pragma once

#include <string>
#include <vector>

#include "model/evaluate.h"
#include "model/workload.h"
#include "support/policy_builder.h"

namespace beeline::test {

// `from` and `to`: "x/a" (IPv4), "x/a v6", "host", "host v6", or a literal address of the world.
// `port`: "tcp/80", "udp/53", "sctp/80", "icmp" (ICMPv6 where the addresses are IPv6), or a bare
// protocol number such as "47".
//
// `outcome`: "allow" where no rule had to decide, else "allow RULE" with the rules of both ends
// ("x/p egress[0], y/q ingress[1]"); "deny egress: x/p, x/q" for a default deny with the policies
// that isolate, "deny ingress by RULE" for a deny rule; both ends joined by "; " when both drop.
// Rules and policies without their kind.
struct PolicyProbe {
    std::string from;
    std::string to;
    std::string port;
    std::string outcome;
};

struct PolicyCase {
    std::string title;
    std::vector<model::Policy> policies;
    std::vector<PolicyProbe> probes;
};

const std::vector<PolicyCase>& policy_cases();

// Who may reach whom on one port, as nine rows of nine characters: rows are senders, columns
// receivers, both in the order x/a x/b x/c y/a ... z/c; '.' passes, 'X' is dropped.
struct PolicyMatrix {
    std::string title;
    std::vector<model::Policy> policies;
    std::string port;
    std::vector<std::string> rows;
};

const std::vector<PolicyMatrix>& policy_matrices();

// The stage. Pods are workloads, as if all ran on this machine.
struct PolicyStage {
    model::Objects objects; // namespaces only
    std::vector<model::Workload> workloads;
    std::vector<net::Ip> host_addresses;
};

const PolicyStage& policy_stage();
std::vector<std::string> stage_pods(); // "x/a", "x/b", ...

model::Query stage_query(const std::string& from, const std::string& to, const std::string& port);

// Spells a decision as PolicyProbe::outcome does.
std::string outcome_of(const model::Decision& decision);

} // namespace beeline::test
