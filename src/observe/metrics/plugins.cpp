#include "observe/metrics/plugins.h"

#include <array>
#include <functional>
#include <optional>
#include <utility>

#include "abi/drop.h"
#include "observe/drop_reason.h"
#include "observe/icmp.h"
#include "observe/metrics/words.h"

namespace beeline::observe::metrics {
namespace {

using model::L7;
using Counter = prometheus::Counter;
using Histogram = prometheus::Histogram;
using Out = Moves;
using Values = std::vector<std::string>;

bool forwarded(const EventView& view) {
    return view.flow.verdict == model::Flow::Verdict::forwarded;
}

bool is_icmp(const model::Flow& flow) {
    return flow.protocol == model::Protocol::icmp || flow.protocol == model::Protocol::icmpv6;
}

bool is_http(const L7& l7) { return l7_word(l7.protocol) == "HTTP"; }

// gRPC answers are HTTP 200 whatever became of the call.
std::string http_status(const L7& l7) {
    return l7.protocol == L7::Protocol::grpc ? "200" : std::to_string(l7.code);
}

// The ends as the request had them.
Ends request_view(const EventView& view) {
    return {view.flow.source, view.flow.destination, view.event.direction};
}

template <typename T>
T* find(Series<T>& series, const Contexts& contexts, const Ends& ends, Values values) {
    contexts.append(ends, values);
    return series.at(values);
}

class Base : public Plugin {
protected:
    Base(const Enabled& enabled, const Shared& shared)
        : contexts_(enabled.contexts), flags_(enabled.flags), shared_(shared) {}

    void count(Series<Counter>& series, const Ends& ends, Values values, Out& out) {
        Counter* counter = find(series, contexts_, ends, std::move(values));
        out.counters.push_back(counter != nullptr ? counter : &series.overflow());
    }
    void measure(Series<Histogram>& series, const Ends& ends, Values values, Out& out) {
        if (Histogram* histogram = find(series, contexts_, ends, std::move(values))) {
            out.durations.push_back(histogram);
        } else {
            out.counters.push_back(&series.overflow());
        }
    }
    Series<Counter> counter(const char* name, const char* help, Values labels) {
        return Series<Counter>(shared_, name, help, std::move(labels), contexts_);
    }
    Series<Histogram> histogram(const char* name, const char* help, Values labels) {
        return Series<Histogram>(shared_, name, help, std::move(labels), contexts_);
    }
    [[nodiscard]] bool flag(const char* name) const { return flags_.contains(name); }

    Contexts contexts_;
    std::map<std::string, std::string> flags_;
    Shared shared_;
};

// The plugins that keep one counter differ in when it moves and in its own labels.
class OneCounter : public Base {
public:
    using Count = std::function<void(const EventView&, const std::function<void(Values)>&)>;
    OneCounter(const Enabled& enabled, const Shared& shared, const char* name, const char* help,
               Values labels, Count when)
        : Base(enabled, shared), series_(counter(name, help, std::move(labels))),
          when_(std::move(when)) {}

