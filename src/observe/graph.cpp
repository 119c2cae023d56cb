#include "observe/graph.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <iterator>

#include <fmt/format.h>

#include "abi/drop.h"
#include "observe/drop_reason.h"
#include "observe/json.h"

namespace beeline::observe {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kMinute = 60;
constexpr std::int64_t kLatencySlot = 10; // seconds of one latency histogram
constexpr std::int64_t kLatencySlots = 3; // that the latency of an edge is taken from
constexpr std::int64_t kFuture = 5;       // seconds that a record may be ahead
constexpr std::int64_t kRefresh = 30;     // totals of quiet edges are told again this often
constexpr std::int64_t kNamesForget = 60; // seconds after which names are looked at again
constexpr std::size_t kPorts = 6;         // shown of an edge
constexpr std::string_view kCrowd = "x:"; // the node of the world's rest
constexpr std::string_view kHost = "h:";

// Latencies in buckets that grow by the square root of two, from 50 microseconds to 3 seconds and more.
using Latencies = std::array<std::uint16_t, 32>;
constexpr double kFirstBucketMs = 0.05;

std::size_t bucket_of(std::uint64_t latency_ns) {
    const double ms = static_cast<double>(latency_ns) / 1e6;
    if (ms <= kFirstBucketMs) return 0;
    const auto bucket = static_cast<std::size_t>(2.0 * std::log2(ms / kFirstBucketMs));
    return std::min(bucket, std::tuple_size_v<Latencies> - 1);
}

using LatencySum = std::array<std::uint32_t, std::tuple_size_v<Latencies>>;

// The latency that `part` of the requests stayed below; 0: none was seen.
double quantile_ms(const LatencySum& sum, double part) {
    std::uint64_t total = 0;
    for (const auto count : sum)
        total += count;
    if (total == 0) return 0;
    const double wanted = part * static_cast<double>(total);
    double below = 0;
    for (std::size_t i = 0; i < sum.size(); ++i) {
        if (sum[i] == 0) continue;
        if (below + sum[i] >= wanted) {
            const double inside = std::clamp((wanted - below) / sum[i], 0.0, 1.0);
            return kFirstBucketMs * std::exp2((static_cast<double>(i) + inside) / 2.0);
        }
        below += sum[i];
    }
    return kFirstBucketMs * std::exp2(static_cast<double>(sum.size()) / 2.0);
}

void add_up(std::uint32_t& counter, std::uint32_t count = 1) { counter += count; }

void append_number(std::string& out, double value) {
    // Two decimals are enough for people, and whole numbers stay short.
    if (value == std::floor(value) && std::abs(value) < 1e15)
        fmt::format_to(std::back_inserter(out), "{}", static_cast<std::int64_t>(value));
    else
        fmt::format_to(std::back_inserter(out), "{:.2f}", value);
}

void append_member(std::string& out, std::string_view name, double value) {
    if (value == 0) return;
    fmt::format_to(std::back_inserter(out), ",\"{}\":", name);
    append_number(out, value);
}

void append_text_member(std::string& out, std::string_view name, std::string_view value) {
    if (value.empty()) return;
    fmt::format_to(std::back_inserter(out), ",\"{}\":", name);
    append_json_string(out, value);
}

bool denied_by_policy(std::uint8_t reason) {
    return reason == BL_DROP_POLICY_DENIED || reason == BL_DROP_POLICY_DENY;
}

std::uint64_t edge_key(std::uint32_t from, std::uint32_t to) {
    return (static_cast<std::uint64_t>(from) << 32) | to;
}

} // namespace

struct Graph::Cell {
    std::uint32_t flows = 0;
    std::uint32_t dropped = 0;
    std::uint32_t requests = 0;
    std::uint32_t errors = 0;
    std::uint64_t bytes = 0; // both directions

    void operator+=(const Cell& other) {
        flows += other.flows;
        dropped += other.dropped;
        requests += other.requests;
        errors += other.errors;
        bytes += other.bytes;
    }
};

// Counts per second; memory is taken a minute at a time, for minutes in which something happened.
struct Graph::Window {
    struct Block {
        std::int64_t minute = 0;
        Cell total;
        std::array<Cell, kMinute> cells{};
        std::array<Latencies, kMinute / kLatencySlot> latencies{};
    };
    static constexpr std::int64_t kBlocks = kWindow / kMinute + 1;
    std::array<std::unique_ptr<Block>, kBlocks> blocks;

