#include "agent/telemetry.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <charconv>
#include <chrono>
#include <cstring>
#include <sstream>
#include <utility>

#include <prometheus/text_serializer.h>

#include "agent/documents.h"
#include "api/export/file.h"
#include "api/export/kafka.h"
#include "api/export/otlp.h"
#include "base/log.h"
#include "ebpf/program_stats.h"
#include "observe/metrics/agent.h"
#include "observe/metrics/series.h"

namespace beeline::agent {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;
namespace metrics = observe::metrics;

constexpr std::uint64_t kLookMs = 1000;
constexpr int kBacklog = 16;
constexpr unsigned kConnections = 16; // scrapers at once
constexpr unsigned kIdleSeconds = 60; // scrapers keep their connection between two scrapes

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

// "127.0.0.1:9965", "[::1]:9965", or ":9965" for every address of both families.
Result<Fd> listen_tcp(const std::string& text) {
    const std::size_t colon = text.rfind(':');
    std::uint16_t port = 0;
    const char* end = text.data() + text.size();
    if (colon == std::string::npos ||
        std::from_chars(text.data() + colon + 1, end, port).ptr != end || port == 0)
        return fail(Code::invalid, "metrics.listen: expected ADDRESS:PORT or :PORT, found {}",
                    text);
    std::string host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    const net::Ip ip = host.empty() ? net::Ip{} : TRY(net::Ip::parse(host));
    const bool v4 = !host.empty() && ip.is_v4();
    Fd fd(::socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno(errno, "cannot make the metrics' socket");
    const int on = 1;
    const int off = 0;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (host.empty()) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockaddr_storage place{};
    socklen_t size = 0;
    if (v4) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        std::memcpy(&address.sin_addr, ip.bytes.data() + 12, 4);
        std::memcpy(&place, &address, size = sizeof address);
    } else {
        sockaddr_in6 address{};
        address.sin6_family = AF_INET6;
        address.sin6_port = htons(port);
        std::memcpy(&address.sin6_addr, ip.bytes.data(), 16);
        std::memcpy(&place, &address, size = sizeof address);
    }
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&place), size) != 0 ||
        ::listen(fd.get(), kBacklog) != 0)
        return fail_errno(errno, "cannot listen on " + text);
    return fd;
}

void count_changes(const model::Objects& before, const model::Objects& after,
                   std::array<std::uint64_t, 3>& events) {
    for (const auto& [name, service] : after.services) {
        const auto old = before.services.find(name);
        if (old == before.services.end()) {
            ++events[0];
        } else if (!(old->second == service)) {
            ++events[1];
        }
    }
    for (const auto& [name, service] : before.services)
        if (!after.services.contains(name)) ++events[2];
}

} // namespace

Telemetry::Telemetry(Node& node, loop::Loop& loop)
    : node_(node), loop_(loop), scrapes_(prometheus::BuildCounter()
                                             .Name("hubble_metrics_http_handler_requests_total")
                                             .Help("Scrapes by status")
                                             .Register(registry_)),
      scrape_seconds_(prometheus::BuildHistogram()
                          .Name("hubble_metrics_http_handler_request_duration_seconds")
                          .Help("How long scrapes take")
                          .Register(registry_)),
      objects_(std::make_shared<model::Objects>()) {}

std::unique_ptr<Telemetry> Telemetry::start(Node& node, loop::Loop& loop) {
    std::unique_ptr<Telemetry> out(new Telemetry(node, loop));
    Telemetry& self = *out;
    const auto& options = node.config().metrics;
    if (auto follower = metrics::Follower::start(node.store(), options, self.registry_)) {
        self.follower_ = std::move(*follower);
    } else {
        self.error_ = follower.error().message;
    }
    if (options.program_stats) {
        auto stats = ebpf::enable_run_stats();
        if (stats) {
            self.run_stats_ = std::move(*stats);
        } else {
            self.error_ = stats.error().message;
        }
    }
    self.look();
    self.timer_ = loop.every(kLookMs, [&self] { self.look(); });
    if (const auto served = self.serve(); !served) self.error_ = served.error().message;
    if (!self.error_.empty()) log_error("metrics are not complete", kv("error", self.error_));
    node.add_status("prometheus", [&self] { return self.status(); });
    self.start_exports();
    if (!self.exporters_.empty() || !self.refused_.empty())
        node.add_status("export", [&self] { return self.exports_status(); });
    return out;
}

Telemetry::~Telemetry() {
    node_.add_status("prometheus", nullptr);
    node_.add_status("export", nullptr);
    loop_.cancel(timer_);
    server_.reset();
    follower_.reset(); // before the registry
}

