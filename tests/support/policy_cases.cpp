#include "support/policy_cases.h"

#include "model/party.h"
#include "support/policy_builder.h"

namespace beeline::test {
namespace {

using model::Direction;
using model::Protocol;

std::vector<PolicyCase> default_deny_cases() {
    return {
        {"no policy at all",
         {},
         {{"x/a", "x/b", "tcp/80", "allow"},
          {"x/a", "y/b", "udp/53", "allow"},
          {"192.0.2.10", "x/a", "tcp/80", "allow"},
          {"x/a", "192.0.2.10", "tcp/443", "allow"},
          {"host", "x/a", "tcp/80", "allow"},
          {"x/a", "host", "icmp", "allow"}}},
        {"default deny of ingress",
         {policy("x/deny").isolate_in()},
         {{"x/a", "x/b", "tcp/80", "deny ingress: x/deny"},
          {"y/a", "x/b", "udp/80", "deny ingress: x/deny"},
          {"y/a v6", "x/b v6", "sctp/80", "deny ingress: x/deny"},
          {"y/a", "x/b", "icmp", "deny ingress: x/deny"},
          {"192.0.2.10", "x/b", "tcp/80", "deny ingress: x/deny"},
          {"x/a", "y/a", "tcp/80", "allow"},
          {"x/a", "192.0.2.10", "tcp/80", "allow"},
          {"y/a", "y/b", "tcp/80", "allow"}}},
        {"the host reaches its own isolated pods, a pod reaches itself",
         {policy("x/deny").isolate_in().isolate_out()},
         {{"host", "x/a", "tcp/80", "allow"},
          {"host v6", "x/a v6", "icmp", "allow"},
          {"x/a", "x/a", "tcp/80", "allow"},
          {"x/a v6", "x/a v6", "udp/80", "allow"},
          {"x/a", "x/b", "tcp/80", "deny egress: x/deny; deny ingress: x/deny"},
          {"x/a", "host", "tcp/80", "deny egress: x/deny"}}},
        {"default deny of egress leaves ingress alone",
         {policy("x/deny").isolate_out()},
         {{"x/a", "y/a", "tcp/80", "deny egress: x/deny"},
          {"x/a", "192.0.2.10", "tcp/443", "deny egress: x/deny"},
          {"x/a", "host", "udp/53", "deny egress: x/deny"},
          {"y/a", "x/a", "tcp/80", "allow"},
          {"host", "x/a", "tcp/80", "allow"}}},
        {"default deny of one pod only",
         {policy("x/deny-b", "pod=b").isolate_in()},
         {{"x/a", "x/b", "tcp/80", "deny ingress: x/deny-b"},
          {"x/b", "x/a", "tcp/80", "allow"},
          {"x/a", "y/b", "tcp/80", "allow"}}},
        {"every policy that isolates is named, in order of titles",
         {policy("x/second").isolate_in(), policy("x/first", "pod=a").isolate_in(),
          policy("x/other", "pod=c").isolate_in()},
         {{"y/a", "x/a", "tcp/80", "deny ingress: x/first, x/second"},
          {"y/a", "x/b", "tcp/80", "deny ingress: x/second"}}},
        {"an egress-only policy makes its ingress rules inert",
         {policy("x/p").in({pods("pod=b")}).isolate_out().only(Direction::egress)},
         {{"y/a", "x/a", "tcp/80", "allow"}, {"x/b", "y/a", "tcp/80", "deny egress: x/p"}}},
        {"an ingress-only policy makes its egress rules inert",
         {policy("x/p").out({pods("pod=b")}).isolate_in().only(Direction::ingress)},
         {{"x/a", "y/a", "tcp/80", "allow"}, {"y/a", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"an empty egress list without policyTypes does not isolate egress",
         {policy("x/p").isolate_in()},
         {{"x/a", "y/a", "tcp/80", "allow"}}},
    };
}

std::vector<PolicyCase> peer_cases() {
    return {
        {"allow everything",
         {policy("x/deny").isolate_in(), policy("x/open").in()},
         {{"y/a", "x/b", "tcp/80", "allow x/open ingress[0]"},
          {"y/a", "x/b", "icmp", "allow x/open ingress[0]"},
          {"y/a", "x/b", "47", "allow x/open ingress[0]"},
          {"192.0.2.10", "x/b", "sctp/9", "allow x/open ingress[0]"},
          {"2001:db8::10", "x/b v6", "udp/9", "allow x/open ingress[0]"}}},
        {"pods of the own namespace by label",
         {policy("x/web", "pod=a").in({pods("pod=b")})},
         {{"x/b", "x/a", "tcp/80", "allow x/web ingress[0]"},
          {"x/b v6", "x/a v6", "udp/5000", "allow x/web ingress[0]"},
          {"x/b", "x/a", "icmp", "allow x/web ingress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/web"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/web"},
          {"192.0.2.10", "x/a", "tcp/80", "deny ingress: x/web"},
          {"host", "x/a", "tcp/80", "allow"}}},
        {"all pods of the own namespace",
         {policy("x/same").in({pods("")})},
         {{"x/c", "x/a", "tcp/80", "allow x/same ingress[0]"},
          {"y/c", "x/a", "tcp/80", "deny ingress: x/same"},
          {"192.0.2.10", "x/a", "tcp/80", "deny ingress: x/same"}}},
        {"all namespaces",
         {policy("x/all").in({namespaces("")})},
         {{"x/c", "x/a", "tcp/80", "allow x/all ingress[0]"},
          {"z/c", "x/a", "tcp/80", "allow x/all ingress[0]"},
          {"192.0.2.10", "x/a", "tcp/80", "deny ingress: x/all"},
          {"host", "x/a", "tcp/80", "allow"}}},
        {"a namespace by label",
         {policy("x/red").in({namespaces("team=red")})},
         {{"y/c", "x/a", "tcp/80", "allow x/red ingress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/red"},
          {"z/c", "x/a", "tcp/80", "deny ingress: x/red"}}},
        {"a namespace by its name",
         {policy("x/z").in({namespaces("kubernetes.io/metadata.name=z")})},
         {{"z/a", "x/a", "tcp/80", "allow x/z ingress[0]"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/z"}}},
        {"namespace and pod in one item: both must hold",
         {policy("x/both").in({pods_in("env=prod", "pod=b")})},
         {{"y/b", "x/a", "tcp/80", "allow x/both ingress[0]"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/both"},
          {"z/b", "x/a", "tcp/80", "deny ingress: x/both"},
          {"x/b", "x/a", "tcp/80", "deny ingress: x/both"}}},
        {"namespace and pod in two items: either",
         {policy("x/either").in({namespaces("env=prod"), pods("pod=b")})},
         {{"y/a", "x/a", "tcp/80", "allow x/either ingress[0]"},
          {"x/b", "x/a", "tcp/80", "allow x/either ingress[0]"},
          {"z/b", "x/a", "tcp/80", "deny ingress: x/either"}}},
        {"an empty pod selector in selected namespaces",
         {policy("x/p").in({pods_in("env=dev", "")})},
         {{"z/c", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"a namespace selector that matches nothing",
         {policy("x/p").in({namespaces("env=gone")})},
         {{"y/a", "x/a", "tcp/80", "deny ingress: x/p"},
          {"x/b", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"expressions: in, not in, exists, does not exist",
         {policy("x/in", "pod=a").in({pods("pod in (b,c)")}),
          policy("y/notin", "pod=a").in({pods("tier notin (front)")}),
          policy("z/exists", "pod=a").in({pods("tier")}),
          policy("z/absent", "pod=b").in({pods("!tier")})},
         {{"x/b", "x/a", "tcp/80", "allow x/in ingress[0]"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/in"},
          {"y/b", "y/a", "tcp/80", "allow y/notin ingress[0]"},
          {"y/c", "y/a", "tcp/80", "allow y/notin ingress[0]"},
          {"z/b", "z/a", "tcp/80", "allow z/exists ingress[0]"},
          {"z/c", "z/a", "tcp/80", "deny ingress: z/exists"},
          {"z/c", "z/b", "tcp/80", "allow z/absent ingress[0]"},
          {"z/a", "z/b", "tcp/80", "deny ingress: z/absent"}}},
        {"namespace expressions also match namespaces without the label",
         {policy("x/p").in({namespaces("env notin (prod)")}),
          policy("y/p").in({namespaces("!team")})},
         {{"x/b", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"z/b", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/p"},
          {"x/b", "y/a", "tcp/80", "allow y/p ingress[0]"},
          {"y/b", "y/a", "tcp/80", "deny ingress: y/p"}}},
        {"several requirements must all hold",
         {policy("x/p", "pod=a,tier=front").in({pods("tier=back,pod=b")})},
         {{"x/b", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/p"},
          {"x/c", "x/b", "tcp/80", "allow"}}},
        {"a subject by expression",
         {policy("x/p", "pod in (a,c)").isolate_in()},
         {{"y/a", "x/a", "tcp/80", "deny ingress: x/p"},
          {"y/a", "x/c", "tcp/80", "deny ingress: x/p"},
          {"y/a", "x/b", "tcp/80", "allow"}}},
        {"egress to a server in another namespace",
         {policy("x/out", "pod=a").out({pods_in("team=red", "pod=b")}, {tcp(80)})},
         {{"x/a", "y/b", "tcp/80", "allow x/out egress[0]"},
          {"x/a", "y/b", "tcp/81", "deny egress: x/out"},
          {"x/a", "y/a", "tcp/80", "deny egress: x/out"},
          {"x/a", "z/b", "tcp/80", "deny egress: x/out"},
          {"x/b", "z/b", "tcp/80", "allow"}}},
        {"pod to host is judged by egress; only blocks and everyone match the host",
         {policy("x/any", "pod=a").out({}, {tcp(9100)}),
          policy("x/sel", "pod=b").out({namespaces("")}),
          policy("x/net", "pod=c").out({block("10.0.0.0/24")})},
         {{"x/a", "host", "tcp/9100", "allow x/any egress[0]"},
          {"x/a", "host", "tcp/22", "deny egress: x/any"},
          {"x/b", "host", "tcp/9100", "deny egress: x/sel"},
          {"x/c", "host", "tcp/22", "allow x/net egress[0]"},
          {"x/c v6", "host v6", "tcp/22", "deny egress: x/net"}}},
    };
}

std::vector<PolicyCase> port_cases() {
    return {
        {"one port of one protocol",
         {policy("x/p", "pod=a").in({}, {tcp(80)})},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"192.0.2.10", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/81", "deny ingress: x/p"},
          {"y/a", "x/a", "udp/80", "deny ingress: x/p"},
          {"y/a", "x/a", "sctp/80", "deny ingress: x/p"},
          {"y/a", "x/a", "icmp", "deny ingress: x/p"},
          {"y/a v6", "x/a v6", "icmp", "deny ingress: x/p"},
          {"y/a", "x/a", "47", "deny ingress: x/p"}}},
        {"the same port of two protocols",
         {policy("x/dns", "pod=b").in({namespaces("")}, {udp(53), tcp(53)})},
         {{"y/a", "x/b", "udp/53", "allow x/dns ingress[0]"},
          {"y/a", "x/b", "tcp/53", "allow x/dns ingress[0]"},
          {"y/a", "x/b", "sctp/53", "deny ingress: x/dns"}}},
        {"SCTP",
         {policy("x/p").in({}, {sctp(80)})},
         {{"y/a", "x/a", "sctp/80", "allow x/p ingress[0]"},
          {"y/a v6", "x/a v6", "sctp/80", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"every port of one protocol",
         {policy("x/p").in({}, {all_of(Protocol::udp)})},
         {{"y/a", "x/a", "udp/1", "allow x/p ingress[0]"},
          {"y/a", "x/a", "udp/65535", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/p"},
          {"y/a", "x/a", "icmp", "deny ingress: x/p"}}},
        {"a port range includes both ends",
         {policy("x/p").in({}, {tcp(8079, 8090)})},
         {{"y/a", "x/a", "tcp/8078", "deny ingress: x/p"},
          {"y/a", "x/a", "tcp/8079", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/8085", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/8090", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/8091", "deny ingress: x/p"},
          {"y/a", "x/a", "udp/8085", "deny ingress: x/p"}}},
        {"a range of one port and a range to the end",
         {policy("x/p").in({}, {tcp(80, 80), tcp(60000, 65535)})},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/59999", "deny ingress: x/p"},
          {"y/a", "x/a", "tcp/60000", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/65535", "allow x/p ingress[0]"}}},
        {"a named port of ingress resolves on the selected pod",
         {policy("x/p").in({}, {named("http")})},
         {{"y/a", "x/a", "tcp/8080", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/9090", "deny ingress: x/p"},
          {"y/a", "x/b", "tcp/9090", "allow x/p ingress[0]"},
          {"y/a", "x/b", "tcp/8080", "deny ingress: x/p"},
          {"y/a", "x/c", "tcp/8080", "deny ingress: x/p"},
          {"y/a", "x/c", "udp/8080", "deny ingress: x/p"}}},
        {"a named port must have the protocol, too",
         {policy("x/p").in({}, {named("http", Protocol::udp)})},
         {{"y/a", "x/c", "udp/8080", "allow x/p ingress[0]"},
          {"y/a", "x/a", "udp/8080", "deny ingress: x/p"}}},
        {"one name with two protocols",
         {policy("y/p").in({}, {named("dns", Protocol::udp)})},
         {{"x/a", "y/b", "udp/53", "allow y/p ingress[0]"},
          {"x/a", "y/b", "tcp/53", "deny ingress: y/p"}}},
        {"a named port of egress resolves on each receiver",
         {policy("x/p", "pod=a").out({namespaces("")}, {named("http")})},
         {{"x/a", "y/a", "tcp/8080", "allow x/p egress[0]"},
          {"x/a", "y/a", "tcp/9090", "deny egress: x/p"},
          {"x/a", "y/b", "tcp/9090", "allow x/p egress[0]"},
          {"x/a", "y/b", "tcp/8080", "deny egress: x/p"},
          {"x/a", "y/c", "tcp/8080", "deny egress: x/p"}}},
        {"a named port of egress to everyone still needs a pod with that name",
         {policy("x/p", "pod=a").out({}, {named("http"), tcp(443)})},
         {{"x/a", "y/a", "tcp/8080", "allow x/p egress[0]"},
          {"x/a", "y/b", "tcp/8080", "deny egress: x/p"},
          {"x/a", "192.0.2.10", "tcp/8080", "deny egress: x/p"},
          {"x/a", "host", "tcp/8080", "deny egress: x/p"},
          {"x/a", "192.0.2.10", "tcp/443", "allow x/p egress[0]"}}},
        {"a named port of egress to a block of pods",
         {policy("x/p", "pod=a").out({block("10.0.2.0/24")}, {named("http")})},
         {{"x/a", "y/b", "tcp/9090", "allow x/p egress[0]"},
          {"x/a", "z/b", "tcp/9090", "deny egress: x/p"}}},
        {"a name that nobody has",
         {policy("x/p").in({}, {named("nothing")})},
         {{"y/a", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"two named ports",
         {policy("x/p").in({}, {named("web"), named("alt")})},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/81", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/82", "deny ingress: x/p"}}},
        {"peers and ports of one rule must both match; rules do not mix",
         {policy("x/p", "pod=a").in({pods("pod=b")}, {tcp(80)}).in({pods("pod=c")}, {tcp(81)})},
         {{"x/b", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"x/c", "x/a", "tcp/81", "allow x/p ingress[1]"},
          {"x/b", "x/a", "tcp/81", "deny ingress: x/p"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"without ports also ICMP and other protocols pass",
         {policy("x/p", "pod=a").in({pods("pod=b")}).in({pods("pod=c")}, {tcp(80)})},
         {{"x/b", "x/a", "icmp", "allow x/p ingress[0]"},
          {"x/b v6", "x/a v6", "icmp", "allow x/p ingress[0]"},
          {"x/b", "x/a", "47", "allow x/p ingress[0]"},
          {"x/c", "x/a", "icmp", "deny ingress: x/p"}}},
    };
}

std::vector<PolicyCase> block_cases() {
    return {
        {"a block of the world",
         {policy("x/p").in({block("192.0.2.0/24")})},
         {{"192.0.2.10", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"198.51.100.7", "x/a", "tcp/80", "deny ingress: x/p"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"a block with a hole",
         {policy("x/p", "pod=a").out({block("192.0.2.0/24", {"192.0.2.8/29"})}, {tcp(443)})},
         {{"x/a", "192.0.2.7", "tcp/443", "allow x/p egress[0]"},
          {"x/a", "192.0.2.8", "tcp/443", "deny egress: x/p"},
          {"x/a", "192.0.2.15", "tcp/443", "deny egress: x/p"},
          {"x/a", "192.0.2.16", "tcp/443", "allow x/p egress[0]"},
          {"x/a", "192.0.2.7", "tcp/80", "deny egress: x/p"}}},
        {"a hole carves out of its own block only",
         {policy("x/p").in({block("192.0.2.0/24", {"192.0.2.8/29"}), block("192.0.2.10/32")})},
         {{"192.0.2.10", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"192.0.2.9", "x/a", "tcp/80", "deny ingress: x/p"},
          {"192.0.2.1", "x/a", "tcp/80", "allow x/p ingress[0]"}}},
        {"a hole of one policy is filled by another",
         {policy("x/hole").in({block("0.0.0.0/0", {"192.0.2.0/24"})}),
          policy("x/more").in({block("192.0.2.0/25")})},
         {{"192.0.2.10", "x/a", "tcp/80", "allow x/more ingress[0]"},
          {"192.0.2.200", "x/a", "tcp/80", "deny ingress: x/hole, x/more"},
          {"198.51.100.7", "x/a", "tcp/80", "allow x/hole ingress[0]"}}},
        {"a hole inside a hole does not exist: both holes count",
         {policy("x/p").in({block("10.0.0.0/8", {"10.0.2.0/24", "10.0.2.1/32"})})},
         {{"y/a", "x/a", "tcp/80", "deny ingress: x/p"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/p"},
          {"z/b", "x/a", "tcp/80", "allow x/p ingress[0]"}}},
        {"blocks match pods",
         {policy("x/p").in({block("10.0.2.0/24", {"10.0.2.2/32"})})},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/p"},
          {"z/a", "x/a", "tcp/80", "deny ingress: x/p"},
          {"y/a v6", "x/a v6", "tcp/80", "deny ingress: x/p"}}},
        {"0.0.0.0/0 is IPv4 only",
         {policy("x/p").in({block("0.0.0.0/0")})},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"192.0.2.10", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/a v6", "x/a v6", "tcp/80", "deny ingress: x/p"},
          {"2001:db8::10", "x/a v6", "tcp/80", "deny ingress: x/p"}}},
        {"::/0 is IPv6 only",
         {policy("x/p", "pod=a").out({block("::/0")})},
         {{"x/a v6", "y/a v6", "tcp/80", "allow x/p egress[0]"},
          {"x/a v6", "2001:db8::10", "tcp/80", "allow x/p egress[0]"},
          {"x/a v6", "host v6", "tcp/80", "allow x/p egress[0]"},
          {"x/a", "192.0.2.10", "tcp/80", "deny egress: x/p"}}},
        {"a single address",
         {policy("x/p").in({block("10.0.2.1/32"), block("fd00:2::1/128")})},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/a v6", "x/a v6", "tcp/80", "allow x/p ingress[0]"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/p"},
          {"y/b v6", "x/a v6", "tcp/80", "deny ingress: x/p"}}},
        {"an IPv6 block on dual stack: the other family stays closed",
         {policy("x/p").in({block("fd00:2::/32")})},
         {{"y/a v6", "x/a v6", "tcp/80", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"a hole as large as its block leaves nothing",
         {policy("x/p").in({block("192.0.2.0/24", {"192.0.2.0/24"})})},
         {{"192.0.2.10", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"a hole wider than its block leaves nothing",
         {policy("x/p").in({block("192.0.2.0/24", {"192.0.0.0/16"})})},
         {{"192.0.2.10", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"a block beside a namespace",
         {policy("x/p").in({block("192.0.2.0/24"), namespaces("env=dev")})},
         {{"192.0.2.10", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"z/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"y/a", "x/a", "tcp/80", "deny ingress: x/p"}}},
        {"outside into a closed pod, only by block",
         {policy("x/deny").isolate_in(),
          policy("x/lb", "pod=a").in({block("198.51.100.0/24")}, {tcp(80)})},
         {{"198.51.100.7", "x/a", "tcp/80", "allow x/lb ingress[0]"},
          {"198.51.100.7", "x/b", "tcp/80", "deny ingress: x/deny"},
          {"198.51.100.7", "x/a", "tcp/81", "deny ingress: x/deny, x/lb"}}},
    };
}

std::vector<PolicyCase> combination_cases() {
    return {
        {"policies add up",
         {policy("x/one", "pod=a").in({pods("pod=b")}, {tcp(80)}),
          policy("x/two", "tier=front").in({namespaces("env=prod")}, {tcp(81)})},
         {{"x/b", "x/a", "tcp/80", "allow x/one ingress[0]"},
          {"y/b", "x/a", "tcp/81", "allow x/two ingress[0]"},
          {"x/b", "x/a", "tcp/81", "deny ingress: x/one, x/two"},
          {"y/b", "x/a", "tcp/80", "deny ingress: x/one, x/two"}}},
        {"both ends must agree",
         {policy("x/out", "pod=a").out({namespaces("env=prod")}, {tcp(80, 81)}),
          policy("y/in", "pod=b").in({namespaces("kubernetes.io/metadata.name=x")}, {tcp(80)})},
         {{"x/a", "y/b", "tcp/80", "allow x/out egress[0], y/in ingress[0]"},
          {"x/a", "y/b", "tcp/81", "deny ingress: y/in"},
          {"x/a", "y/a", "tcp/81", "allow x/out egress[0]"},
          {"x/a", "z/a", "tcp/80", "deny egress: x/out"},
          {"x/b", "y/b", "tcp/80", "allow y/in ingress[0]"},
          {"z/a", "y/b", "tcp/80", "deny ingress: y/in"}}},
        {"ingress and egress in one policy",
         {policy("x/p", "pod=a").in({pods("pod=b")}).out({pods("pod=c")})},
         {{"x/b", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"x/a", "x/c", "tcp/80", "allow x/p egress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/p"},
          {"x/a", "x/b", "tcp/80", "deny egress: x/p"}}},
        {"a server that may not open connections still gets them",
         {policy("x/p", "pod=a").in({}, {tcp(80)}).isolate_out()},
         {{"y/a", "x/a", "tcp/80", "allow x/p ingress[0]"},
          {"x/a", "y/a", "tcp/80", "deny egress: x/p"}}},
        {"of several rules that name the peer the first is named",
         {policy("x/b", "pod=a").in({pods("pod=b")}),
          policy("x/a", "pod=a").in({pods("tier=back")}, {tcp(80)}),
          policy("x/c", "pod=a").in({namespaces("")})},
         {{"x/b", "x/a", "tcp/80", "allow x/a ingress[0]"},
          {"x/b", "x/a", "tcp/81", "allow x/b ingress[0]"},
          {"x/c", "x/a", "tcp/80", "allow x/c ingress[0]"}}},
        {"a rule that names the peer goes before a rule for everyone",
         {policy("x/a", "pod=a").in({}, {tcp(80)}), policy("x/b", "pod=a").in({pods("pod=b")})},
         {{"x/b", "x/a", "tcp/80", "allow x/b ingress[0]"},
          {"x/c", "x/a", "tcp/80", "allow x/a ingress[0]"},
          {"x/b", "x/a", "tcp/81", "allow x/b ingress[0]"}}},
        {"titles are ordered as text",
         {policy("x/p10", "pod=a").in({pods("")}), policy("x/p9", "pod=a").in({pods("")})},
         {{"x/b", "x/a", "tcp/80", "allow x/p10 ingress[0]"}}},
        {"rules of one policy are named by position",
         {policy("x/p", "pod=a").in({pods("pod=c")}).in({pods("pod=b")}).in({pods("")})},
         {{"x/b", "x/a", "tcp/80", "allow x/p ingress[1]"},
          {"x/c", "x/a", "tcp/80", "allow x/p ingress[0]"}}},
        {"policies of another namespace do not select here",
         {policy("y/deny", "pod=a").isolate_in().isolate_out()},
         {{"x/b", "x/a", "tcp/80", "allow"}, {"x/a", "y/a", "tcp/80", "deny ingress: y/deny"}}},
        {"contradicting policies: the union wins",
         {policy("x/deny", "pod=a").isolate_in(), policy("x/some", "pod=a").in({pods("pod=b")}),
          policy("x/all", "pod=a").in()},
         {{"z/c", "x/a", "udp/9", "allow x/all ingress[0]"},
          {"x/b", "x/a", "udp/9", "allow x/some ingress[0]"}}},
        {"a pod of the same name in another namespace is someone else",
         {policy("x/p", "pod=a").isolate_in().isolate_out(), policy("y/p", "pod=a").isolate_in()},
         {{"x/a", "y/a", "tcp/80", "deny egress: x/p; deny ingress: y/p"}}},
    };
}

std::vector<PolicyCase> deny_cases() {
    return {
        {"a deny rule beats an allow rule",
         {policy("x/allow", "pod=a").in({namespaces("")}),
          policy("x/deny", "pod=a").deny_in({pods("pod=b")})},
         {{"x/b", "x/a", "tcp/80", "deny ingress by x/deny ingress[0]"},
          {"x/c", "x/a", "tcp/80", "allow x/allow ingress[0]"}}},
        {"a broad deny beats a narrow allow of the same peer",
         {policy("x/allow", "pod=a").in({pods("pod=b")}, {tcp(80)}),
          policy("x/deny", "pod=a").deny_in({pods("tier=back")})},
         {{"x/b", "x/a", "tcp/80", "deny ingress by x/deny ingress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress: x/allow, x/deny"}}},
        {"a narrow deny cuts a hole into a broad allow",
         {policy("x/allow", "pod=a").in({pods("")}),
          policy("x/deny", "pod=a").deny_in({pods("pod=b")}, {tcp(80, 89)})},
         {{"x/b", "x/a", "tcp/85", "deny ingress by x/deny ingress[0]"},
          {"x/b", "x/a", "tcp/90", "allow x/allow ingress[0]"},
          {"x/b", "x/a", "udp/85", "allow x/allow ingress[0]"}}},
        {"a deny for everyone beats an allow for a peer",
         {policy("x/allow", "pod=a").in({pods("pod=b")}),
          policy("x/deny", "pod=a").deny_in({}, {tcp(80)})},
         {{"x/b", "x/a", "tcp/80", "deny ingress by x/deny ingress[0]"},
          {"x/b", "x/a", "tcp/81", "allow x/allow ingress[0]"}}},
        {"a deny for a peer beats an allow for everyone",
         {policy("x/allow", "pod=a").in(),
          policy("x/deny", "pod=a").deny_in({block("192.0.2.0/24")})},
         {{"192.0.2.10", "x/a", "tcp/80", "deny ingress by x/deny ingress[0]"},
          {"198.51.100.7", "x/a", "tcp/80", "allow x/allow ingress[0]"}}},
        {"of two denies the one that names the peer is named",
         {policy("x/a", "pod=a").deny_in({}, {tcp(80)}),
          policy("x/b", "pod=a").deny_in({pods("pod=b")})},
         {{"x/b", "x/a", "tcp/80", "deny ingress by x/b ingress[0]"},
          {"x/c", "x/a", "tcp/80", "deny ingress by x/a ingress[0]"}}},
        {"the host and the pod itself pass a deny, too",
         {policy("x/deny", "pod=a").deny_in().deny_out()},
         {{"host", "x/a", "tcp/80", "allow"},
          {"x/a", "x/a", "tcp/80", "allow"},
          {"x/a", "host", "tcp/80", "deny egress by x/deny egress[0]"}}},
        {"egress deny by the receiver's port name",
         {policy("x/allow", "pod=a").out(),
          policy("x/deny", "pod=a").deny_out({}, {named("http")})},
         {{"x/a", "y/a", "tcp/8080", "deny egress by x/deny egress[0]"},
          {"x/a", "y/b", "tcp/8080", "allow x/allow egress[0]"},
          {"x/a", "192.0.2.10", "tcp/8080", "allow x/allow egress[0]"}}},
    };
}

model::Party stage_party(const std::string& who) {
    const PolicyStage& stage = policy_stage();
    const auto suffix = who.find(" v6");
    const bool v6 = suffix != std::string::npos;
    const std::string name = who.substr(0, suffix);
    if (name == "host") {
        return model::party_at(stage.objects, stage.workloads, stage.host_addresses,
                               stage.host_addresses[v6]);
    }
    for (const model::Workload& workload : stage.workloads) {
        if (workload.name.to_string() == name)
            return party_of(workload, stage.objects, workload.addresses[v6]);
    }
    return model::party_at(stage.objects, stage.workloads, stage.host_addresses, ip(name));
}

std::string without_kind(const std::string& title) { return title.substr(title.find(' ') + 1); }

void join(std::string& text, const std::string& more, std::string_view separator) {
    if (!text.empty() && !more.empty()) text += separator;
    text += more;
}

std::string denial_of(const model::Check& check, const std::string& direction) {
    if (check.allowed) return {};
    if (!check.rule.empty()) return "deny " + direction + " by " + without_kind(check.rule);
    std::string selecting;
    for (const std::string& title : check.selecting)
        join(selecting, without_kind(title), ", ");
    return "deny " + direction + ": " + selecting;
}

} // namespace

const std::vector<PolicyCase>& policy_cases() {
    static const std::vector<PolicyCase> kAll = [] {
        std::vector<PolicyCase> cases;
        for (auto group : {default_deny_cases(), peer_cases(), port_cases(), block_cases(),
                           combination_cases(), deny_cases()}) {
            cases.insert(cases.end(), group.begin(), group.end());
        }
        return cases;
    }();
    return kAll;
}

const std::vector<PolicyMatrix>& policy_matrices() {
    static const std::vector<PolicyMatrix> kAll{
        {"default deny of ingress in x",
         {policy("x/deny").isolate_in()},
         "tcp/80",
         {".XX......", "X.X......", "XX.......", "XXX......", "XXX......", "XXX......", "XXX......",
          "XXX......", "XXX......"}},
        {"default deny of egress of x/a",
         {policy("x/deny", "pod=a").isolate_out()},
         "udp/80",
         {".XXXXXXXX", ".........", ".........", ".........", ".........", ".........", ".........",
          ".........", "........."}},
        {"x/a only from pods b of every namespace",
         {policy("x/p", "pod=a").in({pods_in("", "pod=b")}, {tcp(80)})},
         "tcp/80",
         {".........", ".........", "X........", "X........", ".........", "X........", "X........",
          ".........", "X........"}},
        {"the same on a port that it does not list",
         {policy("x/p", "pod=a").in({pods_in("", "pod=b")}, {tcp(80)})},
         "tcp/81",
         {".........", "X........", "X........", "X........", "X........", "X........", "X........",
          "X........", "X........"}},
        {"x talks only to itself, y lets only z in",
         {policy("x/p").out({pods("")}), policy("y/p").in({namespaces("env=dev")})},
         "sctp/80",
         {"...XXXXXX", "...XXXXXX", "...XXXXXX", "....XX...", "...X.X...", "...XX....", ".........",
          ".........", "........."}},
        {"every namespace closed but for its own pods",
         {policy("x/p").in({pods("")}), policy("y/p").in({pods("")}), policy("z/p").in({pods("")})},
         "icmp",
         {"...XXXXXX", "...XXXXXX", "...XXXXXX", "XXX...XXX", "XXX...XXX", "XXX...XXX", "XXXXXX...",
          "XXXXXX...", "XXXXXX..."}},
    };
    return kAll;
}

const PolicyStage& policy_stage() {
    static const PolicyStage kStage = [] {
        PolicyStage made;
        add_namespace(made.objects, "x");
        add_namespace(made.objects, "y", {{"env", "prod"}, {"team", "red"}});
        add_namespace(made.objects, "z", {{"env", "dev"}});
        made.host_addresses = {ip("10.0.0.1"), ip("fd00::1")};
        const std::vector<model::NamedPort> common{{"web", Protocol::tcp, 80},
                                                   {"alt", Protocol::tcp, 81}};
        const std::vector<std::vector<model::NamedPort>> own{
            {{"http", Protocol::tcp, 8080}},
            {{"http", Protocol::tcp, 9090}, {"dns", Protocol::tcp, 53}, {"dns", Protocol::udp, 53}},
            {{"http", Protocol::udp, 8080}}};
        const std::vector<model::Labels> labels{
            {{"pod", "a"}, {"tier", "front"}}, {{"pod", "b"}, {"tier", "back"}}, {{"pod", "c"}}};
        for (const std::string& name : stage_pods()) {
            const unsigned pod = static_cast<unsigned>(name[2] - 'a');
            const unsigned space = static_cast<unsigned>(name[0] - 'x') + 1;
            model::Workload workload;
            workload.id = static_cast<std::uint32_t>(made.workloads.size() + 1);
            workload.ifindex = 100 + workload.id;
            workload.host_interface = fmt::format("bl{}", workload.id);
            workload.name = object_name(name);
            workload.labels = labels[pod];
            workload.ports = common;
            workload.ports.insert(workload.ports.end(), own[pod].begin(), own[pod].end());
            workload.addresses = {ip(fmt::format("10.0.{}.{}", space, pod + 1)),
                                  ip(fmt::format("fd00:{}::{}", space, pod + 1))};
            made.workloads.push_back(std::move(workload));
        }
        return made;
    }();
    return kStage;
}

std::vector<std::string> stage_pods() {
    return {"x/a", "x/b", "x/c", "y/a", "y/b", "y/c", "z/a", "z/b", "z/c"};
}

model::Query stage_query(const std::string& from, const std::string& to, const std::string& port) {
    model::Query query;
    query.source = stage_party(from);
    query.destination = stage_party(to);
    const auto slash = port.find('/');
    const std::string protocol = port.substr(0, slash);
    if (protocol == "icmp") {
        query.protocol = query.source.address.is_v4() ? Protocol::icmp : Protocol::icmpv6;
    } else if (const auto known = model::parse_protocol(protocol)) {
        query.protocol = *known;
    } else {
        query.protocol = static_cast<Protocol>(std::stoi(protocol));
    }
    if (slash != std::string::npos)
        query.port = static_cast<std::uint16_t>(std::stoi(port.substr(slash + 1)));
    return query;
}

std::string outcome_of(const model::Decision& decision) {
    if (!decision.allowed) {
        std::string text = denial_of(decision.egress, "egress");
        join(text, denial_of(decision.ingress, "ingress"), "; ");
        return text;
    }
    std::string rules;
    for (const model::Check* check : {&decision.egress, &decision.ingress}) {
        if (!check->rule.empty()) join(rules, without_kind(check->rule), ", ");
    }
    return rules.empty() ? "allow" : "allow " + rules;
}

} // namespace beeline::test
