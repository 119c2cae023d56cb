#include "observe/l7_ingest.h"

#include <arpa/inet.h>

#include <bit>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace beeline::observe {
namespace {

constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kFin = 0x01;
constexpr std::uint8_t kSyn = 0x02;
constexpr std::uint8_t kRst = 0x04;
constexpr std::uint64_t kTickNs = 100'000'000;
// The datapath forgets what was silent for this long (TCP: hours, but the tracker does not wait so long either).
constexpr std::uint64_t kIdleTcpNs = 900'000'000'000;
constexpr std::uint64_t kIdleUdpNs = 120'000'000'000;
constexpr std::size_t kIdleChecks = 256; // per tick

// Both directions' records of a connection find it under one key; which order does not matter.
bl_flow_key normalised(const bl_flow_key& key) {
    const int order = std::memcmp(&key.src, &key.dst, sizeof key.src);
    if (order < 0 || (order == 0 && key.sport <= key.dport)) return key;
    bl_flow_key out = key;
    std::swap(out.src, out.dst);
    std::swap(out.sport, out.dport);
    return out;
}

bool same_end(const bl_addr& a, __be16 a_port, const bl_addr& b, __be16 b_port) {
    return a_port == b_port && std::memcmp(&a, &b, sizeof a) == 0;
}

} // namespace

struct L7Ingest::Connection {
    // Packets and plain text are two streams to the tracker: the first has the even number, the second the odd one.
    std::uint64_t id = 0;
    bl_flow_key normal{};
    bl_flow_key client{}; // in the direction of the client
    std::uint64_t opened_ns = 0;
    std::uint64_t used_ns = 0;
    std::uint64_t stopped_ns = 0; // 0: its packets are read
    bool named = false;           // `base` says who the ends are
    bool first = false;
    bool plain_stopped = false;
    std::array<bool, 2> based{}; // `base_seq` is known
    std::array<bool, 2> fin{};
    std::array<std::uint32_t, 2> base_seq{};
    std::array<l7::Unwrap, 2> unwrap{};
    std::optional<std::uint8_t> plain_view; // whose plain text is read, if both ends' can be seen
    std::array<l7::Unwrap, 2> plain_unwrap{};
    model::L7Protocols wanted = 0; // of choice_ `wanted_choice`
    std::uint64_t wanted_choice = 0;
    Record base;
};

std::size_t L7Ingest::KeyHash::operator()(const bl_flow_key& key) const noexcept {
    std::array<std::uint64_t, sizeof key / 8> words{};
    std::memcpy(words.data(), &key, sizeof key);
    std::uint64_t hash = 0;
    for (const std::uint64_t word : words) {
        hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
        hash ^= hash >> 29;
    }
    return hash;
}

bool L7Ingest::KeyEqual::operator()(const bl_flow_key& a, const bl_flow_key& b) const noexcept {
    return std::memcmp(&a, &b, sizeof a) == 0;
}

L7Ingest::L7Ingest(Store& store, l7::Options options, L7Datapath datapath,
                   std::shared_ptr<DnsNames> names, std::string proc, EventClock clock,
                   std::size_t connections)
    : store_(store), datapath_(std::move(datapath)), names_(names),
      enricher_(std::move(proc), "/etc/passwd", std::move(names)), clock_(std::move(clock)),
      tracker_(std::move(options), *this), capacity_(connections) {}

L7Ingest::~L7Ingest() = default;

void L7Ingest::record(std::span<const std::byte> bytes) {
    const auto record = decode_l7(bytes);
    if (!record) {
        if (std::has_single_bit(++counts_.refused)) {
            log_warn("payload record refused", kv("why", to_string(record.error())),
                     kv("size", bytes.size()), kv("count", counts_.refused));
        }
        return;
    }
    switch (record->kind) {
    case L7Record::Kind::connection: introduce(*record); break;
    case L7Record::Kind::payload: payload(*record); break;
    case L7Record::Kind::tls: plain_text(*record); break;
    }
}

