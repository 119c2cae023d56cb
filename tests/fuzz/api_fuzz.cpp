// libs: beeline_api_server
// Requests of the local API, "METHOD TARGET" and the body behind a line break: whatever the bytes are, the answer is a
// JSON document with a status, and what reaches the backend is in range.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <nlohmann/json.hpp>

#include "api/server/v1.h"
#include "security/events/event.h"

using namespace beeline;
using nlohmann::json;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void require_name(const std::string& name) {
    require(!name.empty());
    for (const char c : name)
        require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

class Nothing : public api::LineStream {
public:
    std::optional<std::string> next(std::chrono::milliseconds) override { return {}; }
    [[nodiscard]] bool done() const override { return true; }
};

class CheckingBackend : public api::Backend {
public:
    Result<json> status() override { return json::object(); }
    Result<json> workloads() override { return json::object(); }
    Result<json> services() override { return fail(Code::unavailable, "no services"); }
    Result<json> objects(const api::ObjectQuery& query) override {
        return json{
            {"kind", query.kind}, {"name", query.name}, {"namespace", query.space.value_or("")}};
    }
    Result<json> apply(const std::string& yaml, bool) override {
        require(!yaml.empty());
        return json::object();
    }
    Result<json> remove(const std::string& kind, const model::ObjectName& name) override {
        require_name(kind);
        require_name(name.name);
        return json{{"kind", kind}, {"name", name.to_string()}};
    }
    Result<std::unique_ptr<api::LineStream>> flows(const observe::FlowFilter& filter) override {
        for (const auto& pod : filter.pods)
            require_name(pod);
        for (const auto& pod : filter.to_pods)
            require_name(pod);
        for (const auto port : filter.ports)
            require(port != 0);
        for (const auto protocol : filter.protocols)
            require(protocol != model::Protocol::any);
        // 100 years before now at the earliest, 2201 at the latest.
        if (filter.since_ns) require(*filter.since_ns / 1'000'000'000 > -3'200'000'000LL);
        if (filter.since_ns) require(*filter.since_ns / 1'000'000'000 < 7'300'000'000LL);
        return std::make_unique<Nothing>();
    }
    Result<json> explain(const api::ExplainQuery& query) override {
        const bool ports = query.protocol == model::Protocol::tcp ||
                           query.protocol == model::Protocol::udp ||
                           query.protocol == model::Protocol::sctp;
        require(ports == (query.port != 0));
        for (const auto& end : {query.source, query.destination})
            require((end.kind == api::ExplainEnd::Kind::workload) == !end.name.name.empty());
        return json::object();
    }
    Result<json> why(const api::WhyQuery&) override { return {}; }
    Result<json> top(std::int64_t) override { return {}; }
    Result<json> maps() override { return json::object(); }
    Result<json> map(const std::string& name, std::size_t limit) override {
        require_name(name);
        require(limit > 0);
        return json{{"name", name}};
    }
    Result<std::unique_ptr<api::LineStream>> alerts(const security::AlertFilter& filter) override {
        for (const auto& pod : filter.workloads)
            require_name(pod);
        for (const auto pid : filter.pids)
            require(pid != 0);
        return std::make_unique<Nothing>();
    }
    Result<std::unique_ptr<api::LineStream>> events(const api::EventQuery& query) override {
        for (const auto kind : query.kinds)
            require(!security::kind_name(kind).empty());
        return std::make_unique<Nothing>();
    }
    Result<std::unique_ptr<api::LineStream>> record(bool) override {
        return std::make_unique<Nothing>();
    }
    Result<json> rules() override { return json::object(); }
    Result<json> reload_rules() override { return json::object(); }
    Result<api::CniReply> cni(const api::CniCall& call) override {
        require(call.config.is_object());
        return api::CniReply{};
    }
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static CheckingBackend backend;
    static const api::Router kRouter = api::v1_routes(backend);

    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::string_view line = input.substr(0, input.find('\n'));
    const std::string_view method = line.substr(0, line.find(' '));
    const std::string_view target = line.substr(std::min(method.size() + 1, line.size()));

    auto match = kRouter.match(method, target);
    if (match) match->request.body = input.substr(std::min(line.size() + 1, input.size()));
    const api::Reply reply = match ? api::Router::run(*match) : std::move(match.error());
    require(reply.status >= 200 && reply.status < 600 && reply.status != 500);
    require((reply.status == 405) == !reply.allow.empty());
    if (reply.content_type == "application/json") require(json::accept(reply.body));
    return 0;
}
