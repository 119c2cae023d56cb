// What the section `export` of the configuration says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace beeline::exporting {

// Which flows, and what of them: Hubble's FlowFilter as JSON, Hubble's field mask.
struct Selection {
    std::vector<std::string> allow; // empty: all
    std::vector<std::string> deny;
    std::vector<std::string> fields; // empty: all
    bool extension = false;          // with what Hubble's message has no field for
};

struct FileOptions {
    std::string name = "file";
    std::string path;
    std::uint64_t max_bytes = 10U << 20; // of one file; 0: no limit
    unsigned max_age_s = 0;              // of one file; 0: no limit
    unsigned keep = 5;                   // older files
    bool compress = false;               // the older files, with gzip
    Selection selection;
};

struct KafkaOptions {
    enum class Key { none, source, destination };
    std::string brokers; // "a:9092,b:9092"
    std::string topic = "beeline-flows";
    Key key = Key::source;
    std::string compression = "none";
    std::string acks = "all";
    std::size_t queue = 100'000;                   // messages that wait for the broker
    std::map<std::string, std::string> properties; // librdkafka's own, TLS and SASL among them
    Selection selection;
};

struct OtlpOptions {
    std::string endpoint; // "http://127.0.0.1:4318"; /v1/metrics, /v1/logs and /v1/traces are added
    std::map<std::string, std::string> headers; // may be secrets: never shown
    bool metrics = true;
    bool logs = true;
    bool traces = true;
    bool gzip = true;
    unsigned interval_s = 60; // of metrics
    unsigned delay_ms = 1000; // that logs and spans may wait for company
    std::size_t batch = 512;  // records of one request
    std::size_t queue = 8192; // records that wait
    unsigned timeout_ms = 10'000;
    unsigned retry_s = 60; // how long a batch is tried again
    std::string ca_file;
    std::string certificate;
    std::string key;
    Selection selection; // of the flows that become logs
};

struct Options {
    std::vector<FileOptions> files;
    std::vector<KafkaOptions> kafka;
    std::vector<OtlpOptions> otlp;
};

} // namespace beeline::exporting
