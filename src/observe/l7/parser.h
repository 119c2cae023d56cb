// What a protocol gives to the tracker: how its first bytes look, and a parser of one connection.
#pragma once

#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "model/l7.h"
#include "observe/l7/bytes.h"
#include "observe/l7/heads.h"
#include "observe/l7/options.h"
#include "observe/l7/tracker.h"

namespace beeline::observe::l7 {

enum class Side : std::uint8_t { client = 0, server = 1 };
constexpr Side other(Side side) { return side == Side::client ? Side::server : Side::client; }

// Unread bytes of one direction, in order, from where the parser stopped.
struct In {
    Side side = Side::client;
    Bytes data;
    bool cut = false; // what follows `data` is missing: asking for more is in vain
    std::uint64_t time_ns = 0;
};

struct Step {
    enum class Kind : std::uint8_t { take, more, give_up };
    static constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();

    // `bytes` of the direction are done with, which may reach past the end of the data: those need not be seen.
    static Step take(std::uint64_t bytes) { return {Kind::take, bytes, GiveUp::unknown}; }
    static Step more() { return {Kind::more, 0, GiveUp::unknown}; }
    static Step give_up(GiveUp reason) { return {Kind::give_up, 0, reason}; }

    Kind kind;
    std::uint64_t bytes;
    GiveUp reason;
};

// What a parser sees of its tracker and connection.
struct Context {
    const Options& options;
    Sink& sink;
    Stats& stats;
    Heads& heads;
    std::uint64_t connection = 0;
    bool tls = false;
    model::Protocol transport = model::Protocol::tcp;

    std::shared_ptr<const model::L7> emit(std::uint64_t time_ns, model::L7 message);
    // Precondition: message.tls is the connection's.
    void emit(std::uint64_t time_ns, const std::shared_ptr<const model::L7>& message,
              const model::L7Numbers& numbers);
    // At most max_text of UTF-8, without control characters: fit for JSON and protobuf whatever was sent.
    [[nodiscard]] std::string text(std::string_view raw) const;
};

class Parser {
public:
    virtual ~Parser() = default;

    // Called with what is there until it asks for more. Takes at least one byte, or more, or gives up. With the same
    // bytes it must say the same however they are split.
    virtual Step read(const In& in) = 0;
    // Bytes are missing that read() needed. True: it can go on where a chunk of this direction passes enter().
    virtual bool lost(Side) { return false; }
    // Whether in.data, the start of a chunk, is for certain the start of a message that can be read from here.
    virtual bool enter(const In&) { return false; }
    // The connection is seen from its middle: enter() is asked first, for both directions.
    virtual void middle() {}
    // The connection is over.
    virtual void end() {}
};

// The requests of a connection that wait for their answers, oldest first.
class Outstanding {
public:
    struct Request {
        std::shared_ptr<const model::L7> message;
        std::uint64_t time_ns = 0;
        std::uint64_t key = 0;
        std::uint64_t note = 0;  // the parser's
        std::uint64_t bytes = 0; // of the body, when the message does not have it
    };

    explicit Outstanding(Context& context) : context_(context) {}
    ~Outstanding();
    Outstanding(const Outstanding&) = delete;
    Outstanding& operator=(const Outstanding&) = delete;

    // Tells the sink of the request, too. False: too many wait.
    bool add(std::uint64_t time_ns, model::L7 message, std::uint64_t key = 0,
             std::uint64_t note = 0);
    bool add(std::uint64_t time_ns, const std::shared_ptr<const model::L7>& message,
             std::uint64_t request_bytes, std::uint64_t note);
    [[nodiscard]] bool empty() const { return requests_.empty(); }
    [[nodiscard]] std::size_t size() const { return requests_.size(); }
    [[nodiscard]] const Request& front() const { return requests_.front(); }
    Request& front() { return requests_.front(); }
    void drop();                                   // the oldest, if there is one
    std::optional<Request> pop();                  // the oldest
    std::optional<Request> pop(std::uint64_t key); // the oldest with this key
    Request* find(std::uint64_t key);
    // From the request's first byte to the answer's.
    static std::uint64_t latency(const Request& request, std::uint64_t time_ns);
    // The answer's value, with the request's fields.
    static model::L7 answer(const Request& request, std::uint64_t time_ns);

private:
    Context& context_;
    std::deque<Request> requests_;
};

// How sure a protocol is that a connection is its own.
enum class Match : std::uint8_t {
    no,
    more,   // too few bytes to say
    likely, // counts on one of the protocol's usual ports only
    yes
};

struct Start {
    Bytes client; // first bytes of both directions; empty: none yet
    Bytes server;
    bool middle = false; // `client` is the start of some chunk of it
    bool datagram = false;
};

struct ProtocolEntry {
    // Whether a connection may be entered at the start of a client's chunk.
    enum class Middle : std::uint8_t {
        never,
        quiet, // when nothing is under way: its answers name no request
        any
    };

    model::L7::Protocol protocol;
    std::array<std::uint16_t, 4> ports; // usual ones, 0: none
    Middle middle;
    Match (*detect)(const Start& start);
    std::unique_ptr<Parser> (*make)(Context& context);
};

std::span<const ProtocolEntry> protocols();

// Of each protocol's source.
extern const ProtocolEntry kHttp1, kHttp2, kDns, kKafka, kRedis, kPostgresql, kMysql, kMongodb,
    kAmqp, kNats, kMemcached, kMemcachedBinary, kCassandra;

} // namespace beeline::observe::l7
