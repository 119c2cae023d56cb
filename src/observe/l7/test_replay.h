// Recorded conversations for tests: given to the tracker in every way that a capture may hand them over.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "observe/l7/tracker.h"

namespace beeline::observe::l7::testing {

// One write of one side. `data` may be a part of what went over the wire.
struct Segment {
    std::uint8_t side = 0;
    std::string data;
};

struct Conversation {
    std::string name;
    std::uint16_t port = 0;
    bool udp = false;
    std::vector<Segment> segments;
    std::vector<std::string> expected; // messages as describe() writes them, and "give up REASON"
};

// A file of tests/data/l7: lines `> "bytes"` of the client, `< "bytes"` of the server (escapes as in C, \xNN),
// `= message expected`, `port N`, `udp`; # comments.
Conversation read_conversation(const std::string& path);
std::vector<Conversation> conversations(); // all of them

inline void PrintTo(const Conversation& conversation, std::ostream* out) {
    *out << conversation.name;
}

std::string describe(const model::L7& message);

// Everything that the sink is told, in order.
class Recorder final : public Sink {
public:
    void message(std::uint64_t, std::uint64_t, std::shared_ptr<const model::L7> message) override;
    void give_up(std::uint64_t, GiveUp reason) override;

    std::vector<std::string> lines;
    std::vector<std::shared_ptr<const model::L7>> messages;
};

// A piece as the tracker gets it.
struct Piece {
    std::uint8_t side = 0;
    std::uint64_t offset = 0;
    std::string data;
    std::uint32_t length = 0;
};
std::vector<Piece> pieces_of(const Conversation& conversation); // one per segment
// Each stream piece cut so that none is longer than `size`.
std::vector<Piece> split(const std::vector<Piece>& pieces, std::size_t size);

// What the tracker says when given these pieces, each a millisecond after the last, and the end of the connection.
std::vector<std::string> replay(const Conversation& conversation, const std::vector<Piece>& pieces,
                                bool first = true, const Options& options = {});
std::vector<std::string> replay(const std::vector<Segment>& segments, std::uint16_t port = 0);

} // namespace beeline::observe::l7::testing