    // Null when something newer is in its place.
    Block* block(std::int64_t second) {
        const std::int64_t minute = second / kMinute;
        auto& place = blocks[static_cast<std::size_t>(minute % kBlocks)];
        if (!place) {
            place = std::make_unique<Block>();
            place->minute = minute;
        }
        if (place->minute > minute) return nullptr;
        if (place->minute < minute) {
            *place = Block{};
            place->minute = minute;
        }
        return place.get();
    }
    [[nodiscard]] const Block* block_at(std::int64_t second) const {
        const std::int64_t minute = second / kMinute;
        const auto& place = blocks[static_cast<std::size_t>(minute % kBlocks)];
        return place && place->minute == minute ? place.get() : nullptr;
    }
    template <typename F>
    void at(std::int64_t second, F change) {
        Block* found = block(second);
        if (found == nullptr) return;
        change(found->total);
        change(found->cells[static_cast<std::size_t>(second % kMinute)]);
    }
    void latency(std::int64_t second, std::uint64_t latency_ns) {
        Block* found = block(second);
        if (found == nullptr) return;
        auto& slot = found->latencies[static_cast<std::size_t>(second % kMinute / kLatencySlot)];
        auto& count = slot[bucket_of(latency_ns)];
        if (count < UINT16_MAX) ++count;
    }
    void free_old(std::int64_t now_s) {
        for (auto& place : blocks)
            if (place && place->minute + kWindow / kMinute < now_s / kMinute) place.reset();
    }
    [[nodiscard]] Cell cell(std::int64_t second) const {
        const Block* found = block_at(second);
        return found != nullptr ? found->cells[static_cast<std::size_t>(second % kMinute)] : Cell{};
    }
    void add_latencies(std::int64_t second, LatencySum& sum) const {
        const Block* found = block_at(second);
        if (found == nullptr) return;
        const auto& slot =
            found->latencies[static_cast<std::size_t>(second % kMinute / kLatencySlot)];
        for (std::size_t i = 0; i < slot.size(); ++i)
            sum[i] += slot[i];
    }
    // The last kRate seconds, the one that runs included.
    [[nodiscard]] Cell recent(std::int64_t now_s) const {
        Cell sum;
        for (std::int64_t second = now_s - kRate + 1; second <= now_s; ++second)
            sum += cell(second);
        return sum;
    }
    // Four to five minutes: whole ones.
    [[nodiscard]] Cell all(std::int64_t now_s) const {
        Cell sum;
        for (const auto& place : blocks)
            if (place && place->minute + kWindow / kMinute > now_s / kMinute) sum += place->total;
        return sum;
    }
    void recent_latencies(std::int64_t now_s, LatencySum& sum) const {
        for (std::int64_t slot = 0; slot < kLatencySlots; ++slot)
            add_latencies(now_s - slot * kLatencySlot, sum);
    }
};

struct Graph::Rates {
    Cell recent;
    Cell all;
    LatencySum latencies{};
};

struct Graph::Node {
    std::string id;
    std::uint32_t number = 0;
    model::FlowEnd::Kind kind = model::FlowEnd::Kind::world;
    std::string space;
    std::string name;
    model::Labels labels;
    bool attached = false; // in the directory, so on the map without traffic
    std::array<bool, 2> isolated{};
    std::size_t edges = 0;
    std::uint64_t changed = 0;  // round
    std::int64_t seen_s = 0;    // of its last flow
    std::array<Rates, 2> rates; // [0] as the client, [1] as the server; made by advance()
};

struct Graph::Edge {
    struct Port {
        model::Protocol protocol = model::Protocol::any;
        std::uint16_t port = 0;
        std::uint32_t count = 0;
        std::string service;
    };
    Node* from = nullptr;
    Node* to = nullptr;
    bool gone = false;
    Window window;
    Rates rates;
    std::vector<Port> ports;
    std::uint32_t l7 = 0;       // bits of L7::Protocol
    std::uint8_t reason = 0;    // of the last drop
    std::int64_t dropped_s = 0; // when that was
    std::int64_t seen_s = 0;
    std::int64_t touched_s = 0; // the newest second that counts something
    std::uint64_t changed = 0;  // round

