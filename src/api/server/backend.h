// What the local API asks of the agent: one method per call. The server has checked every parameter
// before it calls.
//
// Methods run on the server's threads, several at a time; an implementation moves to the control
// loop with loop.call(). They may take as long as they need, but Server::stop() waits for them.
// Each returns the document that docs/api.md describes; an Error becomes the HTTP status of its
// code.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"
#include "model/objects.h"
#include "model/protocol.h"
#include "net/address.h"
#include "observe/filter.h"
#include "observe/history/edges.h"
#include "security/outputs/alert_store.h"

namespace beeline::api {

// Lines of JSON for one client. Used by one thread; destroyed when the client is gone.
class LineStream {
public:
    virtual ~LineStream() = default;
    // The next line without its newline, waiting up to `wait` for one. Nothing: there was none, or
    // done().
    virtual std::optional<std::string> next(std::chrono::milliseconds wait) = 0;
    // Nothing will come any more.
    [[nodiscard]] virtual bool done() const = 0;
    // Bytes that are passed on as they are: no newline is added.
    [[nodiscard]] virtual bool raw() const { return false; }
};

struct EventQuery {
    std::vector<std::uint16_t> kinds;    // empty: every
    std::vector<std::string> workloads;  // "shop/web", "shop/", "web"
    std::vector<std::string> containers; // beginnings of ids
    std::vector<std::uint32_t> pids;     // the process or an ancestor
};

struct ObjectQuery {
    std::string kind;                 // any case; empty: every kind
    std::optional<std::string> space; // "" selects cluster-wide kinds
    std::string name;                 // empty: every name
};

struct ExplainEnd {
    enum class Kind { workload, address, host };
    Kind kind = Kind::host;
    model::ObjectName name; // of a workload
    net::Ip address;        // of an address
};

struct ExplainQuery {
    ExplainEnd source;
    ExplainEnd destination;
    model::Protocol protocol = model::Protocol::tcp;
    std::uint16_t port = 0; // 0 for protocols without ports
};

// Which part of the service map. All members empty: all of it.
struct MapQuery {
    std::string cursor; // of an earlier answer: only what changed since
    bool follow = false;
};

struct MapSeriesQuery {
    std::string node; // its edges; or one edge:
    std::string from;
    std::string to;
};

struct MatrixQuery {
    std::vector<std::string> spaces; // namespaces of either end; empty: all
    std::optional<model::Protocol> protocol;
    std::optional<std::uint16_t> port; // empty: the ports that the receivers are known for
    std::size_t limit = 40;            // groups of workloads
};

struct WhyQuery {
    std::string source;      // "shop/client", an address, "host"
    std::string destination; // also "service/shop/web", or a DNS name
    model::Protocol protocol = model::Protocol::tcp;
    std::uint16_t port = 0; // 0: the one that there is
};

// A call of the CNI plugin; members that the verb does not need can be empty.
struct CniCall {
    std::string verb;      // "add", "del", "check", "gc", "status"
    std::string container; // CNI_CONTAINERID
    std::string netns;     // CNI_NETNS
    std::string interface; // CNI_IFNAME
    std::string args;      // CNI_ARGS
    std::string path;      // CNI_PATH
    nlohmann::json config; // the network configuration, an object
};

// `code` 0: success with `result` ({} for verbs without one). Others are error codes of the CNI
// specification.
struct CniReply {
    unsigned code = 0;
    std::string message;
    std::string details;
    nlohmann::json result = nlohmann::json::object();
};

class Backend {
public:
    virtual ~Backend() = default;

    virtual Result<nlohmann::json> status() = 0;
    virtual Result<nlohmann::json> workloads() = 0;
    virtual Result<nlohmann::json> services() = 0;
    virtual Result<nlohmann::json> objects(const ObjectQuery& query) = 0;
    // All or nothing; returns when it is enforced. `yaml` is not empty.
    virtual Result<nlohmann::json> apply(const std::string& yaml, bool dry_run) = 0;
    // `kind` in any case; `name.space` is empty for cluster-wide kinds.
    virtual Result<nlohmann::json> remove(const std::string& kind,
                                          const model::ObjectName& name) = 0;
    virtual Result<std::unique_ptr<LineStream>> flows(const observe::FlowFilter& filter) = 0;
    // Hourly sums of the flow history.
    virtual Result<nlohmann::json> edges(const observe::history::EdgeQuery&) {
        return fail(Code::unavailable, "there is no flow history");
    }
    virtual Result<nlohmann::json> explain(const ExplainQuery& query) = 0;
    virtual Result<nlohmann::json> why(const WhyQuery& query) = 0;
    // What each workload did in the last `window_ns`.
    virtual Result<nlohmann::json> top(std::int64_t window_ns) = 0;
    // The `limit` newest drops of the kernel's own.
    virtual Result<nlohmann::json> kernel_drops(std::size_t) {
        return fail(Code::unavailable, "this agent does not see the kernel's drops");
    }
    virtual Result<nlohmann::json> maps() = 0;
    virtual Result<nlohmann::json> map(const std::string& name, std::size_t limit) = 0;
    virtual Result<std::unique_ptr<LineStream>> alerts(const security::AlertFilter& filter) = 0;
    // Live ones, as they come.
    virtual Result<std::unique_ptr<LineStream>> events(const EventQuery& query) = 0;
    // A recording (security/events/recording.h). `all`: not only what the loaded rules need.
    virtual Result<std::unique_ptr<LineStream>> record(bool all) = 0;
    virtual Result<nlohmann::json> rules() = 0;
    virtual Result<nlohmann::json> reload_rules() = 0;
    // Lines that are JSON objects: one, or when following one a second.
    virtual Result<std::unique_ptr<LineStream>> service_map(const MapQuery&) { return no_map(); }
    // JSON text.
    virtual Result<std::string> map_series(const MapSeriesQuery&) { return no_map(); }
    virtual Result<nlohmann::json> workload(const model::ObjectName&) { return no_map(); }
    virtual Result<nlohmann::json> policy_matrix(const MatrixQuery&) { return no_map(); }
    // An Error here becomes a CNI error with a code that fits it.
    virtual Result<CniReply> cni(const CniCall& call) = 0;

private:
    static Failure no_map() { return fail(Code::unavailable, "this agent keeps no service map"); }
};

} // namespace beeline::api
