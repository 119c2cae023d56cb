// Queueing disciplines of the current network namespace's devices.
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "base/result.h"
#include "net/netlink.h"

namespace beeline::net {

struct Qdisc {
    std::uint32_t index = 0; // of the device
    std::uint32_t handle = 0;
    std::uint32_t parent = 0;
    std::string kind;
};
// Empty when the message is malformed.
std::optional<Qdisc> parse_qdisc(const NetlinkMessage& message);

// Devices whose every packet waits in a fq qdisc until it is due: fq is the root, or below each queue of mq.
std::set<std::uint32_t> devices_with_fq(const std::vector<Qdisc>& qdiscs);

Result<std::vector<Qdisc>> list_qdiscs(Netlink& netlink);

} // namespace beeline::net
