// The line that Hubble's CLI prints for a flow, and the names in it.
#pragma once

#include <cstdint>
#include <string>

#include <flow/flow.pb.h>

#include "model/l7.h"

namespace beeline::hubble {

// Of a message whose l4 and l7 are filled in. `l7`: null when there is none.
std::string summary_of(const ::flow::Flow& flow, const model::L7* l7);

std::string record_type(std::uint16_t type); // of DNS: "AAAA", "TYPE1234"

} // namespace beeline::hubble
