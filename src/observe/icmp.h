// What people call an ICMP message, in the words of Hubble: "EchoRequest", "DestinationUnreachable(Port)".
#pragma once

#include <cstdint>
#include <string>

#include "model/protocol.h"

namespace beeline::observe {

// "200(1)" for types without a name. Precondition: icmp or icmpv6.
std::string icmp_name(model::Protocol protocol, std::uint8_t type, std::uint8_t code);

} // namespace beeline::observe
