#include "api/server/v1.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>

#include "api/server/l7_query.h"
#include "security/events/event.h"

namespace beeline::api {
namespace {

constexpr std::uint64_t kMaxLast = 10'000'000;
constexpr std::uint64_t kEdges = 20'000;
constexpr std::uint64_t kMaxEdges = 1'000'000;
constexpr std::uint64_t kMaxMapEntries = 10'000'000;
constexpr std::uint64_t kKernelDrops = 100;
constexpr std::uint64_t kMaxKernelDrops = 4096;
constexpr std::uint64_t kMaxMatrix = 200;
constexpr std::int64_t kTopWindowNs = 10'000'000'000;
constexpr std::int64_t kLeastTopWindowNs = 100'000'000;
constexpr std::int64_t kMostTopWindowNs = 3600'000'000'000;
constexpr std::size_t kMapEntries = 1000; // shown when no limit is given

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
    });
    return text;
}

Result<Reply> document(Result<nlohmann::json> result) {
    return result.map([](const nlohmann::json& value) { return json_reply(value); });
}

Result<std::vector<model::Flow::Verdict>> verdicts(const Query& query) {
    std::vector<model::Flow::Verdict> out;
    for (const auto& value : query.all("verdict")) {
        const std::string text = lower(value);
        if (text == "forwarded")
            out.push_back(model::Flow::Verdict::forwarded);
        else if (text == "dropped")
            out.push_back(model::Flow::Verdict::dropped);
        else
            return fail(Code::invalid, "parameter 'verdict': '{}' is not one of forwarded, dropped",
                        value);
    }
    return out;
}

Result<std::vector<std::uint32_t>> pids(const Query& query) {
    std::vector<std::uint32_t> out;
    for (const auto& value : query.all("pid")) {
        std::uint32_t pid = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), pid);
        if (error != std::errc{} || end != value.data() + value.size() || pid == 0)
            return fail(Code::invalid, "parameter 'pid': '{}' is not a process number", value);
        out.push_back(pid);
    }
    return out;
}

Result<Reply> flows(Backend& backend, const Query& query) {
    observe::FlowFilter flows;
    flows.follow = TRY(query.flag("follow"));
    flows.since_ns = TRY(query.moment("since", now_ns()));
    flows.until_ns = TRY(query.moment("until", now_ns()));
    flows.first = TRY(query.number("first", 0, kMaxLast));
    flows.last = TRY(query.number("last", 0, kMaxLast));
    if (flows.follow && flows.until_ns)
        return fail(Code::invalid, "parameters 'follow' and 'until' exclude each other");
    if (flows.first && flows.last)
        return fail(Code::invalid, "parameters 'first' and 'last' exclude each other");
    flows.pods = TRY(query.workloads("pod"));
    flows.to_pods = TRY(query.workloads("to_pod"));
    flows.verdicts = TRY(verdicts(query));
    TRY(read_l7(query, flows));
    flows.ports = TRY(query.ports("port"));
    flows.pids = TRY(pids(query));
    Reply reply;
    reply.content_type = "application/jsonl";
    reply.stream = TRY(backend.flows(flows));
    return reply;
}

Result<Reply> edges(Backend& backend, const Query& query) {
    observe::history::EdgeQuery edges;
    edges.since_ns = TRY(query.moment("since", now_ns()));
    edges.until_ns = TRY(query.moment("until", now_ns()));
    edges.pods = TRY(query.workloads("pod"));
    edges.limit = TRY(query.number("limit", 1, kMaxEdges)).value_or(kEdges);
    return document(backend.edges(edges));
}

Result<Reply> stream_of(Result<std::unique_ptr<LineStream>> lines, std::string_view type) {
    Reply reply;
    reply.content_type = type;
    reply.stream = TRY(std::move(lines));
    return reply;
}

