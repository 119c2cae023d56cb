// The query string of a request and the values that API parameters can have. Every error names the
// parameter and says what is expected.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/objects.h"
#include "model/protocol.h"

namespace beeline::api {

// Undoes percent-encoding; '+' stays '+', so that time zones need no escape. Fails on broken
// escapes and on control characters.
Result<std::string> url_decode(std::string_view text);

// "90s", "1h30m", "1.5h", "250ms", "2d" in nanoseconds; at most 100 years.
Result<std::int64_t> parse_duration(std::string_view text);
// RFC 3339 with a zone: "2026-11-25T09:00:00Z", "2026-11-25T10:00:00.5+01:00"; nanoseconds since
// 1970.
Result<std::int64_t> parse_time(std::string_view text);
// "shop/web".
Result<model::ObjectName> parse_object_name(std::string_view text);

// What a call accepts in its query string.
struct Parameter {
    std::string_view name;
    bool repeatable = false;
};

class Query {
public:
    // `text` is what follows '?'. Parameters that are not `known`, or that come twice without being
    // repeatable, are errors.
    static Result<Query> parse(std::string_view text, std::span<const Parameter> known);

    [[nodiscard]] bool has(std::string_view name) const;
    [[nodiscard]] std::string text(std::string_view name) const; // empty when absent
    [[nodiscard]] std::vector<std::string> all(std::string_view name) const;

    // "1", "true" or nothing behind the name; "0", "false" or absent.
    [[nodiscard]] Result<bool> flag(std::string_view name) const;
    [[nodiscard]] Result<std::optional<std::uint64_t>>
    number(std::string_view name, std::uint64_t least, std::uint64_t most) const;
    // A moment: RFC 3339, or a duration before `now_ns`.
    [[nodiscard]] Result<std::optional<std::int64_t>> moment(std::string_view name,
                                                             std::int64_t now_ns) const;
    // Patterns of workloads: "shop/web", "shop/" for a whole namespace, "web" in any namespace.
    [[nodiscard]] Result<std::vector<std::string>> workloads(std::string_view name) const;
    [[nodiscard]] Result<std::vector<model::Protocol>> protocols(std::string_view name) const;
    [[nodiscard]] Result<std::vector<std::uint16_t>> ports(std::string_view name) const;

private:
    std::vector<std::pair<std::string, std::string>> values_;
};

} // namespace beeline::api