void L7Ingest::introduce(const L7Record& record) {
    const auto event = record.event;
    bl_flow_event raw;
    std::memcpy(&raw, event.data(), sizeof raw);
    const auto decoded = decode_flow(event);
    if (!decoded) {
        ++counts_.refused;
        return;
    }
    std::memset(raw.key.pad, 0, sizeof raw.key.pad);
    Connection* connection = find(normalised(raw.key), raw.opened_ns);
    if (connection == nullptr) {
        connection = &add(raw.key, raw.opened_ns);
    }
    connection->used_ns = record.time_ns;
    name(*connection, *decoded);
}

void L7Ingest::name(Connection& connection, const FlowEvent& event) {
    connection.base = enricher_.enrich(event);
    connection.base.kind = model::Flow::Kind::l7;
    connection.base.opened_ns = event.opened_ns != 0 ? clock_.realtime(event.opened_ns) : 0;
    connection.base.packets = {};
    connection.base.bytes = {};
    connection.base.tcp_flags = {};
    connection.named = true;
    connection.wanted_choice = 0;
}

// The one of that moment; an older one of the same ends has ended. Null: not known, or `opened_ns` is one that ended.
L7Ingest::Connection* L7Ingest::find(const bl_flow_key& normal, std::uint64_t opened_ns) {
    const auto found = index_.find(normal);
    if (found == index_.end()) return nullptr;
    Connection& connection = *found->second;
    if (opened_ns != 0 && connection.opened_ns != opened_ns) {
        end(found->second);
        return nullptr;
    }
    order_.splice(order_.begin(), order_, found->second);
    return &connection;
}

// A client that was translated packet by packet knows its server by the service's address. Rare: a look at the last ones does.
L7Ingest::Connection* L7Ingest::by_service(const bl_flow_key& key) {
    constexpr std::size_t kLooks = 256;
    std::size_t looks = 0;
    for (auto& connection : order_) {
        if (++looks > kLooks) break;
        if (!connection.named ||
            !same_end(key.src, key.sport, connection.client.src, connection.client.sport))
            continue;
        const auto& path = connection.base.context->path;
        if (path.service_port == ntohs(key.dport) &&
            std::memcmp(path.service.bytes.data(), key.dst.byte, sizeof key.dst.byte) == 0)
            return &connection;
    }
    return nullptr;
}

L7Ingest::Connection* L7Ingest::by_id(std::uint64_t id) {
    id &= ~std::uint64_t{1};
    if (current_ != nullptr && current_->id == id) return current_;
    const auto found = ids_.find(id);
    return found == ids_.end() ? nullptr : &*found->second;
}

L7Ingest::Connection& L7Ingest::add(const bl_flow_key& client, std::uint64_t opened_ns) {
    if (order_.size() >= capacity_) {
        ++counts_.forgotten;
        end(std::prev(order_.end()));
    }
    Connection& connection = order_.emplace_front();
    connection.id = next_id_;
    next_id_ += 2;
    connection.normal = normalised(client);
    connection.client = client;
    connection.opened_ns = opened_ns;
    index_.emplace(connection.normal, order_.begin());
    ids_.emplace(connection.id, order_.begin());
    return connection;
}

// Who are they? The datapath knows, while the connection lives. False: it ended, or is another one by now.
bool L7Ingest::ask(Connection& connection) {
    const auto event =
        datapath_.connection ? datapath_.connection(connection.client) : std::nullopt;
    if (!event || event->opened_ns != connection.opened_ns) return false;
    const auto decoded = decode_flow(std::as_bytes(std::span(&*event, 1)));
    if (!decoded) return false;
    name(connection, *decoded);
    return true;
}

