// Network sysctls. /proc/sys/net shows the namespace of the thread that opens a file, so inside an InNamespace these
// act on that namespace.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace beeline::net {

// `name` is the path below /proc/sys, e.g. "net/ipv6/conf/eth0/accept_ra". not_found when this kernel has no such one.
Result<> write_sysctl(std::string_view name, std::string_view value);
Result<std::string> read_sysctl(std::string_view name); // without the final newline

} // namespace beeline::net
