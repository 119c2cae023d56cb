// A flow: one observed fact about a connection, with everything that is known of both ends.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/l7.h"
#include "model/labels.h"
#include "model/protocol.h"
#include "net/address.h"

namespace beeline::model {

struct FlowProcess {
    std::uint32_t pid = 0; // 0: not known
    std::uint32_t uid = 0;
    std::uint64_t start_ns = 0;
    std::string comm;
    std::string binary;    // full path where it could be read, else empty
    std::string user;      // name of uid, empty if not known
    std::string container; // id of the container that it runs in; empty: none
    std::vector<std::string>
        ancestry; // binaries (comm where not known) from the parent to the root; bounded
};

struct FlowEnd {
    enum class Kind { workload, host, world, remote };
    Kind kind = Kind::world;
    net::Ip address;
    std::uint16_t port = 0; // host order; ICMP echo id
    std::uint32_t identity = 0;
    std::uint32_t endpoint = 0; // Workload::id
    std::string space;          // namespace of a workload
    std::string name;
    Labels labels;
    std::vector<std::string> names; // DNS names that this address was last answered for
    FlowProcess process;
};

struct Flow {
    enum class Kind : std::uint8_t { opened = 1, replied, closed, dropped, revoked, lost, l7 };
    enum class Verdict : std::uint8_t { forwarded, dropped };

    std::uint64_t number = 0;   // position in the store, grows by one
    std::int64_t time_ns = 0;   // CLOCK_REALTIME
    std::int64_t opened_ns = 0; // CLOCK_REALTIME; 0 if not known
    Kind kind = Kind::opened;
    Verdict verdict = Verdict::forwarded;
    Protocol protocol = Protocol::tcp;
    FlowEnd source; // the client
    FlowEnd destination;
    std::uint8_t reason = 0; // enum bl_drop_reason
    std::string egress_rule; // title of the deciding rule, empty if none had to
    std::string ingress_rule;
    std::string denied_direction; // "egress" or "ingress" of the check that dropped
    std::vector<std::string>
        denied_by;       // default deny: titles of the policies that select the workload
    std::string service; // "shop/web" when reached through one
    net::Ip service_address;
    std::uint16_t service_port = 0;
    std::uint8_t tcp_flags[2] = {0, 0};
    std::uint8_t icmp_type = 0;
    std::uint8_t icmp_code = 0;
    std::uint64_t packets[2] = {0, 0};
    std::uint64_t bytes[2] = {0, 0};
    std::string interface;
    std::shared_ptr<const L7> l7; // of kind l7, else null
    std::uint64_t lost = 0;       // of kind lost: how many events
    std::string lost_where;       // "ring", "queue"
};

} // namespace beeline::model