    void see(const RecordView& record) {
        const Path& path = record.context->path;
        const std::uint16_t port = path.service_port != 0 ? path.service_port : record.port[1];
        for (auto& known : ports) {
            if (known.protocol == path.protocol && known.port == port) {
                ++known.count;
                return;
            }
        }
        Port fresh{.protocol = path.protocol, .port = port, .count = 1, .service = {}};
        if (record.context->service) fresh.service = *record.context->service;
        if (ports.size() < kPorts) {
            ports.push_back(std::move(fresh));
            return;
        }
        // The rarest makes room and hands its count on, so that a port that stays gets in.
        const auto rarest = std::min_element(ports.begin(), ports.end(),
                                             [](auto& a, auto& b) { return a.count < b.count; });
        fresh.count = rarest->count + 1;
        *rarest = std::move(fresh);
    }
};

Graph::Graph(std::uint64_t epoch, GraphLimits limits)
    : epoch_(epoch), limits_(limits), total_(std::make_unique<Window>()) {}
Graph::~Graph() = default;

Graph::Node* Graph::find_node(std::string_view id) const {
    const auto found = nodes_.find(std::string(id));
    return found != nodes_.end() ? found->second.get() : nullptr;
}

Graph::Node& Graph::make_node(std::string id) {
    auto node = std::make_unique<Node>();
    node->id = id;
    node->number = next_number_++;
    node->changed = round_;
    return *(nodes_[std::move(id)] = std::move(node));
}

Graph::Node& Graph::node_of(const Names& names, const net::Ip& address) {
    using Kind = model::FlowEnd::Kind;
    if (names.kind == Kind::host) {
        if (Node* known = find_node(kHost)) return *known;
        Node& node = make_node(std::string(kHost));
        node.kind = Kind::host;
        return node;
    }
    if (names.kind != Kind::world && !names.name.empty()) {
        std::string id = "w:" + names.space + "/" + names.name;
        Node* node = find_node(id);
        if (node == nullptr) {
            node = &make_node(std::move(id));
            node->kind = names.kind;
            node->space = names.space;
            node->name = names.name;
            node->labels = names.labels;
        }
        return *node;
    }
    std::string name;
    if (const auto known = names_.find(address); known != names_.end()) {
        name = known->second;
    } else {
        net::Prefix network{address, static_cast<std::uint8_t>(address.is_v4() ? 24 : 48)};
        const unsigned bytes = network.mapped_length() / 8;
        std::fill(network.base.bytes.begin() + bytes, network.base.bytes.end(), std::uint8_t{0});
        name = network.to_string();
    }
    std::string id = std::string(kCrowd) + name;
    if (Node* known = find_node(id)) return *known;
    if (world_ >= limits_.world) {
        id = kCrowd;
        name = "elsewhere";
        if (Node* known = find_node(id)) return *known;
    }
    ++world_;
    Node& node = make_node(std::move(id));
    node.name = std::move(name);
    return node;
}

Graph::Edge* Graph::edge_of(const std::shared_ptr<const Context>& context) {
    if (const auto known = seen_.find(context.get());
        known != seen_.end() && !known->second.edge->gone)
        return known->second.edge.get();
    if (nodes_.size() + 2 > limits_.nodes) return nullptr;
    Node& from = node_of(*context->source, context->path.source);
    Node& to = node_of(*context->destination, context->path.destination);
    auto place = edges_.find(edge_key(from.number, to.number));
    if (place == edges_.end()) {
        if (edges_.size() >= limits_.edges) return nullptr;
        auto edge = std::make_shared<Edge>();
        edge->from = &from;
        edge->to = &to;
        ++from.edges;
        ++to.edges;
        place = edges_.emplace(edge_key(from.number, to.number), std::move(edge)).first;
    }
    if (seen_.size() >= limits_.contexts) seen_.clear();
    seen_[context.get()] = {context, place->second};
    return place->second.get();
}

void Graph::learn_names(const model::L7& l7) {
    if (l7.protocol != model::L7::Protocol::dns || l7.type != model::L7::Type::response) return;
    std::string_view name = l7.resource;
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty()) return;
    for (const auto& address : l7.dns.addresses) {
        if (names_.size() >= limits_.names) names_.clear();
        names_[address] = name;
    }
}

