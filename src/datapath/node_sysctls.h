// Sysctls of the node that routing for workloads needs, changed so that they can be put back.
#pragma once

#include <string>

#include "base/result.h"

namespace beeline::datapath {

// `file` keeps what the values were before the first change.
Result<> set_node_sysctls(const std::string& file, bool ipv4, bool ipv6);
// Puts back those that still have the value they were set to, and removes `file`. Idempotent.
Result<> restore_node_sysctls(const std::string& file);

} // namespace beeline::datapath
