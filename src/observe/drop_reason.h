// Names and texts of drop reasons, from the X-list of bpf/abi/drop.h.
#pragma once

#include <string_view>

namespace beeline::observe {

// Empty for numbers that the list does not have, and for 0.
std::string_view drop_reason_name(unsigned reason); // "POLICY_DENIED"
std::string_view drop_reason_text(unsigned reason); // "Policy denied"

} // namespace beeline::observe
