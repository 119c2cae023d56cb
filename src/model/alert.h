// A rule matched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace beeline::model {

enum class Priority : std::uint8_t {
    emergency,
    alert,
    critical,
    error,
    warning,
    notice,
    informational,
    debug
};

// "Emergency" ... "Debug".
std::string_view priority_name(Priority priority);
// Any case; also "info". Nothing for other words.
std::optional<Priority> parse_priority(std::string_view text);

struct Alert {
    struct Ancestor {
        std::uint32_t pid = 0;
        std::string name;
        std::string exepath;
        std::string cmdline;
    };
    // Absent values are monostate (JSON null).
    using Value =
        std::variant<std::monostate, bool, std::int64_t, std::uint64_t, double, std::string>;

    std::uint64_t number = 0; // position in the store, grows by one
    std::int64_t time_ns = 0; // CLOCK_REALTIME
    std::string rule;
    std::string source = "syscall";
    Priority priority = Priority::debug;
    std::vector<std::string> tags; // sorted
    std::string hostname;
    std::string message;                               // the rule's output, filled in
    std::vector<std::pair<std::string, Value>> fields; // output_fields, sorted by name

    // Beeline's own.
    std::string event;    // evt.type
    std::string workload; // "namespace/name", empty if none
    std::string container;
    std::uint32_t pid = 0;
    std::uint64_t start_ns = 0;      // with pid: the process key
    std::vector<Ancestor> ancestors; // [0] the process itself, then parents to the root
    std::vector<std::string> flows;  // of that process in the last minute, as JSON objects
};

} // namespace beeline::model
