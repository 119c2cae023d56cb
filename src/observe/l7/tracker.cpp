#include "observe/l7/tracker.h"

#include <list>
#include <unordered_map>
#include <unordered_set>

#include "observe/l7/connection.h"

namespace beeline::observe::l7 {

struct Tracker::Impl {
    struct Entry {
        std::unique_ptr<Connection> connection;
        std::list<std::uint64_t>::iterator use;
    };

    Impl(Options o, Sink& s) : options(std::move(o)), sink(s) {}

    Connection& find(const Chunk& chunk) {
        if (const auto it = connections.find(chunk.connection); it != connections.end()) {
            uses.splice(uses.end(), uses, it->second.use);
            return *it->second.connection;
        }
        while (connections.size() >= options.max_connections && !uses.empty())
            forget_oldest(GiveUp::memory);
        uses.push_back(chunk.connection);
        const Connection::Shared shared{options, sink, stats, heads};
        auto made = std::make_unique<Connection>(shared, chunk);
        return *connections.emplace(chunk.connection, Entry{std::move(made), std::prev(uses.end())})
                    .first->second.connection;
    }

    void forget_oldest(GiveUp reason) {
        const std::uint64_t id = uses.front();
        connections.at(id).connection->give_up(reason);
        erase(id);
    }

    void erase(std::uint64_t id) {
        const auto it = connections.find(id);
        uses.erase(it->second.use);
        holes.erase(id);
        connections.erase(it);
    }

    Options options;
    Sink& sink;
    Stats stats;
    Heads heads;
    std::unordered_map<std::uint64_t, Entry> connections;
    std::list<std::uint64_t> uses;           // unused for longest first
    std::unordered_set<std::uint64_t> holes; // connections that wait for earlier chunks
};

Tracker::Tracker(Options options, Sink& sink)
    : impl_(std::make_unique<Impl>(std::move(options), sink)) {}
Tracker::~Tracker() = default;

void Tracker::chunk(const Chunk& chunk) {
    if (chunk.data.size() > chunk.length) return; // a capturer's mistake; nothing can be made of it
    ++impl_->stats.chunks;
    impl_->stats.bytes += chunk.data.size();
    Connection& connection = impl_->find(chunk);
    const bool had_hole = connection.has_hole();
    connection.chunk(chunk);
    if (connection.has_hole() != had_hole) {
        if (had_hole)
            impl_->holes.erase(chunk.connection);
        else
            impl_->holes.insert(chunk.connection);
    }
    while (impl_->stats.memory > impl_->options.max_memory && impl_->connections.size() > 1)
        impl_->forget_oldest(GiveUp::memory);
}

void Tracker::closed(std::uint64_t connection) {
    const auto it = impl_->connections.find(connection);
    if (it == impl_->connections.end()) return;
    it->second.connection->end();
    impl_->erase(connection);
}

void Tracker::tick(std::uint64_t now_ns) {
    for (auto it = impl_->holes.begin(); it != impl_->holes.end();) {
        Connection& connection = *impl_->connections.at(*it).connection;
        connection.tick(now_ns);
        it = connection.has_hole() ? std::next(it) : impl_->holes.erase(it);
    }
    while (!impl_->uses.empty()) {
        const std::uint64_t id = impl_->uses.front();
        if (now_ns < impl_->connections.at(id).connection->last_ns() + impl_->options.idle_ns)
            break;
        impl_->connections.at(id).connection->end();
        impl_->erase(id);
    }
}

Stats Tracker::stats() const {
    Stats result = impl_->stats;
    result.connections = impl_->connections.size();
    return result;
}

} // namespace beeline::observe::l7