void Graph::add(const RecordView& record) {
    const model::L7* l7 = record.l7 ? record.l7->get() : nullptr;
    using Kind = model::Flow::Kind;
    if (record.kind == Kind::lost) {
        lost_ += record.packets[0];
        return;
    }
    const std::int64_t second = record.time_ns / kSecond;
    if (now_s_ != 0 && (second <= now_s_ - kWindow || second > now_s_ + kFuture)) return;
    if (l7) learn_names(*l7);
    Edge* edge = edge_of(*record.owners.context);
    if (edge == nullptr) {
        ++crowded_;
        return;
    }
    edge->seen_s = std::max(edge->seen_s, second);
    edge->touched_s = std::max(edge->touched_s, second);
    edge->changed = round_;
    const auto count = [&](std::uint32_t Cell::* field) {
        const auto change = [field](Cell& cell) { add_up(cell.*field); };
        edge->window.at(second, change);
        total_->at(second, change);
    };
    switch (record.kind) {
    case Kind::opened:
        count(&Cell::flows);
        edge->see(record);
        break;
    case Kind::dropped:
    case Kind::revoked:
        count(&Cell::dropped);
        edge->see(record);
        if (second >= edge->dropped_s) {
            edge->dropped_s = second;
            edge->reason = record.context->path.reason;
        }
        break;
    case Kind::closed: {
        const std::uint64_t bytes = record.bytes[0] + record.bytes[1];
        const std::int64_t opened = record.opened_ns > 0 ? record.opened_ns / kSecond : second;
        const std::int64_t life = std::max<std::int64_t>(second - opened + 1, 1);
        const std::uint64_t each = bytes / static_cast<std::uint64_t>(life);
        const std::int64_t begin = std::max(opened, second - kWindow + 1);
        for (std::int64_t at = begin; at <= second; ++at) {
            const std::uint64_t part =
                at == second ? bytes - each * static_cast<std::uint64_t>(life - 1) : each;
            const auto change = [part](Cell& cell) { cell.bytes += part; };
            edge->window.at(at, change);
            total_->at(at, change);
        }
        break;
    }
    case Kind::l7:
        edge->l7 |= 1U << static_cast<unsigned>(l7->protocol);
        if (l7->type != model::L7::Type::response) break;
        count(&Cell::requests);
        if (l7->status == model::L7::Status::error) count(&Cell::errors);
        if (const auto latency_ns = numbers_of(record).latency_ns; latency_ns != 0) {
            edge->window.latency(second, latency_ns);
            total_->latency(second, latency_ns);
        }
        break;
    case Kind::replied:
    case Kind::lost: break;
    }
}

void Graph::set_directory(const std::shared_ptr<const model::Directory>& directory) {
    if (!directory || directory == directory_) return;
    directory_ = directory;
    for (auto& [id, node] : nodes_)
        node->attached = false;
    for (const auto& [address, entry] : directory->by_address) {
        if (entry.kind != model::FlowEnd::Kind::workload || entry.name.empty()) continue;
        const bool known = find_node("w:" + entry.space + "/" + entry.name) != nullptr;
        if (!known && nodes_.size() + 2 > limits_.nodes) continue;
        Node& node = node_of(entry, address);
        std::array<bool, 2> isolated{};
        if (const auto subject = directory->subjects.find(entry.identity);
            subject != directory->subjects.end()) {
            for (std::size_t side = 0; side < 2; ++side)
                isolated[side] = !subject->second.selecting[side].empty();
        }
        node.attached = true;
        if (!known || node.labels != entry.labels || node.isolated != isolated ||
            node.kind != entry.kind) {
            node.kind = entry.kind;
            node.labels = entry.labels;
            node.isolated = isolated;
            node.changed = round_;
        }
    }
}

void Graph::remember_gone(std::string entry, bool edge) {
    gone_.push_back({round_, std::move(entry), edge});
    if (gone_.size() <= limits_.gone) return;
    gone_from_ = gone_.front().round;
    gone_.pop_front();
}

