#include "cli/output.h"

#include <utility>

#include "cli/json_view.h"
#include "cli/table.h"
#include "cli/yaml_text.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

std::string dump(const json& value, int indent) {
    return value.dump(indent, ' ', false, json::error_handler_t::replace);
}

} // namespace

std::string json_line(const json& value) { return dump(value, -1); }

Column column(std::string header, std::string key, bool wide) {
    return {std::move(header), [key = std::move(key)](const json& item) { return text(item, key); },
            wide};
}

void print_list(Context& context, const json& items, const std::vector<Column>& columns,
                std::string_view nothing) {
    switch (context.format) {
    case Format::json: context.out << dump(items, 2) << '\n'; return;
    case Format::yaml: context.out << to_yaml(items); return;
    case Format::jsonl:
        for (const auto& item : items)
            context.out << json_line(item) << '\n';
        return;
    case Format::table:
    case Format::wide: break;
    }
    if (items.empty()) {
        context.err << nothing << '\n';
        return;
    }
    const auto shown = [&](const Column& column) {
        return !column.wide || context.format == Format::wide;
    };
    std::vector<std::string> header;
    for (const auto& column : columns)
        if (shown(column)) header.push_back(column.header);
    Table table(std::move(header));
    for (const auto& item : items) {
        std::vector<std::string> cells;
        for (const auto& column : columns)
            if (shown(column)) cells.push_back(column.cell(item));
        table.row(std::move(cells));
    }
    table.print(context.out);
}

void print_document(Context& context, const json& document, const std::function<void()>& text) {
    switch (context.format) {
    case Format::json: context.out << dump(document, 2) << '\n'; return;
    case Format::yaml: context.out << to_yaml(document); return;
    case Format::jsonl: context.out << json_line(document) << '\n'; return;
    case Format::table:
    case Format::wide: text(); return;
    }
}

} // namespace beeline::cli
