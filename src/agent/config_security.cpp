// The section `security` of the configuration.
#include "agent/config_security.h"

#include <bit>

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;
using security::EngineOptions;

constexpr std::int64_t kMostBytes = 1LL << 40;

Result<model::Priority> priority(const yaml::Node& node) {
    const std::string text = TRY(node.string());
    if (const auto found = model::parse_priority(text)) return *found;
    return node.fail("expected emergency, alert, critical, error, warning, notice, informational "
                     "or debug, found {}",
                     yaml::shown(text));
}

// - enable: {rule: "Terminal*"}
// - disable: {tag: network}
Result<std::vector<EngineOptions::Selection>> selections(const yaml::Map& map) {
    std::vector<EngineOptions::Selection> out;
    for (const auto& item : TRY(map.list("select"))) {
        const auto entry = TRY(item.map({"enable", "disable"}));
        const auto enable = TRY(entry.map("enable", {"rule", "tag"}));
        const auto disable = TRY(entry.map("disable", {"rule", "tag"}));
        if (enable.has_value() == disable.has_value())
            return item.fail("expected either enable or disable");
        const yaml::Map& what = enable ? *enable : *disable;
        EngineOptions::Selection selection;
        selection.enable = enable.has_value();
        selection.rule = TRY(what.string_or("rule", ""));
        selection.tag = TRY(what.string_or("tag", ""));
        if (selection.rule.empty() == selection.tag.empty())
            return what.node().fail("expected either rule or tag");
        out.push_back(std::move(selection));
    }
    return out;
}

Result<std::map<std::string, std::string>> texts(const std::optional<yaml::Node>& node) {
    std::map<std::string, std::string> out;
    if (!node) return out;
    for (const auto& [name, value] : TRY(node->entries()))
        out[name] = TRY(value.string());
    return out;
}

Result<std::vector<EngineOptions::Append>> appends(const yaml::Map& map) {
    std::vector<EngineOptions::Append> out;
    for (const auto& item : TRY(map.list("append"))) {
        const auto entry =
            TRY(item.map({"source", "rule", "tags", "output", "fields", "suggested"}));
        EngineOptions::Append append;
        append.source = TRY(entry.string_or("source", ""));
        append.rule = TRY(entry.string_or("rule", ""));
        append.tags = TRY(entry.strings("tags"));
        append.extra_output = TRY(entry.string_or("output", ""));
        append.extra_fields = TRY(texts(entry.find("fields")));
        append.suggested = TRY(entry.boolean_or("suggested", false));
        out.push_back(std::move(append));
    }
    return out;
}

Result<> read_file_output(const yaml::Map& outputs, SecurityConfig& config) {
    const auto map = TRY(outputs.map("file", {"path", "maxBytes", "keep"}));
    if (!map) return {};
    security::FileOutput file;
    file.path = TRY(map->string("path"));
    if (!file.path.starts_with('/')) return map->fail_of("path", "expected an absolute path");
    file.max_bytes = static_cast<std::uint64_t>(
        TRY(map->integer_or("maxBytes", 0, kMostBytes, static_cast<std::int64_t>(file.max_bytes))));
    file.keep = static_cast<unsigned>(TRY(map->integer_or("keep", 0, 1000, file.keep)));
    config.file = std::move(file);
    return {};
}

Result<> read_program_output(const yaml::Map& outputs, SecurityConfig& config) {
    const auto map = TRY(outputs.map("program", {"command", "keepAlive"}));
    if (!map) return {};
    security::ProgramOutput program;
    program.command = TRY(map->strings("command"));
    if (program.command.empty()) {
        return map->fail_of("command", "expected a list: the program and its arguments (no shell "
                                       "reads them)");
    }
    program.keep_alive = TRY(map->boolean_or("keepAlive", true));
    config.program = std::move(program);
    return {};
}