void Graph::forget_old() {
    for (auto place = edges_.begin(); place != edges_.end();) {
        Edge& edge = *place->second;
        if (edge.touched_s > now_s_ - kWindow) {
            ++place;
            continue;
        }
        std::string pair = "[";
        append_json_string(pair, edge.from->id);
        pair += ',';
        append_json_string(pair, edge.to->id);
        pair += ']';
        remember_gone(std::move(pair), true);
        edge.gone = true;
        --edge.from->edges;
        --edge.to->edges;
        place = edges_.erase(place);
    }
    for (auto place = nodes_.begin(); place != nodes_.end();) {
        const Node& node = *place->second;
        if (node.attached || node.edges > 0) {
            ++place;
            continue;
        }
        std::string id;
        append_json_string(id, node.id);
        remember_gone(std::move(id), false);
        if (node.kind == model::FlowEnd::Kind::world) --world_;
        place = nodes_.erase(place);
    }
}

void Graph::advance(std::int64_t now_ns) {
    const std::int64_t before = now_s_;
    now_s_ = now_ns / kSecond;
    // Names that were learnt after an edge was made are taken up, and ends that nobody uses let go.
    if (before / kNamesForget != now_s_ / kNamesForget) seen_.clear();
    forget_old();
    for (auto& [id, node] : nodes_)
        node->rates = {};
    for (auto& [key, shared] : edges_) {
        Edge& edge = *shared;
        if (before / kMinute != now_s_ / kMinute) edge.window.free_old(now_s_);
        edge.rates = {};
        edge.rates.all = edge.window.all(now_s_);
        const bool busy = edge.touched_s > now_s_ - kLatencySlot * kLatencySlots - 2;
        if (busy) {
            edge.rates.recent = edge.window.recent(now_s_);
            edge.window.recent_latencies(now_s_, edge.rates.latencies);
        }
        const bool again =
            (now_s_ - edge.touched_s) / kRefresh != (before - edge.touched_s) / kRefresh;
        if (busy || again) edge.changed = round_;
        for (const auto side : {0U, 1U}) {
            Node& node = side == 0 ? *edge.from : *edge.to;
            node.rates[side].recent += edge.rates.recent;
            node.rates[side].all += edge.rates.all;
            for (std::size_t i = 0; i < edge.rates.latencies.size(); ++i)
                node.rates[side].latencies[i] += edge.rates.latencies[i];
            node.seen_s = std::max(node.seen_s, edge.seen_s);
            if (busy || again) node.changed = round_;
        }
    }
    total_->free_old(now_s_);
    ++round_;
}

namespace {

template <typename Rates>
void append_rates(std::string& out, const Rates& rates, std::int64_t seconds) {
    const auto rate = [&](std::uint64_t count) {
        return static_cast<double>(count) / static_cast<double>(seconds);
    };
    append_member(out, "flows_s", rate(rates.recent.flows));
    append_member(out, "bytes_s", rate(rates.recent.bytes));
    append_member(out, "requests_s", rate(rates.recent.requests));
    append_member(out, "errors_s", rate(rates.recent.errors));
    append_member(out, "dropped_s", rate(rates.recent.dropped));
    append_member(out, "p50_ms", quantile_ms(rates.latencies, 0.5));
    append_member(out, "p95_ms", quantile_ms(rates.latencies, 0.95));
    append_member(out, "flows", rates.all.flows);
    append_member(out, "bytes", static_cast<double>(rates.all.bytes));
    append_member(out, "requests", rates.all.requests);
    append_member(out, "errors", rates.all.errors);
    append_member(out, "dropped", rates.all.dropped);
}

std::string_view kind_name(model::FlowEnd::Kind kind) {
    switch (kind) {
    case model::FlowEnd::Kind::workload: return "workload";
    case model::FlowEnd::Kind::host: return "host";
    case model::FlowEnd::Kind::world: return "world";
    case model::FlowEnd::Kind::remote: return "remote";
    }
    return "";
}

} // namespace

void Graph::append_node(std::string& out, const Node& node) const {
    out += "{\"id\":";
    append_json_string(out, node.id);
    append_text_member(out, "kind", kind_name(node.kind));
    append_text_member(out, "namespace", node.space);
    append_text_member(out, "name", node.name);
    if (!node.labels.empty()) {
        char separator = '{';
        out += ",\"labels\":";
        for (const auto& [key, value] : node.labels) {
            out += separator;
            append_json_string(out, key);
            out += ':';
            append_json_string(out, value);
            separator = ',';
        }
        out += '}';
    }
    if (node.isolated[0]) out += ",\"egress_isolated\":true";
    if (node.isolated[1]) out += ",\"ingress_isolated\":true";
    append_member(out, "last_seen", static_cast<double>(node.seen_s));
    for (const auto side : {0U, 1U}) {
        std::string rates;
        append_rates(rates, node.rates[side], kRate);
        if (rates.empty()) continue;
        rates.front() = '{';
        out += side == 0 ? ",\"out\":" : ",\"in\":";
        out += rates;
        out += '}';
    }
    out += '}';
}

