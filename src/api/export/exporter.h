// One configured export: what it has sent, and what it could not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace beeline::exporting {

struct Stats {
    std::uint64_t sent = 0;   // records that arrived, or were written
    std::uint64_t failed = 0; // records that were given up
    std::uint64_t lost =
        0; // records there was no room for, and flows that the exporter was too slow for
    std::uint64_t waiting = 0;
    std::uint64_t retries = 0;
    std::string last_error; // without secrets; empty: none
};

class Exporter {
public:
    virtual ~Exporter() = default; // ends its threads
    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual std::string kind() const = 0; // "file", "kafka", "otlp"
    [[nodiscard]] virtual Stats stats() const = 0;      // any thread
};

} // namespace beeline::exporting
