// Hourly sums of flows: who talked to whom, through what, with which verdict, and how much.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "model/flow.h"
#include "observe/history/database.h"
#include "observe/record.h"

namespace beeline::observe::history {

struct EdgeCounts {
    std::uint64_t connections = 0; // opened
    std::uint64_t closed = 0;
    std::uint64_t drops = 0;                // dropped and revoked
    std::array<std::uint64_t, 2> packets{}; // of closed connections; [0] of the source
    std::array<std::uint64_t, 2> bytes{};
    std::uint64_t requests = 0;
    std::uint64_t responses = 0;
    std::uint64_t errors = 0;     // of responses
    std::uint64_t latency_ns = 0; // of responses, together
};

struct EdgeEnd {
    model::FlowEnd::Kind kind = model::FlowEnd::Kind::world;
    std::string space;   // of workloads
    std::string name;    // of workloads; of others a DNS name
    std::string address; // of others; empty: many
};

struct Edge {
    std::int64_t hour_ns = 0; // its beginning, CLOCK_REALTIME
    EdgeEnd source;
    EdgeEnd destination;
    std::string service;
    std::string rule;       // that decided; of a default deny the policies that select the workload
    std::uint16_t port = 0; // of the service, or of the destination; 0: none, or many
    model::Protocol protocol = model::Protocol::any;
    model::Flow::Verdict verdict = model::Flow::Verdict::forwarded;
    std::uint8_t reason = 0;
    EdgeCounts counts;
};

struct EdgeQuery {
    std::optional<std::int64_t> since_ns; // hours that end after it
    std::optional<std::int64_t> until_ns; // hours that begin before it
    std::vector<std::string> pods;        // either end, as in FlowFilter
    std::size_t limit = 20'000;           // the newest hours first
};

struct EdgeList {
    std::vector<Edge> edges;
    std::uint64_t lost = 0; // flows of these hours that are not counted
    bool truncated = false;
};

// Opens the file for itself. Any thread.
Result<EdgeList> read_edges(const std::string& path, const EdgeQuery& query);

// Sums of the flows of one transaction. One thread.
class EdgeSums {
public:
    // What a context contributes to the edges of its flows; computed once for each.
    struct Ends {
        std::string source;
        std::string destination;
        std::string service;
        std::string rule;
        std::uint16_t service_port = 0;
        model::Protocol protocol = model::Protocol::any;
        std::uint8_t reason = 0;
        std::array<std::uint32_t, 4> ids{}; // of the texts, once they are known
        std::uint64_t generation = 0;       // that the ids are of
    };
    static Ends ends(const model::Flow& flow);

    void add(Ends& ends, const RecordView& record);
    void add_lost(std::int64_t time_ns, std::uint64_t count);
    // Within a transaction. After a failure or a rollback: forget_texts().
    Result<> write(const Database& database);
    void clear();
    void forget_texts();

private:
    static constexpr std::size_t kEdgesInHour = 20'000; // then addresses and ports are summed up
    static constexpr std::size_t kTexts = 64 * 1024;

    struct Key {
        std::int64_t hour;
        std::array<std::uint32_t, 4> texts; // source, destination, service, rule
        std::uint16_t port;
        std::uint8_t protocol;
        std::uint8_t verdict;
        std::uint8_t reason;
        std::array<std::uint8_t, 3> pad;
        bool operator==(const Key&) const = default;
    };
    static_assert(std::has_unique_object_representations_v<Key>);
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept;
    };

    std::uint32_t local(const std::string& text);
    Key bounded(Key key, const Ends& ends);
    Result<std::int64_t> stored(std::uint32_t text, Statement& find, Statement& insert);

    std::unordered_map<Key, EdgeCounts, Hash> sums_;
    std::unordered_map<std::int64_t, std::uint64_t> lost_; // by hour
    std::unordered_set<Key, Hash> hour_;                   // what the newest hour has
    std::int64_t newest_hour_ = 0;
    // Numbers of texts in this process, and in the database.
    std::unordered_map<std::string, std::uint32_t> locals_;
    std::vector<std::string> texts_;
    std::vector<std::int64_t> stored_; // 0: not known
    std::uint64_t generation_ = 1;
};

} // namespace beeline::observe::history