Result<Reply> alerts(Backend& backend, const Query& query) {
    security::AlertFilter filter;
    filter.follow = TRY(query.flag("follow"));
    filter.since_ns = TRY(query.moment("since", now_ns()));
    filter.last = TRY(query.number("last", 0, kMaxLast));
    if (query.has("priority")) {
        filter.least = model::parse_priority(query.text("priority"));
        if (!filter.least) {
            return fail(Code::invalid,
                        "parameter 'priority': '{}' is not one of emergency, alert, critical, "
                        "error, warning, notice, informational, debug",
                        query.text("priority"));
        }
    }
    filter.rules = query.all("rule");
    filter.tags = query.all("tag");
    filter.workloads = TRY(query.workloads("pod"));
    filter.containers = query.all("container");
    filter.pids = TRY(pids(query));
    return stream_of(backend.alerts(filter), "application/jsonl");
}

Result<Reply> events(Backend& backend, const Query& query) {
    EventQuery events;
    for (const auto& name : query.all("kind")) {
        const auto kind = security::kind_of(name);
        if (kind == 0) {
            return fail(Code::invalid,
                        "parameter 'kind': '{}' is no kind of event ('beeline rules fields' "
                        "lists them)",
                        name);
        }
        events.kinds.push_back(kind);
    }
    events.workloads = TRY(query.workloads("pod"));
    events.containers = query.all("container");
    events.pids = TRY(pids(query));
    return stream_of(backend.events(events), "application/jsonl");
}

Result<ExplainEnd> explain_end(const Query& query, std::string_view parameter) {
    const std::string text = query.text(parameter);
    if (text == "host") return ExplainEnd{};
    if (const auto address = net::Ip::parse(text))
        return ExplainEnd{.kind = ExplainEnd::Kind::address, .name = {}, .address = *address};
    if (auto name = parse_object_name(text))
        return ExplainEnd{
            .kind = ExplainEnd::Kind::workload, .name = std::move(*name), .address = {}};
    return fail(Code::invalid,
                "parameter '{}': '{}' is not a workload (NAMESPACE/NAME), an address or 'host'",
                parameter, text);
}

bool has_ports(model::Protocol protocol) {
    return protocol == model::Protocol::tcp || protocol == model::Protocol::udp ||
           protocol == model::Protocol::sctp;
}

Result<Reply> explain(Backend& backend, const Query& query) {
    ExplainQuery explain;
    explain.source = TRY(explain_end(query, "source"));
    explain.destination = TRY(explain_end(query, "destination"));
    if (const auto protocols = TRY(query.protocols("protocol")); !protocols.empty())
        explain.protocol = protocols[0];
    if (const auto ports = TRY(query.ports("port")); !ports.empty()) explain.port = ports[0];
    if (has_ports(explain.protocol) != (explain.port != 0)) {
        return fail(Code::invalid, "parameter 'port': {} {}", model::to_string(explain.protocol),
                    explain.port == 0 ? "needs one" : "has no ports");
    }
    return document(backend.explain(explain));
}

// A cursor and an id are opaque: what is no cursor gets the whole map, what is no id is not found.
constexpr std::size_t kMaxId = 600;

Result<std::string> map_id(const Query& query, std::string_view name) {
    std::string id = query.text(name);
    if (id.size() > kMaxId)
        return fail(Code::invalid, "parameter '{}' is longer than {} bytes", name, kMaxId);
    return id;
}

Result<Reply> service_map(Backend& backend, const Query& query) {
    MapQuery map;
    map.cursor = TRY(map_id(query, "cursor"));
    map.follow = TRY(query.flag("follow"));
    Reply reply;
    reply.content_type = map.follow ? "application/jsonl" : "application/json";
    reply.stream = TRY(backend.service_map(map));
    return reply;
}

Result<Reply> map_series(Backend& backend, const Query& query) {
    MapSeriesQuery series;
    series.node = TRY(map_id(query, "node"));
    series.from = TRY(map_id(query, "from"));
    series.to = TRY(map_id(query, "to"));
    if (series.from.empty() != series.to.empty() || (!series.node.empty() && !series.to.empty()))
        return fail(Code::invalid, "give 'node', or both 'from' and 'to', or none of them");
    Reply reply;
    reply.body = TRY(backend.map_series(series)) + "\n";
    return reply;
}

