// model::Flow -> one line of JSON, the form of `GET /v1/flows` and `beeline flows -o jsonl` (docs/flows.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "model/flow.h"

namespace beeline::observe {

// Appends the object without a line end. Members that are empty or not known are left out.
void append_json(std::string& out, const model::Flow& flow, std::string_view node);
std::string to_json(const model::Flow& flow, std::string_view node);

// Appends `text` in quotes. What is not UTF-8 becomes U+FFFD, so that the line is always valid.
void append_json_string(std::string& out, std::string_view text);

// RFC 3339 in UTC with nanoseconds: 2026-11-25T09:00:00.123456789Z
void append_time(std::string& out, std::int64_t time_ns);

} // namespace beeline::observe
