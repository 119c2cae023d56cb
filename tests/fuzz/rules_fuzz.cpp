// libs: beeline_security_rules
// Rule files: whatever the text is, it becomes rules without macros, or problems that can be shown and whose places are in
// the file. "%%%" begins the next file.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "security/rules/rule_set.h"
#include "security/rules/test_catalog.h"

using namespace beeline::security::rules;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void check(const Node& node) {
    require(node.kind != Node::Kind::macro && node.macro.empty());
    for (const NodePtr& child : node.children)
        check(*child);
}

void check(const Problem& problem, const std::map<std::string, std::string>& texts) {
    require(problem.code.starts_with("LOAD_") && !problem.message.empty());
    require(!problem.locations.empty());
    require(problem.file == problem.locations.back().file);
    for (const Location& location : problem.locations) {
        const auto text = texts.find(location.file);
        require(text != texts.end());
        require(location.position.offset <= text->second.size());
        require(location.position.line > 0 && location.position.column > 0);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    std::vector<File> files;
    std::map<std::string, std::string> texts;
    for (bool more = true; more && files.size() < 4;) {
        const std::size_t end = text.find("%%%");
        more = end != std::string_view::npos;
        files.push_back({std::string(1, static_cast<char>('a' + files.size())),
                         std::string(text.substr(0, end)), ""});
        texts.emplace(files.back().name, files.back().text);
        if (more) text.remove_prefix(end + 3);
    }
    const LoadResult result = load(files, TestCatalog());
    for (const FileResult& file : result.files) {
        require(file.successful == file.errors.empty());
        for (const Problem& problem : file.errors)
            check(problem, texts);
        for (const Problem& problem : file.warnings)
            check(problem, texts);
    }
    const bool good = result.successful();
    require(good ? result.files.size() == files.size() : result.set.rules.empty());
    for (const Rule& rule : result.set.rules) {
        require(!rule.name.empty() && rule.condition);
        check(*rule.condition);
        const std::string normal = to_text(*rule.condition);
        const Parsed again = parse_condition(normal, 5000);
        require(again.node && to_text(*again.node) == normal);
    }
    require(!to_text(result).empty());
    require(!nlohmann::json::parse(to_json(result), nullptr, false).is_discarded());
    return 0;
}