void Telemetry::start_exports() {
    const auto& options = node_.config().exports;
    hubble::Origin origin;
    origin.node = node_.config().node;
    origin.cluster = node_.config().hubble.cluster;
    origin.version = BEELINE_VERSION;
    origin.labels = node_.config().hubble.node_labels;
    const auto keep = [this](Result<std::unique_ptr<exporting::Exporter>> started,
                             const std::string& name) {
        if (started) {
            exporters_.push_back(std::move(*started));
        } else {
            refused_.emplace_back(name, started.error().message);
            log_error("an export could not start", kv("export", name),
                      kv("error", started.error().message));
        }
    };
    for (const auto& one : options.files)
        keep(exporting::start_file(one, origin, node_.store()), one.name);
    for (const auto& one : options.kafka)
        keep(exporting::start_kafka(one, origin, node_.store()), one.topic);
    for (const auto& one : options.otlp)
        keep(exporting::start_otlp(one, origin, node_.store(), [this] { return collect(); }),
             one.endpoint);
}

json Telemetry::exports_status() const {
    json out = json::object();
    for (const auto& exporter : exporters_) {
        const auto stats = exporter->stats();
        json one{{"kind", exporter->kind()}, {"sent", stats.sent},
                 {"failed", stats.failed},   {"lost", stats.lost},
                 {"waiting", stats.waiting}, {"retries", stats.retries}};
        if (!stats.last_error.empty()) one["last_error"] = stats.last_error;
        out[exporter->name()] = std::move(one);
    }
    for (const auto& [name, error] : refused_)
        out[name] = {{"error", error}};
    return out;
}

void Telemetry::stop() {
    // A status that is made meanwhile on the loop's thread must not see them go.
    loop_.call([this] { node_.add_status("export", nullptr); });
    exporters_.clear();
    if (server_) server_->stop();
}

Result<> Telemetry::serve() {
    const std::string& listen = node_.config().metrics.listen;
    if (listen.empty()) return {};
    api::Router router;
    api::Route route;
    route.method = "GET";
    route.pattern = "/metrics";
    route.handle = [this](const api::Request&) { return scrape(); };
    router.add(std::move(route));
    api::ServerOptions options;
    options.connections = kConnections;
    options.body_bytes = 0;
    options.idle_timeout_s = kIdleSeconds;
    server_ = TRY(api::Server::create(std::move(router), options));
    return server_->serve(TRY(listen_tcp(listen)));
}

Result<api::Reply> Telemetry::scrape() {
    const auto start = Clock::now();
    api::Reply reply;
    reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    reply.body = prometheus::TextSerializer().Serialize(collect());
    scraped_.fetch_add(1, std::memory_order_relaxed);
    const prometheus::Labels labels{{"code", "200"}};
    scrapes_.Add(labels).Increment();
    scrape_seconds_
        .Add(labels, prometheus::Histogram::BucketBoundaries(std::begin(metrics::kLatencyBuckets),
                                                             std::end(metrics::kLatencyBuckets)))
        .Observe(seconds_since(start));
    return reply;
}

std::vector<prometheus::MetricFamily> Telemetry::collect() {
    auto facts = loop_.call([this] {
        metrics::AgentFacts out;
        out.status = status_document(node_);
        out.workloads = workloads_document(node_);
        if (auto* security = node_.security()) out.rules = security->rules();
        out.applies = node_.applies();
        out.sweeps = node_.sweeps();
        out.swept = node_.swept();
        out.service_events = service_events_;
        for (const auto& [map, count] : node_.kernel().operations())
            out.map_operations.push_back(
                {map, {count.updated, count.update_failed}, {count.erased, count.erase_failed}});
        return out;
    });
    facts.hubble = !node_.config().metrics.hubble.empty();
    facts.warnings = log_lines(LogLevel::warn);
    facts.errors = log_lines(LogLevel::error);
    facts.process = metrics::read_process();
    if (follower_) {
        const auto forwarded = follower_->forwarded();
        facts.forwarded_packets = forwarded.packets;
        facts.forwarded_bytes = forwarded.bytes;
        facts.counted_flows = follower_->counted();
    }
    if (run_stats_) {
        if (auto programs = ebpf::program_stats("bl_")) facts.programs = std::move(*programs);
    }
    auto families = metrics::agent_families(facts);
    for (auto& family : registry_.Collect())
        families.push_back(std::move(family));
    return families;
}

// What others do not tell: which pods and services there are.
void Telemetry::look() {
    if (directory_ != node_.directory()) {
        directory_ = node_.directory();
        if (follower_) follower_->set_directory(directory_);
    }
    const auto objects = node_.objects();
    if (objects != objects_) {
        count_changes(*objects_, *objects, service_events_);
        objects_ = objects;
    }
}

json Telemetry::status() const {
    json out{{"listen", node_.config().metrics.listen},
             {"scrapes", scraped_.load(std::memory_order_relaxed)}};
    json enabled = json::array();
    for (const auto& one : node_.config().metrics.hubble)
        enabled.push_back(one.name);
    out["enabled"] = std::move(enabled);
    if (follower_) {
        out["flows"] = follower_->counted();
        out["lost"] = follower_->missed();
    }
    if (!error_.empty()) out["error"] = error_;
    return out;
}

} // namespace beeline::agent