    void see(const EventView& view, Out& out) override {
        when_(view, [&](Values values) { count(series_, view.ends, std::move(values), out); });
    }
    bool remove_pods(const std::unordered_set<std::string>& pods) override {
        return series_.remove_pods(pods);
    }

private:
    Series<Counter> series_;
    Count when_;
};

using Emit = std::function<void(Values)>;

void flow(const EventView& view, const Emit& emit) {
    emit({protocol_word(view.flow, view.event), std::string(type_word(view.event.type)),
          subtype_word(view.flow, view.event), std::string(verdict_word(view.flow.verdict))});
}

// Which pod is in the labels that the options add.
void flows_per_pod(const EventView& view, const Emit& emit) {
    emit({protocol_word(view.flow, view.event), std::string(verdict_word(view.flow.verdict))});
}

void drop(const EventView& view, const Emit& emit) {
    if (forwarded(view)) return;
    emit({std::string(drop_reason_name(view.flow.reason)), protocol_word(view.flow, view.event)});
}

void icmp(const EventView& view, const Emit& emit) {
    if (!is_icmp(view.flow)) return;
    emit({std::string(family_word(view.flow)),
          icmp_name(view.flow.protocol, view.event.icmp_type, view.flow.icmp_code)});
}

void port_distribution(const EventView& view, const Emit& emit) {
    if (!forwarded(view) || view.event.is_reply != false) return;
    const bool ports = view.flow.protocol == model::Protocol::tcp ||
                       view.flow.protocol == model::Protocol::udp ||
                       view.flow.protocol == model::Protocol::sctp;
    Event transport = view.event;
    transport.type = EventType::trace; // the label is the transport's, of L7 events too
    emit({protocol_word(view.flow, transport),
          ports ? std::to_string(view.flow.destination.port) : "0"});
}

void tcp(const EventView& view, const Emit& emit) {
    if (!forwarded(view) || view.flow.protocol != model::Protocol::tcp) return;
    const unsigned flags = view.event.tcp_flags;
    const std::string family(family_word(view.flow));
    if (flags & 0x01) emit({"FIN", family});
    if (flags & 0x02) emit({flags & 0x10 ? "SYN-ACK" : "SYN", family});
    if (flags & 0x04) emit({"RST", family});
}

// The kernel does not look into SCTP: the first packet of an association is its INIT, the first answer the INIT ACK.
void sctp(const EventView& view, const Emit& emit) {
    if (!forwarded(view) || view.flow.protocol != model::Protocol::sctp) return;
    const std::string family(family_word(view.flow));
    if (view.flow.kind == model::Flow::Kind::opened) emit({"INIT", family});
    if (view.flow.kind == model::Flow::Kind::replied) emit({"INIT_ACK", family});
}

void policy(const EventView& view, const Emit& emit) {
    const model::Flow& flow = view.flow;
    if (view.ends.source.identity == 1) return; // the host passes all policy
    const std::string match(to_string(view.event.match));
    if (view.event.type == EventType::l7 && flow.l7) {
        std::string word(l7_word(flow.l7->protocol));
        for (char& c : word)
            c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        emit({std::string(direction_word(view.event.direction)), "l7/" + word, "forwarded"});
    } else if (flow.kind == model::Flow::Kind::opened) {
        // Each direction that a rule had to decide is a verdict of its own.
        if (!flow.egress_rule.empty()) emit({"egress", match, "forwarded"});
        if (!flow.ingress_rule.empty()) emit({"ingress", match, "forwarded"});
    } else if (view.event.type == EventType::drop && !flow.denied_direction.empty()) {
        emit({flow.denied_direction, match, "dropped"});
    }
}

void to_world(const EventView& view, const Emit& emit, bool any_drop, bool port, bool syn_only) {
    const model::Flow& flow = view.flow;
    if (view.ends.destination.kind != model::FlowEnd::Kind::world) return;
    if (view.event.is_reply == true) return;
    if (!forwarded(view) && flow.reason != BL_DROP_POLICY_DENIED && !any_drop) return;
    if (syn_only && flow.protocol == model::Protocol::tcp && (view.event.tcp_flags & 0x12) != 0x02)
        return;
    Values values{protocol_word(flow, view.event), std::string(verdict_word(flow.verdict))};
    if (port) values.push_back(std::to_string(view.ends.destination.port));
    emit(std::move(values));
}

class Dns final : public Base {
public:
    Dns(const Enabled& enabled, const Shared& shared)
        : Base(enabled, shared), query_(flag("query")), ignore_aaaa_(flag("ignoreaaaa")),
          queries_(counter("hubble_dns_queries_total", "DNS questions",
                           labels({"rcode", "qtypes", "ips_returned"}))),
          responses_(counter("hubble_dns_responses_total", "DNS answers",
                             labels({"rcode", "qtypes", "ips_returned"}))),
          types_(counter("hubble_dns_response_types_total", "Records in DNS answers by type",
                         labels({"type", "qtypes"}))) {}