Result<Reply> policy_matrix(Backend& backend, const Query& query) {
    MatrixQuery matrix;
    matrix.spaces = query.all("namespace");
    if (const auto protocols = TRY(query.protocols("protocol")); !protocols.empty())
        matrix.protocol = protocols[0];
    if (const auto ports = TRY(query.ports("port")); !ports.empty()) {
        matrix.port = ports[0];
        if (!matrix.protocol) matrix.protocol = model::Protocol::tcp;
    }
    if (matrix.protocol && has_ports(*matrix.protocol) != matrix.port.has_value()) {
        return fail(Code::invalid, "parameter 'port': {} {}", model::to_string(*matrix.protocol),
                    matrix.port ? "has no ports" : "needs one");
    }
    matrix.limit = TRY(query.number("limit", 1, kMaxMatrix)).value_or(matrix.limit);
    return document(backend.policy_matrix(matrix));
}

Result<Reply> why(Backend& backend, const Query& query) {
    WhyQuery why;
    why.source = query.text("source");
    why.destination = query.text("destination");
    for (const auto* name : {"source", "destination"})
        if (query.text(name).empty()) return fail(Code::invalid, "parameter '{}' is missing", name);
    if (const auto protocols = TRY(query.protocols("protocol")); !protocols.empty())
        why.protocol = protocols[0];
    if (const auto ports = TRY(query.ports("port")); !ports.empty()) why.port = ports[0];
    if (why.port != 0 && !has_ports(why.protocol))
        return fail(Code::invalid, "parameter 'port': {} has no ports",
                    model::to_string(why.protocol));
    return document(backend.why(why));
}

Result<Reply> top(Backend& backend, const Query& query) {
    std::int64_t window_ns = kTopWindowNs;
    if (query.has("window")) window_ns = TRY(parse_duration(query.text("window")));
    if (window_ns < kLeastTopWindowNs || window_ns > kMostTopWindowNs)
        return fail(Code::invalid, "parameter 'window': expected 100ms to 1h");
    return document(backend.top(window_ns));
}

Result<Reply> apply(Backend& backend, const Request& request) {
    const bool dry_run = TRY(request.query.flag("dry_run"));
    if (request.body.find_first_not_of(" \t\r\n") == std::string::npos)
        return fail(Code::invalid,
                    "the body is empty: send the objects as YAML, several with '---' between them");
    return document(backend.apply(request.body, dry_run));
}

Result<Reply> objects(Backend& backend, const Query& query) {
    ObjectQuery objects;
    objects.kind = query.text("kind");
    objects.name = query.text("name");
    if (query.has("namespace")) {
        objects.space = query.text("namespace");
        if (objects.space == "-") objects.space = "";
    }
    return document(backend.objects(objects));
}

Result<Reply> remove(Backend& backend, const Request& request) {
    const std::string& space = request.captures.at(1);
    return document(
        backend.remove(request.captures.at(0),
                       model::ObjectName{space == "-" ? "" : space, request.captures.at(2)}));
}

Result<Reply> dump_map(Backend& backend, const Request& request) {
    const auto limit = TRY(request.query.number("limit", 1, kMaxMapEntries));
    return document(backend.map(request.captures.at(0), limit.value_or(kMapEntries)));
}

// --- CNI: errors have the form of the CNI specification

constexpr unsigned kCniUnsupportedField = 2;
constexpr unsigned kCniUnknownContainer = 3;
constexpr unsigned kCniInvalidEnvironment = 4;
constexpr unsigned kCniDecode = 6;
constexpr unsigned kCniInvalidConfig = 7;
constexpr unsigned kCniTryLater = 11;
constexpr unsigned kCniUnavailable = 50;
constexpr unsigned kCniLimited = 51;
constexpr unsigned kCniOther = 999;