void L7Ingest::payload(const L7Record& record) {
    const std::size_t side = record.side;
    const bool tcp = record.key.proto == kTcp;
    const bl_flow_key normal = normalised(record.key);
    Connection* known = find(normal, record.opened_ns);
    Connection& connection = known ? *known : add(record.key, record.opened_ns);
    if (!known) connection.first = record.first;
    connection.used_ns = record.time_ns;
    if (tcp && !connection.based[side]) {
        // Without its SYN nobody knows how much came before.
        if ((record.tcp_flags & kSyn) == 0) connection.first = false;
        connection.base_seq[side] = record.seq;
        connection.based[side] = true;
    }
    if (record.length > 0) {
        if (connection.stopped_ns != 0) {
            // It was on its way already, or the mark in the datapath was lost to a packet of the same moment.
            ++counts_.after_stop;
            if (record.time_ns > connection.stopped_ns && !record.data.empty()) stop(connection);
        } else if (!connection.named && !ask(connection)) {
            ++counts_.unknown;
        } else {
            l7::Chunk chunk;
            chunk.connection = connection.id;
            chunk.side = record.side;
            chunk.transport = connection.base.context->path.protocol;
            chunk.server_port = ntohs(connection.client.dport);
            if (tcp)
                chunk.offset =
                    connection.unwrap[side].offset(record.seq - connection.base_seq[side]);
            chunk.length = record.length;
            chunk.data = record.data;
            chunk.time_ns = record.time_ns;
            chunk.first = connection.first;
            give(connection, chunk);
        }
    }
    if (!tcp) return;
    connection.fin[side] = connection.fin[side] || (record.tcp_flags & kFin) != 0;
    if ((record.tcp_flags & kRst) != 0 || (connection.fin[0] && connection.fin[1]))
        end(index_.find(normal)->second);
}

void L7Ingest::plain_text(const L7Record& record) {
    Connection* connection = find(normalised(record.key), 0);
    if (connection == nullptr) connection = by_service(record.key);
    if (connection == nullptr) {
        // Its packets are not read, or its client knows its server by a service's address.
        const auto event = datapath_.connection ? datapath_.connection(record.key) : std::nullopt;
        if (!event) {
            ++counts_.unknown;
            return;
        }
        connection = find(normalised(event->key), event->opened_ns);
        if (connection == nullptr) connection = &add(event->key, event->opened_ns);
    }
    if (!connection->named && !ask(*connection)) {
        ++counts_.unknown;
        return;
    }
    connection->used_ns = record.time_ns;
    const bool by_client = same_end(record.key.src, record.key.sport, connection->client.src,
                                    connection->client.sport);
    const std::uint8_t view = by_client ? 0 : 1;
    if (!connection->plain_view) connection->plain_view = view;
    // The other end tells the same.
    if (*connection->plain_view != view) return;
    if (connection->plain_stopped) {
        ++counts_.after_stop;
        return;
    }
    l7::Chunk chunk;
    chunk.connection = connection->id | 1U;
    chunk.side = record.from_remote ? static_cast<std::uint8_t>(1 - view) : view;
    chunk.tls = true;
    chunk.server_port = ntohs(connection->client.dport);
    chunk.offset = connection->plain_unwrap[chunk.side].offset(record.seq);
    chunk.length = record.length;
    chunk.data = record.data;
    chunk.time_ns = record.time_ns;
    chunk.first = record.first;
    give(*connection, chunk);
}

void L7Ingest::give(Connection& connection, const l7::Chunk& chunk) {
    current_ = &connection;
    tracker_.chunk(chunk);
    current_ = nullptr;
}

void L7Ingest::end(Order::iterator connection) {
    tracker_.closed(connection->id);
    if (connection->plain_view) tracker_.closed(connection->id | 1U);
    index_.erase(connection->normal);
    ids_.erase(connection->id);
    order_.erase(connection);
}

void L7Ingest::stop(Connection& connection) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    if (datapath_.stop) datapath_.stop(connection.client, connection.opened_ns);
    connection.stopped_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                            static_cast<std::uint64_t>(now.tv_nsec);
}

void L7Ingest::give_up(std::uint64_t id, l7::GiveUp) {
    Connection* connection = by_id(id);
    if (connection == nullptr) return;
    if ((id & 1U) == 0) {
        stop(*connection);
    } else {
        connection->plain_stopped = true;
    }
}