Result<> read_http_output(const yaml::Map& outputs, SecurityConfig& config) {
    const auto map =
        TRY(outputs.map("http", {"url", "userAgent", "headers", "timeoutMs", "retries", "insecure",
                                 "caFile", "clientCertificate", "clientKey"}));
    if (!map) return {};
    security::HttpOutput http;
    http.url = TRY(map->string("url"));
    if (!http.url.starts_with("http://") && !http.url.starts_with("https://"))
        return map->fail_of("url", "expected an http:// or https:// URL");
    http.user_agent = TRY(map->string_or("userAgent", http.user_agent));
    for (const auto& [name, value] : TRY(texts(map->find("headers"))))
        http.headers.push_back(name + ": " + value);
    http.timeout_ms =
        static_cast<unsigned>(TRY(map->integer_or("timeoutMs", 100, 60'000, http.timeout_ms)));
    http.retries = static_cast<unsigned>(TRY(map->integer_or("retries", 0, 10, http.retries)));
    http.insecure = TRY(map->boolean_or("insecure", false));
    http.ca_file = TRY(map->string_or("caFile", ""));
    http.client_certificate = TRY(map->string_or("clientCertificate", ""));
    http.client_key = TRY(map->string_or("clientKey", ""));
    config.http = std::move(http);
    return {};
}

Result<> read_outputs(const yaml::Map& map, SecurityConfig& config) {
    const auto outputs = TRY(map.map("outputs", {"format", "iso8601", "queue", "perSecond", "burst",
                                                 "stdout", "syslog", "file", "program", "http"}));
    if (!outputs) return {};
    config.json = TRY(outputs->choice_or("format", {"text", "json"}, "text")) == "json";
    config.iso_8601 = TRY(outputs->boolean_or("iso8601", false));
    config.queue = static_cast<std::size_t>(
        TRY(outputs->integer_or("queue", 1, 10'000'000, static_cast<std::int64_t>(config.queue))));
    config.alerts_per_second =
        static_cast<double>(TRY(outputs->integer_or("perSecond", 0, 1'000'000, 0)));
    config.alert_burst = static_cast<double>(TRY(outputs->integer_or("burst", 1, 1'000'000, 1000)));
    config.to_stdout = TRY(outputs->boolean_or("stdout", config.to_stdout));
    config.to_syslog = TRY(outputs->boolean_or("syslog", config.to_syslog));
    TRY(read_file_output(*outputs, config));
    TRY(read_program_output(*outputs, config));
    return read_http_output(*outputs, config);
}

} // namespace

Result<> read_security(const yaml::Map& root, SecurityConfig& config) {
    const auto map =
        TRY(root.map("security", {"enabled", "scope", "rules", "ruleMatching", "priority", "select",
                                  "suggestedOutput", "append", "staticFields", "containerStorages",
                                  "criSockets", "ringBytes", "memory", "outputs"}));
    if (!map) return {};
    config.enabled = TRY(map->boolean_or("enabled", config.enabled));
    if (const auto scope = map->find("scope"))
        config.whole_machine = TRY(scope->choice({"machine", "instance"})) == "machine";
    config.rules = TRY(map->strings("rules"));
    config.storages = TRY(map->strings("containerStorages"));
    if (map->find("criSockets")) {
        config.cri_sockets = TRY(map->strings("criSockets"));
        for (const auto& path : *config.cri_sockets)
            if (!path.starts_with('/'))
                return map->fail_of("criSockets", "expected absolute paths of sockets");
    }
    config.engine.match_all =
        TRY(map->choice_or("ruleMatching", {"first", "all"}, "first")) == "all";
    if (const auto least = map->find("priority")) config.engine.least = TRY(priority(*least));
    config.engine.selections = TRY(selections(*map));
    config.engine.suggested_output =
        TRY(map->boolean_or("suggestedOutput", config.engine.suggested_output));
    config.engine.appends = TRY(appends(*map));
    config.engine.static_fields = TRY(texts(map->find("staticFields")));
    config.ring_bytes = static_cast<std::uint32_t>(
        TRY(map->integer_or("ringBytes", 4096, 1 << 30, config.ring_bytes)));
    if (!std::has_single_bit(config.ring_bytes))
        return map->fail_of("ringBytes", "expected a power of two");
    config.alerts_in_memory = static_cast<std::size_t>(TRY(map->integer_or(
        "memory", 1, 10'000'000, static_cast<std::int64_t>(config.alerts_in_memory))));
    return read_outputs(*map, config);
}

} // namespace beeline::agent
