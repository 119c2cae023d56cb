// The network namespace of a workload.
#pragma once

#include <string>

#include "base/result.h"

namespace beeline::cli {

// Makes a network namespace, named by the new file `path`, with the loopback device up. In it every process may bind
// low ports and send echo requests: those limits protect a host's ports, and this namespace has one tenant.
// net::delete_named(path) removes it.
Result<> netns_create(const std::string& path);

} // namespace beeline::cli
