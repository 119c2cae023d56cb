// Output of other programs, by a fixed argument list: no shell.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/result.h"

namespace beeline::cli {

// stdout and stderr together, at most `most` bytes of them (the rest is read and thrown away). not_found when there is no
// such program in the system's folders; unavailable when it took too long and was killed. Another exit code than 0 is
// written below its output.
Result<std::string> command_output(const std::vector<std::string>& command, std::size_t most,
                                   std::chrono::milliseconds timeout);

} // namespace beeline::cli