int cni_http_status(unsigned code) {
    switch (code) {
    case kCniTryLater:
    case kCniUnavailable:
    case kCniLimited: return 503;
    case kCniUnknownContainer: return 404;
    default: return code <= kCniInvalidConfig ? 400 : 500;
    }
}

unsigned cni_code(Code code) {
    switch (code) {
    case Code::invalid: return kCniInvalidConfig;
    case Code::not_found: return kCniUnknownContainer;
    case Code::unsupported: return kCniUnsupportedField;
    case Code::unavailable:
    case Code::exhausted: return kCniTryLater;
    default: return kCniOther;
    }
}

Reply cni_failure(const nlohmann::json& config, unsigned code, const std::string& message,
                  const std::string& details = {}) {
    nlohmann::json body{{"cniVersion", "1.0.0"}, {"code", code}, {"msg", message}};
    if (config.is_object() && config.contains("cniVersion") && config["cniVersion"].is_string())
        body["cniVersion"] = config["cniVersion"];
    if (!details.empty()) body["details"] = details;
    return json_reply(body, cni_http_status(code));
}

// What a verb must be told.
std::string_view missing_for(const CniCall& call) {
    if (call.verb == "gc" || call.verb == "status") return {};
    if (call.container.empty()) return "container";
    if (call.interface.empty()) return "interface";
    if (call.netns.empty() && call.verb != "del") return "netns";
    return {};
}

Reply cni(Backend& backend, const Request& request) {
    CniCall call;
    call.verb = request.captures.at(0);
    static constexpr std::array<std::string_view, 5> kVerbs{"add", "del", "check", "gc", "status"};
    if (std::find(kVerbs.begin(), kVerbs.end(), call.verb) == kVerbs.end()) {
        return error_reply(
            Error{Code::not_found, 0,
                  fmt::format("'{}' is not a CNI verb: add, del, check, gc, status", call.verb)});
    }
    auto body = nlohmann::json::parse(request.body, nullptr, false);
    if (!body.is_object()) return cni_failure({}, kCniDecode, "the body is not a JSON object");
    for (auto& [key, value] : body.items()) {
        std::string* text = key == "container"   ? &call.container
                            : key == "netns"     ? &call.netns
                            : key == "interface" ? &call.interface
                            : key == "args"      ? &call.args
                            : key == "path"      ? &call.path
                                                 : nullptr;
        if (text != nullptr && value.is_string())
            *text = value;
        else if (text != nullptr)
            return cni_failure({}, kCniDecode, fmt::format("'{}' is not a string", key));
        else if (key == "config")
            call.config = std::move(value);
        else
            return cni_failure({}, kCniDecode,
                               fmt::format("unknown member '{}': known are container, netns, "
                                           "interface, args, path, config",
                                           key));
    }
    if (!call.config.is_object())
        return cni_failure({}, kCniInvalidConfig,
                           "'config' is not an object: send the network configuration");
    if (const auto missing = missing_for(call); !missing.empty())
        return cni_failure(call.config, kCniInvalidEnvironment,
                           fmt::format("'{}' is missing", missing));
    const auto reply = backend.cni(call);
    if (!reply)
        return cni_failure(call.config, cni_code(reply.error().code), reply.error().message);
    if (reply->code != 0)
        return cni_failure(call.config, reply->code, reply->message, reply->details);
    return json_reply(reply->result);
}

} // namespace

std::string_view openapi_document() {
    static constexpr std::string_view kText =
#include "openapi.inc"
        ;
    return kText;
}

