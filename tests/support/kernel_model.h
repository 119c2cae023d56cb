// What the kernel does with the tables, as plain code: bpf/lib/{identity,policy}.h over datapath::Tables.
#pragma once

#include <cstdint>

#include "datapath/tables.h"
#include "model/protocol.h"
#include "net/address.h"

namespace beeline::test {

struct KernelCheck {
    bool allowed = true;
    std::uint32_t rule = 0; // what decided; 0 where nothing had to, and for a default deny
};

struct KernelVerdict {
    KernelCheck egress;  // of the source, if it is a workload of this machine
    KernelCheck ingress; // of the destination, likewise
    [[nodiscard]] bool allowed() const { return egress.allowed && ingress.allowed; }
};

// The first packet of a connection. The kernel stops at a denied egress; here both ends are always judged.
KernelVerdict kernel_verdict(const datapath::Tables& tables, const net::Ip& source,
                             const net::Ip& destination, model::Protocol protocol,
                             std::uint16_t port);

// The identity number behind an address.
std::uint32_t kernel_identity(const datapath::Tables& tables, const net::Ip& address);

} // namespace beeline::test
