// HTTP/1 heads that were read before, and what they said. Clients ask the same again and servers answer with the same
// head: then a comparison of bytes takes the place of reading, and the messages are one value instead of many equal ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "model/l7.h"

namespace beeline::observe::l7 {

struct Head {
    std::string bytes; // with the empty line at its end
    // What it answers: an answer's message repeats the request's fields. Null: it is a request.
    std::shared_ptr<const model::L7> request;
    std::shared_ptr<const model::L7> message; // without latency and without the sizes of bodies
    std::optional<std::uint64_t> length;
    bool chunked = false;
    bool other_coding = false;
};

// Shared by all connections of a tracker. Bounded: a head takes the place of another one with a like digest.
class Heads {
public:
    using Found = std::shared_ptr<const Head>;

    static constexpr std::size_t kLongest = 2048;

    // Whether `data` begins with the head, said in answer to that request.
    static bool is(const Head& head, std::string_view data, const model::L7* request) {
        return head.request.get() == request && data.starts_with(head.bytes);
    }
    // `bytes`: a whole head. Null: not known.
    Found find(std::string_view bytes, const model::L7* request);
    // Whether it is worth while to add() what was not found: not when hardly any head comes twice.
    [[nodiscard]] bool wanted(std::string_view bytes) const;
    Found add(Head head);

private:
    static constexpr std::size_t kSlots = 1024;
    static constexpr std::uint32_t kPeriod = 4096; // look-ups, after which older ones count half

    static std::size_t slot_of(std::string_view bytes, const model::L7* request);

    std::array<Found, kSlots> slots_;
    std::uint32_t looked_ = 0;
    std::uint32_t found_ = 0;
};

} // namespace beeline::observe::l7