    void see(const EventView& view, Out& out) override {
        if (!view.flow.l7 || view.flow.l7->protocol != L7::Protocol::dns) return;
        const L7& l7 = *view.flow.l7;
        const L7::Dns& dns = l7.dns;
        if (ignore_aaaa_ && dns.question_types.size() == 1 && dns.question_types[0] == 28) return;
        const std::string qtypes = qtypes_word(dns.question_types);
        const std::string ips = std::to_string(dns.addresses.size());
        if (!forwarded(view)) {
            count(queries_, view.ends, with_query(l7, {"Policy denied", qtypes, ips}), out);
        } else if (l7.type == L7::Type::request) {
            count(queries_, view.ends, with_query(l7, {"", qtypes, ips}), out);
        } else {
            count(responses_, view.ends, with_query(l7, {rcode_word(l7.code), qtypes, ips}), out);
            for (const std::uint16_t type : dns.answer_types)
                count(types_, view.ends, with_query(l7, {qtype_word(type), qtypes}), out);
        }
    }
    bool remove_pods(const std::unordered_set<std::string>& pods) override {
        bool any = queries_.remove_pods(pods);
        any = responses_.remove_pods(pods) || any;
        return types_.remove_pods(pods) || any;
    }

private:
    [[nodiscard]] Values labels(Values own) const {
        if (query_) own.emplace_back("query");
        return own;
    }
    [[nodiscard]] Values with_query(const L7& l7, Values own) const {
        if (query_) own.push_back(l7.resource);
        return own;
    }

    bool query_;
    bool ignore_aaaa_;
    Series<Counter> queries_;
    Series<Counter> responses_;
    Series<Counter> types_;
};

constexpr const char* kDurationHelp = "From the request's first byte to the answer's";

class Http final : public Base {
public:
    Http(const Enabled& enabled, const Shared& shared)
        : Base(enabled, shared), requests_(counter("hubble_http_requests_total", "HTTP requests",
                                                   {"method", "protocol", "reporter"})),
          responses_(counter("hubble_http_responses_total", "HTTP answers",
                             {"method", "protocol", "status", "reporter"})),
          duration_(histogram("hubble_http_request_duration_seconds", kDurationHelp,
                              {"method", "reporter"})) {}

    void see(const EventView& view, Out& out) override {
        if (!view.flow.l7 || !is_http(*view.flow.l7)) return;
        const L7& l7 = *view.flow.l7;
        const std::string reporter(reporter_word(view.event.direction));
        if (l7.type == L7::Type::request)
            return count(requests_, view.ends, {l7.method, l7.version, reporter}, out);
        count(responses_, view.ends, {l7.method, l7.version, http_status(l7), reporter}, out);
        measure(duration_, view.ends, {l7.method, reporter}, out);
    }
    bool remove_pods(const std::unordered_set<std::string>& pods) override {
        bool any = requests_.remove_pods(pods);
        any = responses_.remove_pods(pods) || any;
        return duration_.remove_pods(pods) || any;
    }

private:
    Series<Counter> requests_;
    Series<Counter> responses_;
    Series<Histogram> duration_;
};

// The plugins that keep a counter and a time for each answer, in the request's view, differ in their labels. The last label of
// both is the reporter.
struct RequestLabels {
    Values counter;
    std::optional<Values> duration; // nothing: not known
};
struct RequestMetrics {
    const char* plugin;
    const char* counter;
    const char* help;
    Values counter_labels;
    const char* duration;
    Values duration_labels;
    std::optional<RequestLabels> (*read)(const L7&); // nothing: no matter of this plugin
};

class Requests final : public Base {
public:
    Requests(const Enabled& enabled, const Shared& shared, const RequestMetrics& metrics)
        : Base(enabled, shared), read_(metrics.read),
          requests_(counter(metrics.counter, metrics.help, metrics.counter_labels)),
          duration_(histogram(metrics.duration, kDurationHelp, metrics.duration_labels)) {}

