// What the running kernel's own types say: names and numbers that differ from version to version.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

struct btf;

namespace beeline::ebpf {

// Reading takes some ten milliseconds: keep what was found, not this.
class KernelTypes {
public:
    static Result<KernelTypes> read();

    // The values of an enumeration in its order; nothing when this kernel has none of that name.
    [[nodiscard]] std::optional<std::vector<std::pair<std::string, std::uint32_t>>>
    enumeration(const std::string& name) const;
    // How many arguments a program at this tracepoint can read; nothing when there is no such tracepoint.
    [[nodiscard]] std::optional<unsigned> tracepoint_arguments(const std::string& name) const;

private:
    explicit KernelTypes(std::unique_ptr<btf, void (*)(btf*)> types) : types_(std::move(types)) {}
    std::unique_ptr<btf, void (*)(btf*)> types_;
};

} // namespace beeline::ebpf
