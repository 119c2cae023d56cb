// One connection: chunks in any order -> bytes in order -> its parser.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "observe/l7/parser.h"

namespace beeline::observe::l7 {

class Connection {
public:
    // What all connections share.
    struct Shared {
        const Options& options;
        Sink& sink;
        Stats& stats;
        Heads& heads;
    };

    Connection(const Shared& shared, const Chunk& chunk);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    void chunk(const Chunk& chunk);
    // Gives up holes older than the limit.
    void tick(std::uint64_t now_ns);
    // Tells what waited for the end.
    void end();
    void give_up(GiveUp reason);

    [[nodiscard]] bool over() const { return over_; } // given up
    [[nodiscard]] bool has_hole() const { return !held_.empty(); }
    [[nodiscard]] std::uint64_t last_ns() const { return last_ns_; }

private:
    struct Direction {
        std::uint64_t next = 0; // offset of the first byte that was not delivered
        std::uint64_t skip = 0; // bytes from there on that the parser does not need
        bool searching = false; // for a chunk that the parser can enter
        unsigned searched = 0;
        std::vector<std::byte> buffer; // delivered, but the parser needs more
        std::uint64_t buffer_ns = 0;   // when its first byte came
        std::uint64_t cut = 0; // bytes missing behind `buffer`, only before the protocol is known
    };
    struct Held {
        Side side;
        std::uint64_t offset;
        std::uint64_t length;
        std::uint64_t time_ns;
        std::vector<std::byte> data;
    };

    Direction& of(Side side) { return directions_[static_cast<std::size_t>(side)]; }
    void datagram(const Chunk& chunk);
    void arrive(Side side, const Chunk& chunk);
    void hold(Side side, const Chunk& chunk);
    bool may_go(Side side, std::uint64_t offset, std::uint64_t time_ns);
    void drain();
    void fill_oldest_hole();
    void deliver(Side side, std::uint64_t offset, std::uint64_t length, Bytes data,
                 std::uint64_t time_ns);
    void feed(Side side, Bytes data, std::uint64_t missing, std::uint64_t time_ns);
    std::size_t parse(Side side, Bytes data, bool cut, std::uint64_t old, std::uint64_t old_ns,
                      std::uint64_t new_ns);
    void search(Side side, Bytes data, std::uint64_t time_ns);
    void miss(Side side);
    void detect();
    void enter_middle(Side side, const Chunk& chunk);
    void become(const ProtocolEntry& entry);
    void keep(Direction& direction, Bytes data);
    void set_buffer(Direction& direction, std::size_t from);

    Shared shared_;
    Context context_;
    std::uint16_t port_;
    bool first_;
    bool over_ = false;
    std::unique_ptr<Parser> parser_;
    std::array<Direction, 2> directions_;
    std::vector<Held> held_; // in the order of arrival
    std::size_t held_bytes_ = 0;
    std::uint64_t last_ns_ = 0;
    std::uint64_t last_middle_ns_ = 0;
    unsigned tried_ = 0; // starts in the middle
};

} // namespace beeline::observe::l7
