// The service map: who talks to whom, how much, how well, and what was refused, over the last five minutes.
//
// Fed with records of the flow store, in any order within that time; whoever owns it decides when (src/agent/service_map.h
// does so only while somebody looks). Single-threaded. Nodes are workloads, this host, and the world by DNS name (as the
// machine's own look-ups resolved it) or else by network; edges are directed, from client to server.
//
// Bytes are known when a connection ends; they are spread evenly over its life, so that a chart shows a long download as
// what it was. Everything is bounded; what finds no room is counted and said in the answer.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "model/directory.h"
#include "observe/record.h"

namespace beeline::observe {

struct GraphLimits {
    std::size_t nodes = 4096;
    std::size_t edges = 8192;
    std::size_t world = 256;      // nodes outside; the rest share one
    std::size_t contexts = 65536; // remembered pairs of ends
    std::size_t names = 4096;     // addresses with a DNS name
    std::size_t gone = 4096;      // how far back an answer can tell what vanished
};

class Graph {
public:
    static constexpr std::int64_t kWindow = 300; // seconds that charts show
    static constexpr std::int64_t kRate = 10;    // seconds that rates are means of

    // `epoch` goes into the cursors: those of another graph get a whole map.
    explicit Graph(std::uint64_t epoch, GraphLimits limits = {});
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    void add(const RecordView& record);
    void add(const Record& record) { add(view(record)); }
    // Workloads that are attached here are on the map before they talk.
    void set_directory(const std::shared_ptr<const model::Directory>& directory);
    // Moves the windows to this moment (CLOCK_REALTIME) and ends a round: changes() tells what happened up to here.
    void advance(std::int64_t now_ns);

    // What changed since the answer that gave `cursor`, as one JSON object (schema Map of the OpenAPI document);
    // everything when the cursor is empty, unknown or too old.
    [[nodiscard]] std::string changes(std::string_view cursor, std::string_view node) const;

    // Charts of all edges, of those of one node, or of one edge: one value per second, as JSON.
    [[nodiscard]] std::string total_series() const;
    [[nodiscard]] Result<std::string> node_series(std::string_view id) const;
    [[nodiscard]] Result<std::string> edge_series(std::string_view from, std::string_view to) const;
    // {"in":[edges],"out":[edges]} of one node; empty lists when it is not on the map.
    [[nodiscard]] std::string peers(std::string_view id) const;

private:
    struct Cell;
    struct Window;
    struct Node;
    struct Edge;
    struct Rates;

    Node* find_node(std::string_view id) const;
    Node& node_of(const Names& names, const net::Ip& address);
    Node& make_node(std::string id);
    Edge* edge_of(const std::shared_ptr<const Context>& context);
    void learn_names(const model::L7& l7);
    void forget_old();
    void remember_gone(std::string entry, bool edge);
    void append_node(std::string& out, const Node& node) const;
    void append_edge(std::string& out, const Edge& edge) const;
    void append_total(std::string& out, std::int64_t from_second) const;

    std::uint64_t epoch_;
    GraphLimits limits_;
    std::uint64_t round_ = 1; // that changes belong to which come now
    std::int64_t now_s_ = 0;
    std::uint64_t lost_ = 0;    // flows that the store or the ring lost
    std::uint64_t crowded_ = 0; // flows without an edge, because there are too many
    std::size_t world_ = 0;

    std::unordered_map<std::string, std::unique_ptr<Node>> nodes_;
    std::unordered_map<std::uint64_t, std::shared_ptr<Edge>> edges_; // by the numbers of its ends
    std::uint32_t next_number_ = 1;
    struct Seen {
        std::shared_ptr<const Context> context; // keeps the key from being used again
        std::shared_ptr<Edge> edge;
    };
    std::unordered_map<const Context*, Seen> seen_;
    std::unordered_map<net::Ip, std::string> names_; // addresses that DNS answered with
    std::unique_ptr<Window> total_;
    std::shared_ptr<const model::Directory> directory_;

    struct Gone {
        std::uint64_t round;
        std::string entry; // JSON
        bool edge;
    };
    std::deque<Gone> gone_;
    std::uint64_t gone_from_ = 0; // rounds before are not known any more
};

} // namespace beeline::observe
