// What the connectivity test proves: its cases, and the workloads and objects that they need, as data.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/connectivity/probe.h"

namespace beeline::cli {

inline constexpr std::string_view kTestSpace = "beeline-test";
inline constexpr std::string_view kOtherTestSpace = "beeline-test-b";
// On every object of the test: what carries it is removed by the next run.
inline constexpr std::string_view kTestLabel = "beeline-connectivity";

enum class Family : std::uint8_t { v4 = 4, v6 = 6 };

struct TestWorkload {
    std::string name;
    std::string space{kTestSpace};
    std::vector<std::string> labels; // KEY=VALUE
    std::vector<std::string> ports;  // as for `beeline run --port`
    std::vector<std::uint16_t> tcp;
    std::vector<std::uint16_t> udp;
    bool dns = false; // started last: it knows the addresses of the others
};

// A manifest. In its text
//   ${vip:SERVICE}    its cluster IPs: clusterIP: ..., clusterIPs: [...]
//   ${block:NAME}     the addresses of a workload, or of "world", as items of from/to
//   ${allbut:NAME}    everything but them
//   ${v4:NAME} ${v6:NAME}   one address
struct TestObject {
    std::string name;                   // unique in the table
    std::vector<std::string> workloads; // that must run for it
    int family = 0;                     // 4, 6: only where workloads have such addresses
    bool live = false;                  // applied while its case runs
    std::string text;
};

enum class Expect {
    answered,
    refused, // told so at once
    dropped, // no answer, and the agent names the policy
};

// What else an answer must be.
enum class Check {
    none,
    one_server,  // all of `servers` may answer, but only one does
    all_servers, // each of `servers` has answered
    own_address, // the server saw the client's own address
    from_target, // udp: the answer came from the address that was asked
    dns_targets, // the addresses of `servers`
    dns_truncated,
    dns_unknown,  // no such name
    dns_many,     // an answer of more than 512 bytes
    flow_seen,    // the agent has a flow of it with both names, and of a drop with the policy
    live_added,   // an open connection is cut when the object is applied
    live_removed, // ... and goes on when it is deleted
};

struct Case {
    std::string name; // group/what[/v4|/v6]
    std::string proves;
    ProbeKind kind = ProbeKind::tcp;
    std::string from = "client"; // a workload, or "host"
    // A workload, "service:NAME", "host" as workloads see it, "gateway" (the machine's next hop), "world" (--world)
    std::string to;
    std::uint16_t port = 0; // 0: none, or that of the host's or the world's server
    Expect expect = Expect::answered;
    Check check = Check::none;
    std::vector<std::string> servers; // names of far ends
    std::vector<std::string> objects; // names of TestObjects
    std::string denied_by;            // of a drop: the policy that must be named
    unsigned count = 1;
    std::size_t size = 0;
    bool whole_mtu = false; // as large as the workload's device allows, not cut
    std::string dns_name;
    std::string look; // where to look when it fails
    Family family = Family::v4;

    [[nodiscard]] std::string group() const { return name.substr(0, name.find('/')); }
};

const std::vector<TestWorkload>& test_workloads();
const std::vector<TestObject>& test_objects();
const std::vector<Case>& test_cases(); // one for each family

const TestWorkload* find_test_workload(std::string_view name);
const TestObject* find_test_object(std::string_view name);

// The cluster IPs of the test's service N: of the ranges that are set aside for benchmarks, which nobody routes.
net::Ip test_service_address(unsigned number, Family family);
unsigned test_service_number(std::string_view service);

// Shell patterns with * and ?; no patterns: all. Cases come in the order of the table.
std::vector<const Case*> select_cases(const std::vector<std::string>& patterns);

} // namespace beeline::cli
