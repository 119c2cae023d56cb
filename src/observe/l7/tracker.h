// Captured payload -> messages of application protocols. Passive: it sees copies, perhaps incomplete ones, and says
// nothing rather than something wrong. One thread; no I/O.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "model/l7.h"
#include "model/protocol.h"
#include "observe/l7/options.h"

namespace beeline::observe::l7 {

// A piece of one direction of one connection, as captured. Both directions' pieces come in about the order of their
// times: an answer never before the request that it answers.
struct Chunk {
    std::uint64_t connection = 0; // the capturer's id, not used again while the connection lives
    std::uint8_t side = 0; // who sent it: 0 the client (who opened the connection), 1 the server
    bool tls = false;      // plain text of a TLS library
    model::Protocol transport = model::Protocol::tcp; // tcp, udp
    std::uint16_t server_port = 0;                    // a hint only
    std::uint64_t offset =
        0; // of the first byte in this direction's stream: TCP sequence number minus the first
           // payload byte's (see Unwrap); of UDP not used
    std::uint32_t length = 0;        // bytes on the wire
    std::span<const std::byte> data; // the captured head of them, at most `length`
    std::uint64_t time_ns = 0;       // CLOCK_MONOTONIC
    bool first =
        false; // the connection was seen from its beginning: both directions start at offset 0
};

// 32 bit sequence numbers, less the stream's first, as 64 bit offsets. Order within 2 GiB does not matter.
class Unwrap {
public:
    std::uint64_t offset(std::uint32_t relative) {
        const auto step = static_cast<std::int32_t>(relative - static_cast<std::uint32_t>(last_));
        if (step < 0 && static_cast<std::uint64_t>(-static_cast<std::int64_t>(step)) > last_)
            return 0;
        const std::uint64_t result =
            last_ + static_cast<std::uint64_t>(static_cast<std::int64_t>(step));
        if (step > 0) last_ = result;
        return result;
    }

private:
    std::uint64_t last_ = 0;
};

// Why a connection is read no further. X(name, what people read)
#define BEELINE_L7_GIVE_UPS(X)                                                                     \
    X(unknown, "no protocol that is known here")                                                   \
    X(middle, "seen from its middle, where its protocol cannot be entered")                        \
    X(lost, "payload is missing that had to be read")                                              \
    X(malformed, "not what its protocol allows")                                                   \
    X(too_long, "a head longer than the limit")                                                    \
    X(outstanding, "too many requests without an answer")                                          \
    X(encrypted, "it became encrypted")                                                            \
    X(tunnel, "it became another protocol (CONNECT, upgrade)")                                     \
    X(unsupported, "a part of its protocol that is not read (compression, a version)")             \
    X(memory, "forgotten to make room")

enum class GiveUp : std::uint8_t {
#define X(name, text) name,
    BEELINE_L7_GIVE_UPS(X)
#undef X
        count
};
std::string_view name_of(GiveUp reason);   // "too_long"
std::string_view to_string(GiveUp reason); // for people

class Sink {
public:
    virtual ~Sink() = default;
    // `time_ns`: of the message's first byte.
    virtual void message(std::uint64_t connection, std::uint64_t time_ns,
                         std::shared_ptr<const model::L7> message) = 0;
    // The same of a message that others share: what `numbers` has is not in it.
    virtual void shared_message(std::uint64_t connection, std::uint64_t time_ns,
                                const std::shared_ptr<const model::L7>& message,
                                const model::L7Numbers& numbers);
    // What the connection speaks, once. Of HTTP/2 every header must be captured: a capturer that copies heads only may copy
    // more of it from then on, or the ends of packets as chunks of their own.
    virtual void recognised(std::uint64_t, model::L7::Protocol) {}
    // Nothing more comes of this connection; its chunks need not be captured any more. Once per connection.
    virtual void give_up(std::uint64_t connection, GiveUp reason) = 0;
};

struct Stats {
    std::uint64_t chunks = 0;
    std::uint64_t bytes = 0;      // captured
    std::uint64_t missing = 0;    // bytes on the wire that were not captured, or lost
    std::uint64_t repeated = 0;   // chunks that held nothing new
    std::uint64_t reordered = 0;  // chunks that waited for earlier ones
    std::uint64_t holes = 0;      // earlier ones that never came
    std::uint64_t resyncs = 0;    // messages of unknown length whose end was found again
    std::uint64_t unanswered = 0; // requests of connections that ended before their answer
    std::array<std::uint64_t, static_cast<std::size_t>(model::L7::Protocol::count)> messages{};
    std::array<std::uint64_t, static_cast<std::size_t>(GiveUp::count)> given_up{};
    std::size_t connections = 0; // now
    std::size_t memory = 0;      // now: bytes of payload that wait for their rest
};

class Tracker {
public:
    Tracker(Options options, Sink& sink);
    ~Tracker();
    Tracker(const Tracker&) = delete;
    Tracker& operator=(const Tracker&) = delete;

    // Calls the sink, which must not call the tracker.
    void chunk(const Chunk& chunk);
    // The connection ended; what was waiting for its end is told first. Unknown connections are none of its business.
    void closed(std::uint64_t connection);
    // Gives up holes that are too old; call it about ten times a second.
    void tick(std::uint64_t now_ns);
    [[nodiscard]] Stats stats() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace beeline::observe::l7
