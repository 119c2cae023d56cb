#include "cli/connectivity/cases.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>

namespace beeline::cli {
namespace {

// --- services ----------------------------------------------------------------------------------

// Their position is their number.
constexpr std::array<std::string_view, 8> kServices{"web",   "sticky", "lonely",  "mirror",
                                                    "slice", "names",  "guarded", "closed"};

// --- objects -----------------------------------------------------------------------------------

std::string metadata(std::string_view name) {
    return fmt::format("metadata: {{name: {}, namespace: {}, labels: {{{}: test}}}}\n", name,
                       kTestSpace, kTestLabel);
}

TestObject service(std::string_view name, std::string_view selector, std::string_view ports,
                   std::vector<std::string> workloads, std::string_view more = "") {
    const std::string vip = fmt::format("${{vip:{}}}", name);
    return {.name = fmt::format("service/{}", name),
            .workloads = std::move(workloads),
            .text = fmt::format("apiVersion: v1\nkind: Service\n{}spec: {{{}{}{}, ports: [{}]}}\n",
                                metadata(name), vip,
                                selector.empty() ? "" : fmt::format(", selector: {{{}}}", selector),
                                more, ports)};
}

TestObject slice(int family) {
    return {.name = fmt::format("slice/v{}", family),
            .workloads = {"web-a"},
            .family = family,
            .text =
                fmt::format("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                            "metadata: {{name: slice-v{0}, namespace: {1}, labels: {{{2}: test, "
                            "kubernetes.io/service-name: slice}}}}\n"
                            "addressType: IPv{0}\nports: [{{name: http, port: 8080}}]\n"
                            "endpoints: [{{addresses: [\"${{v{0}:web-a}}\"]}}]\n",
                            family, kTestSpace, kTestLabel)};
}

// A NetworkPolicy for the workload with the label target=NAME.
TestObject policy(std::string_view name, std::string_view target, std::string_view rules,
                  std::vector<std::string> workloads = {}) {
    return {.name = fmt::format("policy/{}", name),
            .workloads = std::move(workloads),
            .text = fmt::format("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n{}"
                                "spec: {{podSelector: {{matchLabels: {{target: {}}}}}, {}}}\n",
                                metadata(name), target, rules)};
}

TestObject live(TestObject object) {
    object.live = true;
    return object;
}

std::vector<TestObject> make_objects() {
    return {
        service("web", "app: web",
                "{name: http, port: 80, targetPort: http}, "
                "{name: alt, port: 81, targetPort: 9090}, "
                "{name: echo, protocol: UDP, port: 80, targetPort: echo}",
                {"web-a", "web-b"}),
        service("sticky", "app: web", "{name: http, port: 80, targetPort: http}",
                {"web-a", "web-b"}, ", sessionAffinity: ClientIP"),
        service("lonely", "app: nobody",
                "{name: http, port: 80}, {name: echo, protocol: UDP, port: 80}", {}),
        service("mirror", "app: client", "{name: http, port: 80, targetPort: 8080}", {"client"}),
        service("slice", "", "{name: http, port: 80}", {"web-a"}),
        slice(4),
        slice(6),
        service("names", "app: dns",
                "{name: dns, protocol: UDP, port: 53}, {name: dns-tcp, port: 53}", {"dns"}),
        service("guarded", "target: pods", "{name: http, port: 80, targetPort: 8080}", {"t-pods"}),
        service("closed", "app: web", "{name: http, port: 80, targetPort: 7}", {"web-a", "web-b"}),

        policy("deny-in", "deny", "policyTypes: [Ingress]", {"t-deny"}),
        policy("pods", "pods", "ingress: [{from: [{podSelector: {matchLabels: {role: front}}}]}]",
               {"t-pods"}),
        policy("spaces", "spaces",
               "ingress: [{from: [{namespaceSelector: {matchLabels: "
               "{kubernetes.io/metadata.name: beeline-test-b}}}]}]",
               {"t-spaces"}),
        policy("both", "both",
               "ingress: [{from: [{namespaceSelector: {matchLabels: "
               "{kubernetes.io/metadata.name: beeline-test-b}}, "
               "podSelector: {matchLabels: {role: front}}}]}]",
               {"t-both"}),
        policy("ports", "ports", "ingress: [{ports: [{port: 8080}]}]", {"t-ports"}),
        policy("range", "range", "ingress: [{ports: [{port: 8090, endPort: 8095}]}]", {"t-range"}),
        policy("named", "named", "ingress: [{ports: [{port: http}]}]", {"t-named"}),
        policy("udp", "udp", "ingress: [{ports: [{protocol: UDP, port: 5353}]}]", {"t-udp"}),
        policy("blocks", "blocks", "ingress: [{from: [${block:client}]}]", {"t-blocks", "client"}),
        policy("except", "except", "ingress: [{from: [${allbut:stranger}]}]",
               {"t-except", "stranger"}),
        policy("sum-deny", "sum", "policyTypes: [Ingress]", {"t-sum"}),
        policy("sum-allow", "sum",
               "ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]", {"t-sum"}),

        policy("deny-out", "s-deny", "policyTypes: [Egress]", {"s-deny"}),
        policy("out-pods", "s-pods",
               "policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {side: a}}}]}]",
               {"s-pods"}),
        policy("out-blocks", "s-blocks", "policyTypes: [Egress], egress: [{to: [${block:web-a}]}]",
               {"s-blocks", "web-a"}),
        policy("out-ports", "s-ports", "policyTypes: [Egress], egress: [{ports: [{port: 8081}]}]",
               {"s-ports"}),
        policy("out-dns", "s-dns",
               "policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: dns}}}], "
               "ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]}]",
               {"s-dns"}),
        policy("out-half", "s-half", "policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]",
               {"s-half"}),
        policy("out-world", "s-world", "policyTypes: [Egress], egress: [{to: [${block:world}]}]",
               {"s-world"}),

        live(policy("live", "live", "policyTypes: [Ingress]", {"t-live"})),
    };
}

// --- workloads ---------------------------------------------------------------------------------

TestWorkload target(std::string_view name) {
    return {.name = fmt::format("t-{}", name),
            .labels = {fmt::format("target={}", name)},
            .ports = {"name=http,port=8080", "name=echo,protocol=udp,port=5353"},
            .tcp = {8080, 8081, 8089, 8090, 8093, 8095, 8096},
            .udp = {5353}};
}

TestWorkload sender(std::string_view name) {
    return {.name = fmt::format("s-{}", name), .labels = {fmt::format("target=s-{}", name)}};
}

std::vector<TestWorkload> make_workloads() {
    std::vector<TestWorkload> all{
        {.name = "client", .labels = {"app=client", "role=front"}, .tcp = {8080}, .udp = {5353}},
        {.name = "stranger", .labels = {"app=stranger"}},
        {.name = "client-b",
         .space = std::string(kOtherTestSpace),
         .labels = {"app=client", "role=front"},
         .tcp = {8080}},
        {.name = "stranger-b", .space = std::string(kOtherTestSpace), .labels = {"app=stranger"}},
        {.name = "web-a",
         .labels = {"app=web", "side=a"},
         .ports = {"name=http,port=8080", "name=echo,protocol=udp,port=5353"},
         .tcp = {8080, 9090},
         .udp = {5353}},
        {.name = "web-b",
         .labels = {"app=web", "side=b"},
         .ports = {"name=http,port=8081", "name=echo,protocol=udp,port=5354"},
         .tcp = {8081, 9090},
         .udp = {5354}},
    };
    for (const auto* name : {"deny", "pods", "spaces", "both", "ports", "range", "named", "udp",
                             "blocks", "except", "sum", "live"})
        all.push_back(target(name));
    for (const auto* name : {"deny", "pods", "blocks", "ports", "dns", "half", "world"})
        all.push_back(sender(name));
    all.push_back({.name = "dns", .labels = {"app=dns"}, .dns = true});
    return all;
}

// --- cases -------------------------------------------------------------------------------------

constexpr const char* kLookPods =
    "the interfaces of both ends in `beeline ps -o wide`, the routes inside (one default route), "
    "drops in `beeline status`, other firewalls with `nft list ruleset`";
constexpr const char* kLookSize =
    "the MTU of eth0 in both ends and of every device between them, offloads with `ethtool -k`";
constexpr const char* kLookServices =
    "`beeline service list`: are all backends there and ready? Then `beeline map dump bl_svc`";
constexpr const char* kLookHost =
    "the machine's own firewall (`nft list ruleset`, chain input), rp_filter, the device bl_host";
constexpr const char* kLookWorld =
    "the machine's default route, masquerading (`nft list ruleset`), "
    "net.ipv4.ip_forward and net.ipv6.conf.all.forwarding";
constexpr const char* kLookPolicy =
    "`beeline why` for this pair, `beeline get networkpolicy -n beeline-test`, "
    "`beeline policy explain`, errors in `beeline status`";
constexpr const char* kLookDns =
    "the case without a service first; then `beeline flows --protocol udp --port 53`";
constexpr const char* kLookFlows = "losses in `beeline status`, `beeline flows --last 20`";

std::vector<Case> pod_rows() {
    const std::vector<std::string> none;
    return {
        {.name = "pod-to-pod/tcp",
         .proves = "a workload reaches another one over TCP and is seen "
                   "with its own address",
         .to = "web-a",
         .port = 8080,
         .check = Check::own_address},
        {.name = "pod-to-pod/udp",
         .proves = "datagrams pass in both directions",
         .kind = ProbeKind::udp,
         .to = "web-a",
         .port = 5353,
         .check = Check::own_address},
        {.name = "pod-to-pod/ping",
         .proves = "echo requests are answered",
         .kind = ProbeKind::ping,
         .to = "web-a"},
        {.name = "pod-to-pod/other-namespace",
         .proves = "without policies namespaces do not separate anybody",
         .to = "client-b",
         .port = 8080},
        {.name = "pod-to-pod/bulk",
         .proves = "16 MB arrive over one connection",
         .kind = ProbeKind::bulk,
         .to = "web-a",
         .port = 8080,
         .size = 16U << 20,
         .look = kLookSize},
        {.name = "pod-to-pod/mtu-udp",
         .proves = "a datagram as large as the device allows passes "
                   "in one piece",
         .kind = ProbeKind::udp,
         .to = "web-a",
         .port = 5353,
         .whole_mtu = true,
         .look = kLookSize},
        {.name = "pod-to-pod/mtu-ping",
         .proves = "an echo request as large as the device allows "
                   "is answered",
         .kind = ProbeKind::ping,
         .to = "web-a",
         .whole_mtu = true,
         .look = kLookSize},
        {.name = "pod-to-pod/fragments",
         .proves = "a datagram of 8000 bytes passes, cut into fragments where it must be",
         .kind = ProbeKind::udp,
         .to = "web-a",
         .port = 5353,
         .size = 8000,
         .look = kLookSize},
        {.name = "pod-to-pod/many",
         .proves = "200 connections are open at the same time",
         .to = "web-a",
         .port = 8080,
         .count = 200},
        {.name = "pod-to-pod/closed-port",
         .proves = "who connects to a closed port is told at once",
         .to = "web-a",
         .port = 7,
         .expect = Expect::refused},
        {.name = "pod-to-pod/closed-udp-port",
         .proves = "the ICMP error about a closed UDP port reaches the sender",
         .kind = ProbeKind::udp,
         .to = "web-a",
         .port = 7,
         .expect = Expect::refused},
        {.name = "pod-to-pod/itself",
         .proves = "a workload reaches its own address",
         .to = "client",
         .port = 8080},
    };
}

std::vector<Case> service_rows() {
    const std::vector<std::string> web{"service/web"};
    const std::vector<std::string> both{"web-a", "web-b"};
    return {
        {.name = "pod-to-service/tcp",
         .proves = "a cluster IP leads to a backend, which sees the "
                   "client's own address",
         .to = "service:web",
         .port = 80,
         .check = Check::own_address,
         .objects = web},
        {.name = "pod-to-service/every-backend",
         .proves = "connections are spread, and a named target port is each backend's own number",
         .to = "service:web",
         .port = 80,
         .check = Check::all_servers,
         .servers = both,
         .objects = web,
         .count = 40},
        {.name = "pod-to-service/second-port",
         .proves = "each port of a service has its own target",
         .to = "service:web",
         .port = 81,
         .check = Check::all_servers,
         .servers = both,
         .objects = web,
         .count = 40},
        {.name = "pod-to-service/udp",
         .proves = "datagrams reach a backend of the UDP port with "
                   "the same number, answers come from the cluster IP",
         .kind = ProbeKind::udp,
         .to = "service:web",
         .port = 80,
         .check = Check::from_target,
         .objects = web},
        {.name = "pod-to-service/affinity",
         .proves = "with sessionAffinity a client stays with "
                   "its backend",
         .to = "service:sticky",
         .port = 80,
         .check = Check::one_server,
         .servers = both,
         .objects = {"service/sticky"},
         .count = 30},
        {.name = "pod-to-service/bulk",
         .proves = "16 MB arrive through a service",
         .kind = ProbeKind::bulk,
         .to = "service:web",
         .port = 81,
         .objects = web,
         .size = 16U << 20},
        {.name = "pod-to-service/many",
         .proves = "200 connections through a service are open at "
                   "the same time",
         .to = "service:web",
         .port = 80,
         .objects = web,
         .count = 200},
        {.name = "pod-to-service/hairpin",
         .proves = "a workload reaches itself through a service",
         .to = "service:mirror",
         .port = 80,
         .check = Check::all_servers,
         .servers = {"client"},
         .objects = {"service/mirror"}},
        {.name = "pod-to-service/no-backend",
         .proves = "a service without backends refuses at once",
         .to = "service:lonely",
         .port = 80,
         .expect = Expect::refused,
         .objects = {"service/lonely"}},
        {.name = "pod-to-service/no-backend-udp",
         .proves = "a service without backends refuses datagrams at once",
         .kind = ProbeKind::udp,
         .to = "service:lonely",
         .port = 80,
         .expect = Expect::refused,
         .objects = {"service/lonely"}},
        {.name = "pod-to-service/closed-target",
         .proves = "when nobody listens behind a service the client is told at once",
         .to = "service:closed",
         .port = 80,
         .expect = Expect::refused,
         .objects = {"service/closed"}},
        {.name = "pod-to-service/endpoint-slice",
         .proves = "a service without a selector leads to the addresses of its EndpointSlices",
         .to = "service:slice",
         .port = 80,
         .check = Check::all_servers,
         .servers = {"web-a"},
         .objects = {"service/slice", "slice/v4", "slice/v6"}},
        {.name = "pod-to-service/other-namespace",
         .proves = "a client of another namespace uses the same service",
         .from = "client-b",
         .to = "service:web",
         .port = 80,
         .objects = web},
        {.name = "host-to-service/tcp",
         .proves = "a process of the machine itself uses a cluster IP",
         .from = "host",
         .to = "service:web",
         .port = 80,
         .check = Check::all_servers,
         .servers = both,
         .objects = web,
         .count = 40},
        {.name = "host-to-service/udp",
         .proves = "a process of the machine itself uses a UDP port of a cluster IP",
         .kind = ProbeKind::udp,
         .from = "host",
         .to = "service:web",
         .port = 80,
         .check = Check::from_target,
         .objects = web},
    };
}

std::vector<Case> host_rows() {
    return {
        {.name = "pod-to-host/tcp",
         .proves = "a workload reaches a server of its machine",
         .to = "host",
         .check = Check::own_address},
        {.name = "pod-to-host/udp",
         .proves = "the same with datagrams",
         .kind = ProbeKind::udp,
         .to = "host",
         .check = Check::own_address},
        {.name = "pod-to-host/ping",
         .proves = "the machine answers echo requests",
         .kind = ProbeKind::ping,
         .to = "host"},
        {.name = "host-to-pod/tcp",
         .proves = "the machine reaches its workloads (health checks)",
         .from = "host",
         .to = "web-a",
         .port = 8080},
        {.name = "host-to-pod/udp",
         .proves = "the same with datagrams",
         .kind = ProbeKind::udp,
         .from = "host",
         .to = "web-a",
         .port = 5353},
        {.name = "host-to-pod/ping",
         .proves = "workloads answer the machine's echo requests",
         .kind = ProbeKind::ping,
         .from = "host",
         .to = "web-a"},
        {.name = "host-to-pod/bulk",
         .proves = "16 MB arrive from a workload at the machine",
         .kind = ProbeKind::bulk,
         .from = "host",
         .to = "web-a",
         .port = 8080,
         .size = 16U << 20,
         .look = kLookSize},
        {.name = "pod-to-world/gateway",
         .proves = "a workload's packets leave the machine and the "
                   "answers come back",
         .kind = ProbeKind::ping,
         .to = "gateway",
         .look = kLookWorld},
        {.name = "pod-to-world/tcp",
         .proves = "a workload connects to an address of the world "
                   "(the one of --world)",
         .to = "world",
         .look = kLookWorld},
        {.name = "pod-to-world/policy-block",
         .proves = "an egress rule with the ipBlock of that address lets it through",
         .from = "s-world",
         .to = "world",
         .objects = {"policy/out-world"},
         .look = kLookWorld},
        {.name = "pod-to-world/policy-denied",
         .proves = "a workload without egress does not reach the world",
         .from = "s-deny",
         .to = "world",
         .expect = Expect::dropped,
         .objects = {"policy/deny-out"},
         .denied_by = "deny-out",
         .look = kLookWorld},
    };
}

// A pair of ends under one policy.
Case judged(std::string_view name, std::string_view proves, std::string_view from,
            std::string_view to, std::uint16_t port, Expect expect, std::string_view object,
            ProbeKind kind = ProbeKind::tcp) {
    return {.name = std::string(name),
            .proves = std::string(proves),
            .kind = kind,
            .from = std::string(from),
            .to = std::string(to),
            .port = port,
            .expect = expect,
            .objects = {"policy/" + std::string(object)},
            .denied_by = expect == Expect::dropped ? std::string(object) : std::string()};
}

std::vector<Case> ingress_rows() {
    constexpr auto yes = Expect::answered;
    constexpr auto no = Expect::dropped;
    constexpr auto udp = ProbeKind::udp;
    constexpr auto ping = ProbeKind::ping;
    std::vector<Case> rows{
        judged("policy-ingress/deny-tcp", "a policy without rules lets no TCP in", "client",
               "t-deny", 8080, no, "deny-in"),
        judged("policy-ingress/deny-udp", "... no UDP", "client", "t-deny", 5353, no, "deny-in",
               udp),
        judged("policy-ingress/deny-ping", "... and no ping", "client", "t-deny", 0, no, "deny-in",
               ping),
        judged("policy-ingress/deny-host", "the machine still reaches an isolated workload", "host",
               "t-deny", 8080, yes, "deny-in"),
        judged("policy-ingress/deny-is-one-way", "who lets nobody in still reaches others",
               "t-deny", "web-a", 8080, yes, "deny-in"),
        judged("policy-ingress/pod-label", "podSelector lets in whom it selects", "client",
               "t-pods", 8080, yes, "pods"),
        judged("policy-ingress/pod-label-other", "... and nobody else", "stranger", "t-pods", 8080,
               no, "pods"),
        judged("policy-ingress/pod-label-namespace",
               "... nor who has the label in another namespace", "client-b", "t-pods", 8080, no,
               "pods"),
        judged("policy-ingress/namespace", "namespaceSelector lets a namespace in", "stranger-b",
               "t-spaces", 8080, yes, "spaces"),
        judged("policy-ingress/namespace-other", "... and not the policy's own", "client",
               "t-spaces", 8080, no, "spaces"),
        judged("policy-ingress/both-selectors", "namespaceSelector and podSelector in one item",
               "client-b", "t-both", 8080, yes, "both"),
        judged("policy-ingress/both-selectors-pod", "... must both match: not the label alone",
               "client", "t-both", 8080, no, "both"),
        judged("policy-ingress/both-selectors-namespace",
               "... must both match: not the namespace alone", "stranger-b", "t-both", 8080, no,
               "both"),
        judged("policy-ingress/port", "a rule with a port opens that port", "stranger", "t-ports",
               8080, yes, "ports"),
        judged("policy-ingress/port-other", "... and no other", "stranger", "t-ports", 8081, no,
               "ports"),
        judged("policy-ingress/port-protocol", "... and not the same protocol's neighbour UDP",
               "stranger", "t-ports", 5353, no, "ports", udp),
        judged("policy-ingress/port-ping", "a rule with ports never opens ping", "stranger",
               "t-ports", 0, no, "ports", ping),
        judged("policy-ingress/range-first", "endPort: the first port of a range", "client",
               "t-range", 8090, yes, "range"),
        judged("policy-ingress/range-middle", "... one in the middle", "client", "t-range", 8093,
               yes, "range"),
        judged("policy-ingress/range-last", "... the last one", "client", "t-range", 8095, yes,
               "range"),
        judged("policy-ingress/range-below", "... not the one before", "client", "t-range", 8089,
               no, "range"),
        judged("policy-ingress/range-above", "... not the one behind", "client", "t-range", 8096,
               no, "range"),
        judged("policy-ingress/named-port", "a port by its name", "client", "t-named", 8080, yes,
               "named"),
        judged("policy-ingress/named-port-other", "... and no other", "client", "t-named", 8081, no,
               "named"),
        judged("policy-ingress/udp-port", "a rule for UDP opens UDP", "client", "t-udp", 5353, yes,
               "udp", udp),
        judged("policy-ingress/udp-port-tcp", "... and not TCP", "client", "t-udp", 8080, no,
               "udp"),
        judged("policy-ingress/block", "ipBlock lets an address in", "client", "t-blocks", 8080,
               yes, "blocks"),
        judged("policy-ingress/block-other", "... and no other address", "stranger", "t-blocks",
               8080, no, "blocks"),
        judged("policy-ingress/except", "except leaves the rest of its block alone", "client",
               "t-except", 8080, yes, "except"),
        judged("policy-ingress/except-inside", "... and keeps out who is in it", "stranger",
               "t-except", 8080, no, "except"),
        judged("policy-ingress/sum", "policies add up: one that allows is enough", "client",
               "t-sum", 8080, yes, "sum-allow"),
        judged("policy-ingress/sum-other", "... for those whom it allows", "stranger", "t-sum",
               8080, no, "sum-deny"),
        judged("policy-ingress/service", "a policy holds behind a service: allowed", "client",
               "service:guarded", 80, yes, "pods"),
        judged("policy-ingress/service-other", "a policy holds behind a service: denied",
               "stranger", "service:guarded", 80, no, "pods"),
    };
    for (auto& row : rows) {
        if (row.to == "service:guarded") row.objects.emplace_back("service/guarded");
        if (row.to == "t-sum") row.objects = {"policy/sum-deny", "policy/sum-allow"};
    }
    return rows;
}

std::vector<Case> egress_rows() {
    constexpr auto yes = Expect::answered;
    constexpr auto no = Expect::dropped;
    constexpr auto udp = ProbeKind::udp;
    constexpr auto ping = ProbeKind::ping;
    std::vector<Case> rows{
        judged("policy-egress/deny-tcp", "a policy without egress rules lets no TCP out", "s-deny",
               "web-a", 8080, no, "deny-out"),
        judged("policy-egress/deny-udp", "... no UDP", "s-deny", "web-a", 5353, no, "deny-out",
               udp),
        judged("policy-egress/deny-ping", "... and no ping", "s-deny", "web-a", 0, no, "deny-out",
               ping),
        judged("policy-egress/deny-host", "... not even to its own machine", "s-deny", "host", 0,
               no, "deny-out"),
        judged("policy-egress/pod-label", "podSelector lets out to whom it selects", "s-pods",
               "web-a", 8080, yes, "out-pods"),
        judged("policy-egress/pod-label-other", "... and to nobody else", "s-pods", "web-b", 8081,
               no, "out-pods"),
        judged("policy-egress/block", "ipBlock lets out to an address", "s-blocks", "web-a", 8080,
               yes, "out-blocks"),
        judged("policy-egress/block-other", "... and to no other", "s-blocks", "web-b", 8081, no,
               "out-blocks"),
        judged("policy-egress/port", "a rule with a port lets out to that port", "s-ports", "web-b",
               8081, yes, "out-ports"),
        judged("policy-egress/port-other", "... and to no other", "s-ports", "web-a", 8080, no,
               "out-ports"),
        judged("policy-egress/service", "egress is judged on the backend, not on the cluster IP",
               "s-blocks", "service:slice", 80, yes, "out-blocks"),
        judged("policy-egress/both-ends",
               "the sender's egress does not open the receiver's ingress", "s-half", "t-deny", 8080,
               no, "deny-in"),
        judged("policy-egress/dns", "DNS alone is open", "s-dns", "dns", 53, yes, "out-dns",
               ProbeKind::dns),
        judged("policy-egress/dns-service", "DNS through its service is open", "s-dns",
               "service:names", 53, yes, "out-dns", ProbeKind::dns),
        judged("policy-egress/dns-only", "... and nothing else", "s-dns", "web-a", 8080, no,
               "out-dns"),
    };
    for (auto& row : rows) {
        if (row.to == "service:slice")
            row.objects.insert(row.objects.end(), {"service/slice", "slice/v4", "slice/v6"});
        if (row.to == "service:names") row.objects.emplace_back("service/names");
        if (row.from == "s-half") row.objects = {"policy/out-half", "policy/deny-in"};
        if (row.kind == ProbeKind::dns) row.dns_name = "web-a.beeline.test";
    }
    return rows;
}

std::vector<Case> dns_rows() {
    const std::vector<std::string> names{"service/names"};
    return {
        {.name = "dns/udp",
         .proves = "a question straight to the server is answered",
         .kind = ProbeKind::dns,
         .to = "dns",
         .port = 53,
         .check = Check::dns_targets,
         .servers = {"web-a"},
         .dns_name = "web-a.beeline.test"},
        {.name = "dns/tcp",
         .proves = "the same over TCP",
         .kind = ProbeKind::dns_tcp,
         .to = "dns",
         .port = 53,
         .check = Check::dns_targets,
         .servers = {"web-a"},
         .dns_name = "web-a.beeline.test"},
        {.name = "dns/service-udp",
         .proves = "a question to the service of the server",
         .kind = ProbeKind::dns,
         .to = "service:names",
         .port = 53,
         .check = Check::dns_targets,
         .servers = {"web-a"},
         .objects = names,
         .dns_name = "web-a.beeline.test"},
        {.name = "dns/service-tcp",
         .proves = "the same over TCP",
         .kind = ProbeKind::dns_tcp,
         .to = "service:names",
         .port = 53,
         .check = Check::dns_targets,
         .servers = {"web-a"},
         .objects = names,
         .dns_name = "web-a.beeline.test"},
        {.name = "dns/headless",
         .proves = "the name of a headless service is all its workloads",
         .kind = ProbeKind::dns,
         .to = "service:names",
         .port = 53,
         .check = Check::dns_targets,
         .servers = {"web-a", "web-b"},
         .objects = names,
         .dns_name = "headless.beeline.test"},
        {.name = "dns/unknown-name",
         .proves = "that a name does not exist is an answer too",
         .kind = ProbeKind::dns,
         .to = "service:names",
         .port = 53,
         .check = Check::dns_unknown,
         .objects = names,
         .dns_name = "nobody.beeline.test"},
        {.name = "dns/truncated",
         .proves = "an answer that does not fit a datagram says so",
         .kind = ProbeKind::dns,
         .to = "service:names",
         .port = 53,
         .check = Check::dns_truncated,
         .objects = names,
         .dns_name = "many.beeline.test"},
        {.name = "dns/large-tcp",
         .proves = "... and is whole over TCP",
         .kind = ProbeKind::dns_tcp,
         .to = "service:names",
         .port = 53,
         .check = Check::dns_many,
         .objects = names,
         .dns_name = "many.beeline.test"},
    };
}

std::vector<Case> seen_rows() {
    return {
        {.name = "flows/forwarded",
         .proves = "a connection is shown as a flow between both names",
         .to = "web-b",
         .port = 8081,
         .check = Check::flow_seen},
        {.name = "flows/dropped",
         .proves = "a drop is shown as a flow that names the policy",
         .from = "stranger-b",
         .to = "t-deny",
         .port = 8081,
         .expect = Expect::dropped,
         .check = Check::flow_seen,
         .objects = {"policy/deny-in"},
         .denied_by = "deny-in"},
    };
}

std::vector<Case> live_rows() {
    return {
        {.name = "policy-live/added",
         .proves = "an open connection is cut when a policy forbids it",
         .to = "t-live",
         .port = 8080,
         .check = Check::live_added,
         .objects = {"policy/live"}},
        {.name = "policy-live/removed",
         .proves = "a connection that was cut goes on when the policy is gone",
         .to = "t-live",
         .port = 8080,
         .check = Check::live_removed,
         .objects = {"policy/live"}},
    };
}

std::vector<Case> make_cases() {
    std::vector<Case> all;
    const auto add = [&](std::vector<Case> rows, const char* look) {
        for (auto& row : rows) {
            if (row.look.empty()) row.look = look;
            for (const auto family : {Family::v4, Family::v6}) {
                Case one = row;
                one.family = family;
                one.name += family == Family::v4 ? "/v4" : "/v6";
                all.push_back(std::move(one));
            }
        }
    };
    add(pod_rows(), kLookPods);
    add(service_rows(), kLookServices);
    add(host_rows(), kLookHost);
    add(ingress_rows(), kLookPolicy);
    add(egress_rows(), kLookPolicy);
    add(dns_rows(), kLookDns);
    add(seen_rows(), kLookFlows);
    add(live_rows(), kLookPolicy);
    return all;
}

template <typename T>
const T* find_named(const std::vector<T>& all, std::string_view name) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const T& one) { return one.name == name; });
    return found == all.end() ? nullptr : &*found;
}

} // namespace

const std::vector<TestWorkload>& test_workloads() {
    static const auto all = make_workloads();
    return all;
}

const std::vector<TestObject>& test_objects() {
    static const auto all = make_objects();
    return all;
}

const std::vector<Case>& test_cases() {
    static const auto all = make_cases();
    return all;
}

const TestWorkload* find_test_workload(std::string_view name) {
    return find_named(test_workloads(), name);
}

const TestObject* find_test_object(std::string_view name) {
    return find_named(test_objects(), name);
}

unsigned test_service_number(std::string_view service) {
    const auto* found = std::find(kServices.begin(), kServices.end(), service);
    return static_cast<unsigned>(found - kServices.begin()) + 1;
}

net::Ip test_service_address(unsigned number, Family family) {
    if (family == Family::v4) return net::Ip::v4(0xc612fa00U + number); // 198.18.250.0
    auto address = net::Ip::parse("2001:2:0:fa::").value_or(net::Ip{});
    address.bytes.back() = static_cast<std::uint8_t>(number);
    return address;
}

std::vector<const Case*> select_cases(const std::vector<std::string>& patterns) {
    std::vector<const Case*> result;
    for (const auto& one : test_cases()) {
        const bool wanted =
            patterns.empty() ||
            std::any_of(patterns.begin(), patterns.end(), [&](const std::string& pattern) {
                return ::fnmatch(pattern.c_str(), one.name.c_str(), 0) == 0;
            });
        if (wanted) result.push_back(&one);
    }
    return result;
}

} // namespace beeline::cli
