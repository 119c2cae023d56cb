// Names that values are shown by: errors, flags, constants of system calls.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "security/engine/value.h"

namespace beeline::security::engine {

struct BitName {
    std::uint64_t bits;
    std::string_view name;
};

// Every system call of x86-64 and the names that rules may use for events besides.
bool is_event_name(std::string_view name);
std::size_t event_name_count();
std::string_view event_name(std::size_t index);

std::string_view errno_text(int number); // "ENOENT", "" if there is none
std::string_view capability_name(unsigned bit);
std::optional<std::uint16_t> service_port(std::string_view name);
std::string_view protocol_text(unsigned protocol);

std::span<const BitName> clone_flag_names();
std::span<const BitName> mode_names();
std::span<const BitName> unlink_flag_names();
std::span<const BitName> rename_flag_names();
std::span<const BitName> mount_flag_names();
std::span<const BitName> umount_flag_names();
std::span<const BitName> userfault_flag_names();
std::span<const BitName> memfd_flag_names();
std::span<const BitName> mmap_protection_names();
std::span<const BitName> mmap_flag_names();
std::span<const BitName> module_flag_names();
std::span<const BitName> pidfd_flag_names();

std::span<const BitName> ptrace_names(); // constants: bits is the number
std::span<const BitName> bpf_names();
std::span<const BitName> family_names();
std::span<const BitName> fcntl_names();
std::span<const BitName> prctl_names();
std::span<const BitName> signal_names();
std::span<const BitName> shutdown_names();
std::span<const BitName> keyctl_names();

std::string_view constant_name(std::span<const BitName> names, std::uint64_t number);
// Names joined by '|'; "0" bits give nothing. `separator` for others.
void add_bit_names(Writer& out, std::span<const BitName> names, std::uint64_t bits);
void add_open_flags(Writer& out, std::uint64_t flags, std::uint16_t file_flags);

} // namespace beeline::security::engine
