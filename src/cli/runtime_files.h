// Small file helpers of the runtime.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/file.h"
#include "base/result.h"

namespace beeline::cli {

// One write(2) to an existing file: what kernel interfaces want.
Result<> write_value(const std::string& path, std::string_view value);
// Clock ticks between boot and the start of `pid` (with the pid, a name that is never used twice in one boot).
// Nothing when it is gone or a zombie.
std::optional<std::uint64_t> process_start(pid_t pid);
std::string boot_id();

// Waits for an exclusive lock on `path`, which is made when absent. Held until the Fd closes.
Result<Fd> lock_file(const std::string& path);

// A descriptor for `pid` if that process started at `start`; empty when it is gone.
Fd open_process(pid_t pid, std::uint64_t start);
bool signal_process(const Fd& process, int signal);

// 2026-11-25T09:00:00.123456Z
std::string timestamp();

} // namespace beeline::cli
