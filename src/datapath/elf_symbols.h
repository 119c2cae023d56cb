// Where functions are in an ELF file of this machine's kind, by its symbol tables.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace beeline::datapath {

struct CodeRange {
    std::uint64_t offset = 0; // in the file
    std::uint64_t size = 0;   // 0: not known
};

// Name -> where it is, of those of `names` that the file defines. Anything that is no 64 bit ELF file of this
// machine, or is damaged, has none.
using Symbols = std::map<std::string, CodeRange, std::less<>>;
Symbols find_functions(std::span<const std::byte> file, std::span<const std::string_view> names);

// Where a Go function for x86 returns: offsets in the file of its return instructions, each behind the whole of an epilogue
// (the frame given back, the frame pointer restored), which no other code looks like. Empty when there is none.
std::vector<std::uint64_t> find_go_returns(std::span<const std::byte> file,
                                           const CodeRange& function);

// A file on disk, whole.
Result<std::vector<std::byte>> read_code(const std::string& path);
// The same of a file on disk.
Result<Symbols> find_functions_in(const std::string& path, std::span<const std::string_view> names);

} // namespace beeline::datapath
