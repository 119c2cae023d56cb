#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

std::string cell(const json& value) {
    return value.is_structured() ? json_line(value) : text(value);
}

// One column for each member of the keys and values; a key or value that is no object has one of its own.
std::vector<Column> columns_of(const json& entries) {
    std::vector<Column> columns;
    for (const std::string side : {"key", "value"}) {
        std::vector<std::string> names;
        for (const auto& entry : entries) {
            for (const auto& [name, value] : member(entry, side).items()) {
                if (!member(entry, side).is_object()) continue;
                if (std::find(names.begin(), names.end(), name) == names.end())
                    names.push_back(name);
            }
        }
        if (names.empty()) {
            columns.push_back(
                {side, [side](const json& entry) { return cell(member(entry, side)); }});
            continue;
        }
        for (const auto& name : names)
            columns.push_back({side + "." + name, [side, name](const json& entry) {
                                   return cell(member(member(entry, side), name));
                               }});
    }
    return columns;
}

Result<int> dump_map(Context& context, const std::string& name, std::uint64_t limit) {
    const json answer = TRY(TRY(context.client())
                                .get(api::url("/v1/maps/" + api::url_encode(name),
                                              {{"limit", std::to_string(limit)}})));
    const json& entries = list(answer, "entries");
    print_list(context, entries, columns_of(entries), fmt::format("{} is empty", name));
    if (entries.size() >= limit)
        context.err << fmt::format("only the first {} entries: --limit shows more\n", limit);
    return kDone;
}

} // namespace

void register_map_commands(CLI::App& app, Context& context) {
    auto* map = add_verb(app, "map", "What the datapath keeps in the kernel", "beeline map list");
    map->require_subcommand(1);

    auto* show = add_verb(*map, "list", "The BPF maps and how full they are", "beeline map list");
    add_format(show, context,
               {Format::table, Format::wide, Format::json, Format::jsonl, Format::yaml});
    on_run(show, context, [&context]() -> Result<int> {
        const json answer = TRY(TRY(context.client()).get("/v1/maps"));
        print_list(context, list(answer, "maps"),
                   {column("NAME", "name"), column("TYPE", "type"), column("ENTRIES", "entries"),
                    column("MAX", "max_entries"), column("KEY BYTES", "key_size", true),
                    column("VALUE BYTES", "value_size", true)},
                   "no maps");
        return kDone;
    });

    struct Flags {
        std::string name;
        std::uint64_t limit = 1000;
    };
    auto flags = std::make_shared<Flags>();
    auto* dump = add_verb(*map, "dump", "The entries of one map, decoded",
                          "beeline map dump bl_ct --limit 20\n"
                          "beeline map dump bl_ipcache -o jsonl");
    dump->add_option("NAME", flags->name, "A map that 'beeline map list' shows")->required();
    dump->add_option("--limit", flags->limit, "Show at most this many entries (default 1000)")
        ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{10'000'000}))
        ->option_text("N");
    add_format(dump, context,
               {Format::table, Format::wide, Format::json, Format::jsonl, Format::yaml});
    on_run(dump, context,
           [&context, flags] { return dump_map(context, flags->name, flags->limit); });
}

} // namespace beeline::cli
