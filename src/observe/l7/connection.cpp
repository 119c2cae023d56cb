#include "observe/l7/connection.h"

#include <algorithm>

namespace beeline::observe::l7 {
namespace {

constexpr unsigned kMaxTries = 16;             // chunks looked at for a place to enter
constexpr std::uint64_t kQuietNs = 20'000'000; // nobody waits for an answer after such a pause
constexpr std::size_t kDetectBytes = 8192;     // a long request line

bool uses_port(const ProtocolEntry& entry, std::uint16_t port) {
    return port != 0 &&
           std::find(entry.ports.begin(), entry.ports.end(), port) != entry.ports.end();
}

// The entry that `start` belongs to; `more`: it cannot be said yet.
const ProtocolEntry* recognise(const Start& start, std::uint16_t port, bool& more) {
    const ProtocolEntry* likely = nullptr;
    more = false;
    for (const ProtocolEntry& entry : protocols()) {
        switch (entry.detect(start)) {
        case Match::yes: return &entry;
        case Match::more: more = true; break;
        case Match::likely:
            if (uses_port(entry, port)) likely = &entry;
            break;
        case Match::no: break;
        }
    }
    return more ? nullptr : likely;
}

} // namespace

Connection::Connection(const Shared& shared, const Chunk& chunk)
    : shared_(shared), context_{shared.options,   shared.sink, shared.stats,   shared.heads,
                                chunk.connection, chunk.tls,   chunk.transport},
      port_(chunk.server_port), first_(chunk.first) {}

Connection::~Connection() {
    for (Direction& direction : directions_)
        shared_.stats.memory -= direction.buffer.size();
    shared_.stats.memory -= held_bytes_;
}

void Connection::give_up(GiveUp reason) {
    if (over_) return;
    over_ = true;
    parser_.reset();
    for (Direction& direction : directions_) {
        shared_.stats.memory -= direction.buffer.size();
        direction.buffer = {};
    }
    shared_.stats.memory -= held_bytes_;
    held_bytes_ = 0;
    held_ = {};
    ++shared_.stats.given_up[static_cast<std::size_t>(reason)];
    shared_.sink.give_up(context_.connection, reason);
}

void Connection::end() {
    while (!held_.empty())
        fill_oldest_hole();
    if (parser_) parser_->end();
}

void Connection::chunk(const Chunk& chunk) {
    last_ns_ = std::max(last_ns_, chunk.time_ns);
    if (over_ || chunk.length == 0) return;
    const Side side = chunk.side == 0 ? Side::client : Side::server;
    if (chunk.transport == model::Protocol::udp) return datagram(chunk);
    if (!first_ && !parser_) return enter_middle(side, chunk);
    arrive(side, chunk);
    if (has_hole() && chunk.time_ns > held_.front().time_ns + shared_.options.hole_ns)
        tick(chunk.time_ns);
}

void Connection::tick(std::uint64_t now_ns) {
    while (!held_.empty() && now_ns > held_.front().time_ns + shared_.options.hole_ns)
        fill_oldest_hole();
}

// --- datagrams: each a message of its own

void Connection::datagram(const Chunk& chunk) {
    const Side side = chunk.side == 0 ? Side::client : Side::server;
    shared_.stats.missing += chunk.length - chunk.data.size();
    if (chunk.data.empty()) return;
    if (!parser_) {
        Start start{.client = {}, .server = {}, .middle = false, .datagram = true};
        (side == Side::client ? start.client : start.server) = chunk.data;
        bool more = false;
        const ProtocolEntry* entry = recognise(start, port_, more);
        if (entry == nullptr) return give_up(GiveUp::unknown);
        become(*entry);
    }
    const Step step =
        parser_->read({side, chunk.data, chunk.data.size() < chunk.length, chunk.time_ns});
    if (step.kind == Step::Kind::give_up) give_up(step.reason);
}

// --- order

void Connection::arrive(Side side, const Chunk& chunk) {
    if (of(side).searching) {
        // Where the next message starts is not known, so nothing can be waited for.
        if (chunk.offset + chunk.length <= of(side).next) {
            ++shared_.stats.repeated;
            return;
        }
        if (chunk.offset < of(side).next) return;
        of(side).next = chunk.offset;
    }
    if (!may_go(side, chunk.offset, chunk.time_ns)) return hold(side, chunk);
    deliver(side, chunk.offset, chunk.length, chunk.data, chunk.time_ns);
    drain();
}

// In order, and not behind something of the other side that waits itself.
bool Connection::may_go(Side side, std::uint64_t offset, std::uint64_t time_ns) {
    if (offset > of(side).next) return false;
    bool other_waits = false;
    for (const Held& held : held_) {
        if (held.side == side) return true; // fills this side's hole
        if (held.time_ns <= time_ns) other_waits = true;
    }
    return !other_waits;
}

void Connection::hold(Side side, const Chunk& chunk) {
    ++shared_.stats.reordered;
    held_.push_back(
        {side, chunk.offset, chunk.length, chunk.time_ns, {chunk.data.begin(), chunk.data.end()}});
    held_bytes_ += chunk.data.size();
    shared_.stats.memory += chunk.data.size();
    while (held_.size() > shared_.options.max_held_chunks || held_bytes_ > shared_.options.max_held)
        fill_oldest_hole();
}

void Connection::drain() {
    std::array<bool, 2> blocked{};
    for (std::size_t i = 0; i < held_.size();) {
        const Side side = held_[i].side;
        const bool in_order = held_[i].offset <= of(side).next || of(side).searching;
        if (!in_order || blocked[static_cast<std::size_t>(other(side))]) {
            if (!in_order) blocked[static_cast<std::size_t>(side)] = true;
            ++i;
            continue;
        }
        const Held held = std::move(held_[i]);
        held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
        held_bytes_ -= held.data.size();
        shared_.stats.memory -= held.data.size();
        if (of(side).searching && held.offset > of(side).next) of(side).next = held.offset;
        deliver(side, held.offset, held.length, held.data, held.time_ns);
        blocked = {};
        i = 0;
    }
}

// What the chunk that waits longest waits for will not come any more.
void Connection::fill_oldest_hole() {
    if (held_.empty()) return;
    auto oldest = std::find_if(held_.begin(), held_.end(), [this](const Held& held) {
        return held.offset > of(held.side).next;
    });
    if (oldest != held_.end()) {
        const Side side = oldest->side;
        std::uint64_t to = oldest->offset;
        for (const Held& held : held_)
            if (held.side == side) to = std::min(to, held.offset);
        ++shared_.stats.holes;
        const std::uint64_t from = of(side).next;
        if (to > from) deliver(side, from, to - from, {}, oldest->time_ns);
    }
    drain();
}

void Connection::deliver(Side side, std::uint64_t offset, std::uint64_t length, Bytes data,
                         std::uint64_t time_ns) {
    if (over_) return;
    Direction& direction = of(side);
    const std::uint64_t end = offset + length;
    if (end <= direction.next) {
        ++shared_.stats.repeated;
        return;
    }
    const std::uint64_t known = direction.next - offset;
    data = data.subspan(std::min<std::uint64_t>(known, data.size()));
    const std::uint64_t missing = end - direction.next - data.size();
    shared_.stats.missing += missing;
    direction.next = end;
    feed(side, data, missing, time_ns);
}

// --- bytes in order

void Connection::feed(Side side, Bytes data, std::uint64_t missing, std::uint64_t time_ns) {
    Direction& direction = of(side);
    const auto skip = [&direction](std::uint64_t available) {
        const std::uint64_t size = std::min(direction.skip, available);
        if (direction.skip != Step::kAll) direction.skip -= size;
        return size;
    };
    if (direction.searching) search(side, data, time_ns);
    if (over_ || direction.searching) return;
    data = data.subspan(skip(data.size()));
    if (!data.empty()) {
        const std::uint64_t old = direction.buffer.size();
        if (parser_ && old == 0) {
            const std::size_t used = parse(side, data, false, 0, 0, time_ns);
            if (over_ || direction.searching) return;
            if (used < data.size()) {
                direction.buffer_ns = time_ns;
                keep(direction, data.subspan(used));
            }
        } else {
            if (old == 0) direction.buffer_ns = time_ns;
            keep(direction, data);
            if (over_) return;
            if (parser_) {
                const std::size_t used =
                    parse(side, direction.buffer, false, old, direction.buffer_ns, time_ns);
                if (over_ || direction.searching) return;
                if (used >= old) direction.buffer_ns = time_ns;
                set_buffer(direction, used);
            }
        }
        if (over_) return;
    }
    if (!parser_) {
        direction.cut = missing;
        return detect();
    }
    missing -= skip(missing);
    if (missing == 0) return;
    // The parser takes what it has as far as that goes, and may know where it goes on behind the hole.
    if (!direction.buffer.empty()) {
        const std::size_t used = parse(side, direction.buffer, true, direction.buffer.size(),
                                       direction.buffer_ns, time_ns);
        if (over_ || direction.searching) return;
        set_buffer(direction, used);
        missing -= skip(missing);
    }
    if (missing != 0) miss(side);
}

// How many of the bytes the parser is done with. The first `old` of them came at old_ns, the others at new_ns.
std::size_t Connection::parse(Side side, Bytes data, bool cut, std::uint64_t old,
                              std::uint64_t old_ns, std::uint64_t new_ns) {
    Direction& direction = of(side);
    std::size_t at = 0;
    while (at < data.size()) {
        const Step step = parser_->read({side, data.subspan(at), cut, at < old ? old_ns : new_ns});
        if (step.kind == Step::Kind::more) {
            if (!cut) return at;
            miss(side);
            return data.size();
        }
        if (step.kind == Step::Kind::give_up || step.bytes == 0) {
            give_up(step.kind == Step::Kind::give_up ? step.reason : GiveUp::malformed);
            return data.size();
        }
        if (step.bytes > data.size() - at) {
            direction.skip =
                step.bytes == Step::kAll ? Step::kAll : step.bytes - (data.size() - at);
            return data.size();
        }
        at += static_cast<std::size_t>(step.bytes);
    }
    return at;
}

// The parser needed bytes that are missing.
void Connection::miss(Side side) {
    Direction& direction = of(side);
    if (!parser_->lost(side)) return give_up(GiveUp::lost);
    set_buffer(direction, direction.buffer.size());
    direction.searching = true;
    direction.searched = 0;
}

void Connection::search(Side side, Bytes data, std::uint64_t time_ns) {
    if (data.empty()) return;
    Direction& direction = of(side);
    if (parser_->enter({side, data, false, time_ns})) {
        direction.searching = false;
        ++shared_.stats.resyncs;
    } else if (++direction.searched > 1024) {
        give_up(GiveUp::lost);
    }
}

void Connection::keep(Direction& direction, Bytes data) {
    // Before the protocol is known a whole chunk may be in it.
    if (parser_ && direction.buffer.size() + data.size() > shared_.options.max_buffer)
        return give_up(GiveUp::too_long);
    direction.buffer.insert(direction.buffer.end(), data.begin(), data.end());
    shared_.stats.memory += data.size();
}

// The buffer starts at `from` of what it was.
void Connection::set_buffer(Direction& direction, std::size_t from) {
    from = std::min(from, direction.buffer.size());
    if (from == 0) return;
    direction.buffer.erase(direction.buffer.begin(),
                           direction.buffer.begin() + static_cast<std::ptrdiff_t>(from));
    shared_.stats.memory -= from;
}

// --- which protocol

void Connection::detect() {
    Direction& client = of(Side::client);
    Direction& server = of(Side::server);
    // A handshake record of TLS; nothing else that is known here begins so.
    if (!client.buffer.empty() && client.buffer[0] == std::byte{0x16} && server.buffer.empty()) {
        if (client.buffer.size() >= 2 || client.cut != 0) give_up(GiveUp::encrypted);
        return;
    }
    const Start start{
        .client = client.buffer, .server = server.buffer, .middle = false, .datagram = false};
    bool more = false;
    const ProtocolEntry* entry = recognise(start, port_, more);
    if (entry == nullptr) {
        const bool cut = client.cut != 0 || server.cut != 0;
        if (!more || client.buffer.size() > kDetectBytes || server.buffer.size() > kDetectBytes)
            give_up(GiveUp::unknown);
        else if (cut)
            give_up(GiveUp::lost);
        return;
    }
    become(*entry);
    // What came first goes first: an answer needs its request.
    std::array<Side, 2> order = {Side::client, Side::server};
    if (client.buffer.empty() || (!server.buffer.empty() && server.buffer_ns < client.buffer_ns))
        std::swap(order[0], order[1]);
    for (const Side side : order) {
        Direction& direction = of(side);
        const std::vector<std::byte> data = std::move(direction.buffer);
        direction.buffer = {};
        shared_.stats.memory -= data.size();
        const std::uint64_t missing = std::exchange(direction.cut, 0);
        if (over_ || (data.empty() && missing == 0)) continue;
        feed(side, data, missing, direction.buffer_ns);
    }
}

void Connection::enter_middle(Side side, const Chunk& chunk) {
    const std::uint64_t quiet_ns = chunk.time_ns - std::min(chunk.time_ns, last_middle_ns_);
    const bool quiet = last_middle_ns_ != 0 && quiet_ns >= kQuietNs;
    last_middle_ns_ = chunk.time_ns;
    if (side == Side::server) return;
    const Start start{.client = chunk.data, .server = {}, .middle = true, .datagram = false};
    bool more = false;
    const ProtocolEntry* entry = recognise(start, port_, more);
    if (entry != nullptr && (entry->middle == ProtocolEntry::Middle::any ||
                             (entry->middle == ProtocolEntry::Middle::quiet && quiet))) {
        become(*entry);
        parser_->middle();
        of(Side::client).searching = true;
        of(Side::server).searching = true;
        of(Side::client).next = chunk.offset;
        return arrive(side, chunk);
    }
    if ((entry != nullptr && entry->middle == ProtocolEntry::Middle::never) ||
        ++tried_ >= kMaxTries)
        give_up(entry != nullptr ? GiveUp::middle : GiveUp::unknown);
}

void Connection::become(const ProtocolEntry& entry) {
    parser_ = entry.make(context_);
    shared_.sink.recognised(context_.connection, entry.protocol);
}

} // namespace beeline::observe::l7