Router v1_routes(Backend& backend) {
    Router router;
    const auto get = [&](std::string pattern, std::function<Result<Reply>(const Request&)> handle,
                         std::vector<Parameter> parameters = {}) {
        router.add({"GET", std::move(pattern), std::move(parameters), std::move(handle)});
    };
    Backend* agent = &backend;
    get("/v1/status", [=](const Request&) { return document(agent->status()); });
    get("/v1/workloads", [=](const Request&) { return document(agent->workloads()); });
    get("/v1/workloads/{namespace}/{name}", [=](const Request& request) {
        return document(agent->workload({request.captures.at(0), request.captures.at(1)}));
    });
    get("/v1/map", [=](const Request& request) { return service_map(*agent, request.query); },
        {{"cursor"}, {"follow"}});
    get("/v1/map/series", [=](const Request& request) { return map_series(*agent, request.query); },
        {{"node"}, {"from"}, {"to"}});
    get("/v1/services", [=](const Request&) { return document(agent->services()); });
    get("/v1/objects", [=](const Request& request) { return objects(*agent, request.query); },
        {{"kind"}, {"namespace"}, {"name"}});
    router.add({"POST", "/v1/objects", {{"dry_run"}}, [=](const Request& request) {
                    return apply(*agent, request);
                }});
    router.add({"DELETE", "/v1/objects/{kind}/{namespace}/{name}", {}, [=](const Request& request) {
                    return remove(*agent, request);
                }});
    get("/v1/flows", [=](const Request& request) { return flows(*agent, request.query); },
        {{"follow"},
         {"since"},
         {"until"},
         {"first"},
         {"last"},
         {"pod", true},
         {"to_pod", true},
         {"verdict", true},
         {"protocol", true},
         {"port", true},
         {"pid", true},
         {"l7"},
         {"status", true},
         {"method", true},
         {"path", true}});
    get("/v1/edges", [=](const Request& request) { return edges(*agent, request.query); },
        {{"since"}, {"until"}, {"limit"}, {"pod", true}});
    get("/v1/alerts", [=](const Request& request) { return alerts(*agent, request.query); },
        {{"follow"},
         {"since"},
         {"last"},
         {"priority"},
         {"rule", true},
         {"tag", true},
         {"pod", true},
         {"container", true},
         {"pid", true}});
    get("/v1/events", [=](const Request& request) { return events(*agent, request.query); },
        {{"kind", true}, {"pod", true}, {"container", true}, {"pid", true}});
    get("/v1/record",
        [=](const Request& request) -> Result<Reply> {
            const bool all = TRY(request.query.flag("all"));
            return stream_of(agent->record(all), "application/octet-stream");
        },
        {{"all"}});
    get("/v1/rules", [=](const Request&) { return document(agent->rules()); });
    router.add({"POST", "/v1/rules/reload", {}, [=](const Request&) -> Result<Reply> {
                    return document(agent->reload_rules());
                }});
    get("/v1/policy/explain",
        [=](const Request& request) { return explain(*agent, request.query); },
        {{"source"}, {"destination"}, {"port"}, {"protocol"}});
    get("/v1/policy/matrix",
        [=](const Request& request) { return policy_matrix(*agent, request.query); },
        {{"namespace", true}, {"port"}, {"protocol"}, {"limit"}});
    get("/v1/why", [=](const Request& request) { return why(*agent, request.query); },
        {{"source"}, {"destination"}, {"port"}, {"protocol"}});
    get("/v1/kernel-drops",
        [=](const Request& request) -> Result<Reply> {
            const auto limit = TRY(request.query.number("limit", 1, kMaxKernelDrops));
            return document(agent->kernel_drops(limit.value_or(kKernelDrops)));
        },
        {{"limit"}});
    get("/v1/top", [=](const Request& request) { return top(*agent, request.query); },
        {{"window"}});
    get("/v1/maps", [=](const Request&) { return document(agent->maps()); });
    get("/v1/maps/{name}", [=](const Request& request) { return dump_map(*agent, request); },
        {{"limit"}});
    router.add({"POST", "/v1/cni/{verb}", {}, [=](const Request& request) -> Result<Reply> {
                    return cni(*agent, request);
                }});
    get("/v1/openapi", [](const Request&) -> Result<Reply> {
        return Reply{.content_type = "application/yaml", .body = std::string(openapi_document())};
    });
    return router;
}

} // namespace beeline::api