bool L7Ingest::wanted(Connection& connection, model::L7::Protocol protocol) {
    if (chosen_changed_.load(std::memory_order_acquire)) {
        const std::lock_guard lock(mutex_);
        chosen_ = next_chosen_;
        ++choice_;
        chosen_changed_.store(false, std::memory_order_relaxed);
    }
    if (connection.wanted_choice != choice_) {
        connection.wanted_choice = choice_;
        connection.wanted = 0;
        for (const std::uint32_t endpoint : connection.base.context->path.endpoint) {
            if (!chosen_) break;
            const auto found = chosen_->find(endpoint);
            if (found != chosen_->end()) connection.wanted |= found->second;
        }
    }
    return (connection.wanted & model::l7_bit(protocol)) != 0;
}

void L7Ingest::learn(const Connection& connection, const model::L7& message,
                     std::uint64_t time_ns) {
    if (message.protocol != model::L7::Protocol::dns || message.type != model::L7::Type::response)
        return;
    const std::uint32_t workload = connection.base.context->path.endpoint[0];
    if (workload == 0) return;
    for (const auto& address : message.dns.addresses)
        names_->learn(workload, address, message.resource, message.dns.ttl_s, time_ns);
}

void L7Ingest::message(std::uint64_t id, std::uint64_t time_ns,
                       std::shared_ptr<const model::L7> message) {
    Connection* connection = by_id(id);
    if (connection == nullptr || !message) return;
    learn(*connection, *message, time_ns);
    store(*connection, time_ns, message, {});
}

void L7Ingest::shared_message(std::uint64_t id, std::uint64_t time_ns,
                              const std::shared_ptr<const model::L7>& message,
                              const model::L7Numbers& numbers) {
    if (Connection* connection = by_id(id)) store(*connection, time_ns, message, numbers);
}

void L7Ingest::store(Connection& connection, std::uint64_t time_ns,
                     const std::shared_ptr<const model::L7>& message,
                     const model::L7Numbers& numbers) {
    if (!wanted(connection, message->protocol)) {
        ++counts_.unwanted;
        return;
    }
    connection.base.time_ns = clock_.realtime(time_ns);
    set_numbers(connection.base, numbers);
    RecordView record = view(connection.base);
    record.l7 = &message;
    store_.append(record);
    ++counts_.messages;
    unpublished_ = true;
}

void L7Ingest::flush() {
    if (unpublished_) {
        store_.publish();
        unpublished_ = false;
    }
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    const std::uint64_t now_ns = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
                                 static_cast<std::uint64_t>(now.tv_nsec);
    if (now_ns < next_tick_ns_) return;
    next_tick_ns_ = now_ns + kTickNs;
    tracker_.tick(now_ns);
    for (std::size_t i = 0; i < kIdleChecks && !order_.empty(); ++i) {
        const Connection& oldest = order_.back();
        const std::uint64_t idle = oldest.normal.proto == kTcp ? kIdleTcpNs : kIdleUdpNs;
        if (oldest.used_ns + idle > now_ns) break;
        end(std::prev(order_.end()));
    }
    counts_.tracker = tracker_.stats();
    counts_.connections = order_.size();
    const std::lock_guard lock(counts_mutex_);
    published_ = counts_;
}

void L7Ingest::lost(std::uint64_t count) { counts_.lost += count; }

void L7Ingest::set_directory(std::shared_ptr<const model::Directory> directory) {
    enricher_.set_directory(std::move(directory));
}

void L7Ingest::set_chosen(std::shared_ptr<const Chosen> chosen) {
    const std::lock_guard lock(mutex_);
    next_chosen_ = std::move(chosen);
    chosen_changed_.store(true, std::memory_order_release);
}

L7Counts L7Ingest::counts() const {
    const std::lock_guard lock(counts_mutex_);
    L7Counts out = published_;
    out.dns_names = names_->size();
    return out;
}

} // namespace beeline::observe