void Graph::append_edge(std::string& out, const Edge& edge) const {
    out += "{\"from\":";
    append_json_string(out, edge.from->id);
    append_text_member(out, "to", edge.to->id);
    append_rates(out, edge.rates, kRate);
    append_member(out, "last_seen", static_cast<double>(edge.seen_s));
    if (edge.dropped_s != 0) {
        append_member(out, "last_dropped", static_cast<double>(edge.dropped_s));
        append_text_member(out, "reason", drop_reason_text(edge.reason));
        if (denied_by_policy(edge.reason)) out += ",\"denied\":true";
    }
    if (!edge.ports.empty()) {
        char separator = '[';
        out += ",\"ports\":";
        for (const auto& port : edge.ports) {
            out += separator;
            out += "{\"protocol\":";
            append_json_string(out, model::to_string(port.protocol));
            append_member(out, "port", port.port);
            append_text_member(out, "service", port.service);
            out += '}';
            separator = ',';
        }
        out += ']';
    }
    if (edge.l7 != 0) {
        char separator = '[';
        out += ",\"l7\":";
        for (unsigned i = 0; i < static_cast<unsigned>(model::L7::Protocol::count); ++i) {
            if ((edge.l7 & (1U << i)) == 0) continue;
            out += separator;
            append_json_string(out, model::to_string(static_cast<model::L7::Protocol>(i)));
            separator = ',';
        }
        out += ']';
    }
    out += '}';
}

// [[second, flows, dropped, requests, errors, bytes], ...]: rows with something in them only.
void Graph::append_total(std::string& out, std::int64_t from_second) const {
    bool first = true;
    out += '[';
    for (std::int64_t second = std::max(from_second, now_s_ - kWindow + 1); second <= now_s_;
         ++second) {
        const Cell cell = total_->cell(second);
        if (cell.flows + cell.dropped + cell.requests + cell.errors == 0 && cell.bytes == 0)
            continue;
        fmt::format_to(std::back_inserter(out), "{}[{},{},{},{},{},{}]", first ? "" : ",", second,
                       cell.flows, cell.dropped, cell.requests, cell.errors, cell.bytes);
        first = false;
    }
    out += ']';
}

std::string Graph::changes(std::string_view cursor, std::string_view node) const {
    // A cursor is "epoch-round"; the round is the first that its owner does not know.
    std::uint64_t since = 0;
    const std::string prefix = fmt::format("{:x}-", epoch_);
    if (cursor.starts_with(prefix)) {
        const auto digits = cursor.substr(prefix.size());
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), since);
        if (error != std::errc{} || end != digits.data() + digits.size() || since > round_ ||
            since <= gone_from_)
            since = 0;
    }
    std::string out = fmt::format("{{\"cursor\":\"{}{}\",\"time\":{},\"window_s\":{},\"rate_s\":{}",
                                  prefix, round_, now_s_, kWindow, kRate);
    if (since == 0) out += ",\"full\":true";
    append_text_member(out, "node", node);
    append_member(out, "lost", static_cast<double>(lost_));
    append_member(out, "crowded", static_cast<double>(crowded_));
    Rates total;
    total.recent = total_->recent(now_s_);
    total.all = total_->all(now_s_);
    total_->recent_latencies(now_s_, total.latencies);
    std::string rates;
    append_rates(rates, total, kRate);
    if (!rates.empty()) rates.front() = ' ';
    out += ",\"total\":{" + rates + "},\"seconds\":";
    append_total(out, since == 0 ? 0 : now_s_ - kRate);
    out += ",\"nodes\":[";
    bool first = true;
    for (const auto& [id, one] : nodes_) {
        if (one->changed < since) continue;
        if (!std::exchange(first, false)) out += ',';
        append_node(out, *one);
    }
    out += "],\"edges\":[";
    first = true;
    for (const auto& [key, one] : edges_) {
        if (one->changed < since) continue;
        if (!std::exchange(first, false)) out += ',';
        append_edge(out, *one);
    }
    out += ']';
    if (since != 0) {
        for (const bool edges : {false, true}) {
            out += edges ? ",\"gone_edges\":[" : ",\"gone_nodes\":[";
            first = true;
            for (const auto& one : gone_) {
                if (one.round < since || one.edge != edges) continue;
                if (!std::exchange(first, false)) out += ',';
                out += one.entry;
            }
            out += ']';
        }
    }
    out += '}';
    return out;
}

