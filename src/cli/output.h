// Documents of the agent in the format that -o asks for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/context.h"

namespace beeline::cli {

struct Column {
    std::string header;
    std::function<std::string(const nlohmann::json& item)> cell;
    bool wide = false; // only with -o wide
};

// A column that shows one member.
Column column(std::string header, std::string key, bool wide = false);

// `nothing` is printed to `err` instead of a table without rows.
void print_list(Context& context, const nlohmann::json& items, const std::vector<Column>& columns,
                std::string_view nothing);

// One document: as `text` for people, otherwise as it is.
void print_document(Context& context, const nlohmann::json& document,
                    const std::function<void()>& text);

// On one line.
std::string json_line(const nlohmann::json& value);

} // namespace beeline::cli
