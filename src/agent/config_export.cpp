#include "agent/config_export.h"

#include <fmt/ranges.h>

#include "api/export/selection.h"
#include "base/file.h"

namespace beeline::agent {
namespace {

namespace yaml = source::yaml;

constexpr std::int64_t kMostBytes = 1LL << 40;

std::vector<std::string_view> with_selection(std::vector<std::string_view> fields) {
    fields.insert(fields.end(), {"allow", "deny", "fields", "extension"});
    return fields;
}

Result<exporting::Selection> selection(const yaml::Map& map) {
    exporting::Selection out;
    out.allow = TRY(map.strings("allow"));
    out.deny = TRY(map.strings("deny"));
    out.fields = TRY(map.strings("fields"));
    out.extension = TRY(map.boolean_or("extension", false));
    const auto compiled = exporting::Selector::compile(out, {});
    if (!compiled) return map.node().failure(compiled.error().message);
    return out;
}

Result<std::map<std::string, std::string>> texts(const yaml::Map& map, std::string_view key) {
    std::map<std::string, std::string> out;
    const auto node = map.find(key);
    if (!node) return out;
    for (const auto& [name, value] : TRY(node->entries())) {
        out[name] = TRY(value.string());
        // A line of HTTP, or a property: no more than one.
        if ((name + out[name]).find_first_of("\r\n") != std::string::npos)
            return value.fail("expected one line");
    }
    return out;
}

template <typename T>
Result<T> number(const yaml::Map& map, std::string_view key, std::int64_t least, std::int64_t most,
                 T otherwise) {
    return static_cast<T>(
        TRY(map.integer_or(key, least, most, static_cast<std::int64_t>(otherwise))));
}

Result<> read_files(const yaml::Map& section, std::vector<exporting::FileOptions>& out) {
    for (const auto& item : TRY(section.list("files"))) {
        const auto map = TRY(item.map(
            with_selection({"name", "path", "maxBytes", "maxAgeSeconds", "keep", "compress"})));
        exporting::FileOptions file;
        file.path = TRY(map.string("path"));
        if (!file.path.starts_with('/')) return map.fail_of("path", "expected an absolute path");
        for (const auto& other : out)
            if (other.path == file.path)
                return map.fail_of("path", "another export writes this file");
        file.name = TRY(map.string_or("name", file.path));
        file.max_bytes = TRY(number(map, "maxBytes", 0, kMostBytes, file.max_bytes));
        file.max_age_s = TRY(number(map, "maxAgeSeconds", 0, 31'536'000, file.max_age_s));
        file.keep = TRY(number(map, "keep", 0, 1000, file.keep));
        file.compress = TRY(map.boolean_or("compress", file.compress));
        file.selection = TRY(selection(map));
        out.push_back(std::move(file));
    }
    return {};
}

Result<> read_sasl(const yaml::Map& map, std::map<std::string, std::string>& properties) {
    const auto sasl = TRY(map.map("sasl", {"mechanism", "username", "password", "passwordFile"}));
    if (!sasl) return {};
    properties["sasl.mechanism"] = TRY(sasl->string("mechanism"));
    properties["sasl.username"] = TRY(sasl->string_or("username", ""));
    std::string password = TRY(sasl->string_or("password", ""));
    if (const auto file = sasl->find("passwordFile")) {
        const std::string path = TRY(file->string());
        const auto text = read_file(path);
        if (!text) return file->failure(text.error().message);
        password = *text;
        while (password.ends_with('\n') || password.ends_with('\r'))
            password.pop_back();
    }
    properties["sasl.password"] = std::move(password);
    return {};
}

Result<> read_kafka(const yaml::Map& section, std::vector<exporting::KafkaOptions>& out) {
    for (const auto& item : TRY(section.list("kafka"))) {
        const auto map =
            TRY(item.map(with_selection({"brokers", "topic", "key", "compression", "acks", "queue",
                                         "tls", "sasl", "properties"})));
        exporting::KafkaOptions kafka;
        const auto brokers = TRY(map.strings("brokers"));
        if (brokers.empty()) return map.fail_of("brokers", "expected a list of HOST:PORT");
        kafka.brokers = fmt::format("{}", fmt::join(brokers, ","));
        kafka.topic = TRY(map.string_or("topic", kafka.topic));
        const std::string key =
            TRY(map.choice_or("key", {"source", "destination", "none"}, "source"));
        using Key = exporting::KafkaOptions::Key;
        kafka.key = key == "source" ? Key::source : key == "none" ? Key::none : Key::destination;
        kafka.compression = TRY(map.choice_or(
            "compression", {"none", "gzip", "snappy", "lz4", "zstd"}, kafka.compression));
        kafka.acks = TRY(map.choice_or("acks", {"all", "none", "leader"}, "all"));
        if (kafka.acks == "none") kafka.acks = "0";
        if (kafka.acks == "leader") kafka.acks = "1";
        kafka.queue = TRY(number(map, "queue", 1, 10'000'000, kafka.queue));
        const auto tls = TRY(map.map("tls", {"caFile", "certificate", "key"}));
        const bool sasl = map.find("sasl").has_value();
        if (tls || sasl)
            kafka.properties["security.protocol"] = !sasl ? "ssl"
                                                    : tls ? "sasl_ssl"
                                                          : "sasl_plaintext";
        if (tls) {
            for (const auto& [field, property] :
                 {std::pair{"caFile", "ssl.ca.location"},
                  std::pair{"certificate", "ssl.certificate.location"},
                  std::pair{"key", "ssl.key.location"}})
                if (const auto value = tls->find(field))
                    kafka.properties[property] = TRY(value->string());
        }
        TRY(read_sasl(map, kafka.properties));
        for (const auto& [name, value] : TRY(texts(map, "properties")))
            kafka.properties[name] = value;
        kafka.selection = TRY(selection(map));
        out.push_back(std::move(kafka));
    }
    return {};
}

Result<> read_otlp(const yaml::Map& section, std::vector<exporting::OtlpOptions>& out) {
    for (const auto& item : TRY(section.list("otlp"))) {
        const auto map = TRY(item.map(with_selection(
            {"endpoint", "headers", "metrics", "logs", "traces", "gzip", "intervalSeconds",
             "delayMs", "batch", "queue", "timeoutMs", "retrySeconds", "tls"})));
        exporting::OtlpOptions otlp;
        otlp.endpoint = TRY(map.string("endpoint"));
        if (!otlp.endpoint.starts_with("http://") && !otlp.endpoint.starts_with("https://"))
            return map.fail_of("endpoint", "expected an http:// or https:// URL");
        // It is shown in logs and in the status.
        if (otlp.endpoint.find_first_of("@?#\r\n ") != std::string::npos)
            return map.fail_of("endpoint", "expected a plain URL: secrets belong into headers");
        otlp.headers = TRY(texts(map, "headers"));
        otlp.metrics = TRY(map.boolean_or("metrics", otlp.metrics));
        otlp.logs = TRY(map.boolean_or("logs", otlp.logs));
        otlp.traces = TRY(map.boolean_or("traces", otlp.traces));
        otlp.gzip = TRY(map.boolean_or("gzip", otlp.gzip));
        otlp.interval_s = TRY(number(map, "intervalSeconds", 1, 86'400, otlp.interval_s));
        otlp.delay_ms = TRY(number(map, "delayMs", 10, 60'000, otlp.delay_ms));
        otlp.batch = TRY(number(map, "batch", 1, 100'000, otlp.batch));
        otlp.queue = TRY(number(map, "queue", 1, 10'000'000, otlp.queue));
        otlp.timeout_ms = TRY(number(map, "timeoutMs", 100, 120'000, otlp.timeout_ms));
        otlp.retry_s = TRY(number(map, "retrySeconds", 0, 3600, otlp.retry_s));
        if (const auto tls = TRY(map.map("tls", {"caFile", "certificate", "key"}))) {
            otlp.ca_file = TRY(tls->string_or("caFile", ""));
            otlp.certificate = TRY(tls->string_or("certificate", ""));
            otlp.key = TRY(tls->string_or("key", ""));
        }
        otlp.selection = TRY(selection(map));
        out.push_back(std::move(otlp));
    }
    return {};
}

} // namespace

Result<> read_export(const yaml::Map& root, exporting::Options& options) {
    const auto map = TRY(root.map("export", {"files", "kafka", "otlp"}));
    if (!map) return {};
    TRY(read_files(*map, options.files));
    TRY(read_kafka(*map, options.kafka));
    return read_otlp(*map, options.otlp);
}

} // namespace beeline::agent