namespace {

// Sums of several windows as columns.
template <typename Window, typename Windows>
std::string columns(const Windows& windows, std::int64_t now_s, std::int64_t seconds) {
    std::string flows = ",\"flows\":[";
    std::string dropped = ",\"dropped\":[";
    std::string requests = ",\"requests\":[";
    std::string errors = ",\"errors\":[";
    std::string bytes = ",\"bytes\":[";
    std::string p50 = ",\"p50_ms\":[";
    std::string p95 = ",\"p95_ms\":[";
    const std::int64_t begin = now_s - seconds + 1;
    for (std::int64_t second = begin; second <= now_s; ++second) {
        auto sum = Window{}.cell(second);
        for (const Window* window : windows)
            sum += window->cell(second);
        const std::string_view comma = second == begin ? "" : ",";
        const auto put = [&](std::string& out, std::uint64_t value) {
            fmt::format_to(std::back_inserter(out), "{}{}", comma, value);
        };
        put(flows, sum.flows);
        put(dropped, sum.dropped);
        put(requests, sum.requests);
        put(errors, sum.errors);
        put(bytes, sum.bytes);
    }
    bool first = true;
    const std::int64_t slot = begin / kLatencySlot * kLatencySlot;
    for (std::int64_t second = slot; second <= now_s; second += kLatencySlot) {
        LatencySum sum{};
        for (const Window* window : windows)
            window->add_latencies(second, sum);
        if (!std::exchange(first, false)) {
            p50 += ',';
            p95 += ',';
        }
        append_number(p50, quantile_ms(sum, 0.5));
        append_number(p95, quantile_ms(sum, 0.95));
    }
    return fmt::format(
        "{{\"start\":{},\"step_s\":1,\"latency_start\":{},\"latency_step_s\":{}{}]{}]{}]{}]{}]"
        "{}]{}]}}",
        begin, slot, kLatencySlot, flows, dropped, requests, errors, bytes, p50, p95);
}

} // namespace

std::string Graph::total_series() const {
    return columns<Window>(std::array<const Window*, 1>{total_.get()}, now_s_, kWindow);
}

Result<std::string> Graph::node_series(std::string_view id) const {
    const Node* node = find_node(id);
    if (node == nullptr) return fail(Code::not_found, "nothing on the map is called '{}'", id);
    std::array<std::vector<const Window*>, 2> sides;
    for (const auto& [key, edge] : edges_) {
        if (edge->from == node) sides[0].push_back(&edge->window);
        if (edge->to == node) sides[1].push_back(&edge->window);
    }
    return fmt::format("{{\"out\":{},\"in\":{}}}", columns<Window>(sides[0], now_s_, kWindow),
                       columns<Window>(sides[1], now_s_, kWindow));
}

Result<std::string> Graph::edge_series(std::string_view from, std::string_view to) const {
    const Node* source = find_node(from);
    const Node* destination = find_node(to);
    const auto edge = source != nullptr && destination != nullptr
                          ? edges_.find(edge_key(source->number, destination->number))
                          : edges_.end();
    if (edge == edges_.end())
        return fail(Code::not_found, "the map has no edge from '{}' to '{}'", from, to);
    return columns<Window>(std::array<const Window*, 1>{&edge->second->window}, now_s_, kWindow);
}

std::string Graph::peers(std::string_view id) const {
    const Node* node = find_node(id);
    std::string in;
    std::string out;
    for (const auto& [key, edge] : edges_) {
        if (node == nullptr) break;
        for (const bool incoming : {true, false}) {
            if ((incoming ? edge->to : edge->from) != node) continue;
            std::string& list = incoming ? in : out;
            if (!list.empty()) list += ',';
            append_edge(list, *edge);
        }
    }
    return "{\"in\":[" + in + "],\"out\":[" + out + "]}";
}

} // namespace beeline::observe