    void see(const EventView& view, Out& out) override {
        if (!view.flow.l7 || view.flow.l7->type != L7::Type::response) return;
        auto labels = read_(*view.flow.l7);
        if (!labels) return;
        const std::string reporter(reporter_word(view.event.direction));
        const Ends ends = request_view(view);
        labels->counter.push_back(reporter);
        count(requests_, ends, std::move(labels->counter), out);
        if (!labels->duration) return;
        labels->duration->push_back(reporter);
        measure(duration_, ends, std::move(*labels->duration), out);
    }
    bool remove_pods(const std::unordered_set<std::string>& pods) override {
        const bool any = requests_.remove_pods(pods);
        return duration_.remove_pods(pods) || any;
    }

private:
    std::optional<RequestLabels> (*read_)(const L7&);
    Series<Counter> requests_;
    Series<Histogram> duration_;
};

std::optional<RequestLabels> http_v2(const L7& l7) {
    if (!is_http(l7)) return std::nullopt;
    return RequestLabels{{l7.method, l7.version, http_status(l7)}, Values{l7.method}};
}

std::optional<RequestLabels> kafka(const L7& l7) {
    if (l7.protocol != L7::Protocol::kafka) return std::nullopt;
    return RequestLabels{{l7.resource, l7.method, std::to_string(l7.code)},
                         Values{l7.resource, l7.method}};
}

// Beeline's own, for every protocol alike.
std::optional<RequestLabels> any_l7(const L7& l7) {
    const std::string protocol(model::to_string(l7.protocol));
    const char* status = l7.status == L7::Status::ok      ? "ok"
                         : l7.status == L7::Status::error ? "error"
                                                          : "unknown";
    RequestLabels out{{protocol, status, l7.tls ? "true" : "false"}, std::nullopt};
    if (l7.latency_ns != 0) out.duration = Values{protocol};
    return out;
}

const std::vector<RequestMetrics>& request_plugins() {
    static const std::vector<RequestMetrics> list{
        {"httpV2",
         "hubble_http_requests_total",
         "HTTP requests that were answered",
         {"method", "protocol", "status", "reporter"},
         "hubble_http_request_duration_seconds",
         {"method", "reporter"},
         http_v2},
        {"kafka",
         "hubble_kafka_requests_total",
         "Kafka requests that were answered",
         {"topic", "api_key", "error_code", "reporter"},
         "hubble_kafka_request_duration_seconds",
         {"topic", "api_key", "reporter"},
         kafka},
        {"l7",
         "beeline_l7_requests_total",
         "Answered requests of any protocol",
         {"protocol", "status", "tls", "reporter"},
         "beeline_l7_request_duration_seconds",
         {"protocol", "reporter"},
         any_l7},
    };
    return list;
}

struct Simple {
    const char* plugin;
    const char* name;
    const char* help;
    Values labels;
    void (*when)(const EventView&, const Emit&);
};

const std::vector<Simple>& simple_plugins() {
    static const std::vector<Simple> list{
        {"flow",
         "hubble_flows_processed_total",
         "Flows by what happened",
         {"protocol", "type", "subtype", "verdict"},
         flow},
        {"flows-per-pod",
         "hubble_flows_per_pod_total",
         "Flows by pod, as the contexts name it",
         {"protocol", "verdict"},
         flows_per_pod},
        {"drop", "hubble_drop_total", "Dropped packets by reason", {"reason", "protocol"}, drop},
        {"icmp", "hubble_icmp_total", "ICMP messages", {"family", "type"}, icmp},
        {"port-distribution",
         "hubble_port_distribution_total",
         "Flows by destination port",
         {"protocol", "port"},
         port_distribution},
        {"tcp", "hubble_tcp_flags_total", "TCP packets with these flags", {"flag", "family"}, tcp},
        {"sctp",
         "hubble_sctp_chunk_types_total",
         "SCTP handshakes by chunk",
         {"chunk_type", "family"},
         sctp},
        {"policy",
         "hubble_policy_verdicts_total",
         "Decisions of network policy",
         {"direction", "match", "action"},
         policy},
    };
    return list;
}

std::unique_ptr<Plugin> make_to_world(const Enabled& enabled, const Shared& shared) {
    const bool any_drop = enabled.flags.contains("any-drop");
    const bool port = enabled.flags.contains("port");
    const bool syn_only = enabled.flags.contains("syn-only");
    Values labels{"protocol", "verdict"};
    if (port) labels.emplace_back("port");
    return std::make_unique<OneCounter>(enabled, shared, "hubble_flows_to_world_total",
                                        "Flows to addresses outside the cluster", std::move(labels),
                                        [=](const EventView& view, const Emit& emit) {
                                            to_world(view, emit, any_drop, port, syn_only);
                                        });
}

} // namespace

std::unique_ptr<Plugin> make_plugin(const Enabled& enabled, const Shared& shared) {
    for (const Simple& one : simple_plugins()) {
        if (enabled.name == one.plugin)
            return std::make_unique<OneCounter>(enabled, shared, one.name, one.help, one.labels,
                                                one.when);
    }
    if (enabled.name == "flows-to-world") return make_to_world(enabled, shared);
    if (enabled.name == "dns") return std::make_unique<Dns>(enabled, shared);
    if (enabled.name == "http") return std::make_unique<Http>(enabled, shared);
    for (const RequestMetrics& one : request_plugins()) {
        if (enabled.name == one.plugin) return std::make_unique<Requests>(enabled, shared, one);
    }
    return nullptr;
}

} // namespace beeline::observe::metrics
