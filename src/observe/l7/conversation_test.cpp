// Every recorded conversation in every way that a capture may deliver it: the same messages, or fewer, never others.
#include <gtest/gtest.h>

#include <random>

#include "observe/l7/test_replay.h"

namespace beeline::observe::l7 {
namespace {

using namespace testing;
using Lines = std::vector<std::string>;

class Conversations : public ::testing::TestWithParam<Conversation> {
protected:
    const Conversation& conversation() { return GetParam(); }
    [[nodiscard]] std::vector<Piece> parts(std::size_t size) {
        return conversation().udp ? pieces_of(conversation())
                                  : split(pieces_of(conversation()), size);
    }
    // Each message says what one of the whole conversation says; some may be missing, and in some a text that was
    // not captured whole.
    void expect_part(const std::vector<Piece>& pieces, bool first, const std::string& how);
};

bool text_agrees(const std::string& part, const std::string& whole) {
    return part.empty() || part == whole;
}

bool agrees(const model::L7& part, const model::L7& whole) {
    const bool known = part.status != model::L7::Status::unknown;
    if (part.protocol != whole.protocol || part.type != whole.type ||
        (known && part.status != whole.status) || (part.code != 0 && part.code != whole.code))
        return false;
    // Whose question was not seen: a delivery, or something prepared before.
    if (part.method == "MSG" || part.method == "basic.deliver" || part.method == "channel.close")
        return part.latency_ns == 0 && part.response_bytes == whole.response_bytes;
    if ((part.method == "EXECUTE" || part.method == "QUERY" || part.method == "BATCH") &&
        part.resource.empty())
        return true;
    for (const auto& header : part.headers)
        if (std::find(whole.headers.begin(), whole.headers.end(), header) == whole.headers.end())
            return false;
    const auto is_prefix = [](const auto& few, const auto& many) {
        return few.size() <= many.size() && std::equal(few.begin(), few.end(), many.begin());
    };
    return text_agrees(part.method, whole.method) && text_agrees(part.resource, whole.resource) &&
           text_agrees(part.host, whole.host) && text_agrees(part.version, whole.version) &&
           (text_agrees(part.url, whole.url) || whole.url.starts_with(part.url)) &&
           whole.error.starts_with(part.error) &&
           is_prefix(part.dns.addresses, whole.dns.addresses) &&
           is_prefix(part.dns.names, whole.dns.names) &&
           (part.request_bytes == 0 || part.request_bytes == whole.request_bytes) &&
           part.response_bytes <= whole.response_bytes; // of a body until the end of the connection
}

Recorder record(const Conversation& conversation, const std::vector<Piece>& pieces, bool first) {
    Recorder recorder;
    Tracker tracker({}, recorder);
    std::uint64_t time_ns = 1'000'000'000;
    for (const Piece& piece : pieces) {
        time_ns += 30'000'000; // quiet between any two
        tracker.chunk({.connection = 7,
                       .side = piece.side,
                       .tls = false,
                       .transport = conversation.udp ? model::Protocol::udp : model::Protocol::tcp,
                       .server_port = conversation.port,
                       .offset = piece.offset,
                       .length = piece.length,
                       .data = std::as_bytes(std::span(piece.data)),
                       .time_ns = time_ns,
                       .first = first});
    }
    tracker.closed(7);
    return recorder;
}

void Conversations::expect_part(const std::vector<Piece>& pieces, bool first,
                                const std::string& how) {
    const Recorder whole = record(conversation(), pieces_of(conversation()), true);
    const Recorder part = record(conversation(), pieces, first);
    // A hole holds one side back, so only the sides' orders remain.
    std::vector<bool> said(whole.messages.size());
    for (const auto& message : part.messages) {
        std::size_t at = 0;
        while (at < said.size() && (said[at] || !agrees(*message, *whole.messages[at])))
            ++at;
        ASSERT_LT(at, said.size()) << how << ": said " << describe(*message);
        said[at] = true;
    }
}

TEST_P(Conversations, Whole) {
    const Lines lines = replay(conversation(), pieces_of(conversation()));
    if (lines != conversation().expected)
        for (const std::string& line : lines)
            std::printf("= %s\n", line.c_str());
    EXPECT_EQ(lines, conversation().expected);
}

TEST_P(Conversations, InPiecesOfEverySize) {
    for (std::size_t size = 1; size < 48; ++size)
        ASSERT_EQ(replay(conversation(), parts(size)), conversation().expected)
            << "pieces of " << size;
}

// Every place in the dev tree; the sanitizers, which take ten times as long, see every fifth.
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kEvery = 5;
#elif defined(__has_feature)
constexpr std::size_t kEvery = __has_feature(address_sanitizer) ? 5 : 1;
#else
constexpr std::size_t kEvery = 1;
#endif

TEST_P(Conversations, SplitAnywhere) {
    const std::vector<Piece> whole = pieces_of(conversation());
    if (conversation().udp) return;
    for (std::size_t which = 0; which < whole.size(); ++which) {
        const std::size_t size = whole[which].data.size();
        for (std::size_t at = 1; at < size; at += kEvery * (size > 2000 ? 13 : 1)) {
            std::vector<Piece> pieces(whole.begin(),
                                      whole.begin() + static_cast<std::ptrdiff_t>(which));
            const Piece& piece = whole[which];
            pieces.push_back({piece.side, piece.offset, piece.data.substr(0, at),
                              static_cast<std::uint32_t>(at)});
            pieces.push_back({piece.side, piece.offset + at, piece.data.substr(at),
                              static_cast<std::uint32_t>(size - at)});
            pieces.insert(pieces.end(), whole.begin() + static_cast<std::ptrdiff_t>(which) + 1,
                          whole.end());
            ASSERT_EQ(replay(conversation(), pieces), conversation().expected)
                << "piece " << which << " split at " << at;
        }
    }
}

TEST_P(Conversations, RandomPiecesOutOfOrderAndTwice) {
    std::mt19937 random(7);
    if (conversation().udp) return;
    for (unsigned round = 0; round < 100; ++round) {
        std::vector<Piece> pieces;
        for (const Piece& whole : pieces_of(conversation())) {
            std::vector<Piece> run;
            for (std::size_t at = 0; at < whole.data.size();) {
                const std::size_t size =
                    std::min<std::size_t>(1 + random() % 200, whole.data.size() - at);
                run.push_back({whole.side, whole.offset + at, whole.data.substr(at, size),
                               static_cast<std::uint32_t>(size)});
                at += size;
                if (run.size() == 6 || at == whole.data.size()) {
                    std::shuffle(run.begin(), run.end(), random);
                    if (random() % 2 == 0) run.push_back(run[random() % run.size()]);
                    pieces.insert(pieces.end(), run.begin(), run.end());
                    run.clear();
                }
            }
        }
        ASSERT_EQ(replay(conversation(), pieces), conversation().expected) << "round " << round;
    }
}

TEST_P(Conversations, RetransmittedWithOverlap) {
    if (conversation().udp) return;
    std::vector<Piece> pieces;
    std::string sent[2];
    for (const Piece& piece : parts(40)) {
        pieces.push_back(piece);
        sent[piece.side] += piece.data;
        const std::size_t from = sent[piece.side].size() < 60 ? 0 : sent[piece.side].size() - 60;
        const std::string again = sent[piece.side].substr(from);
        pieces.push_back({piece.side, from, again, static_cast<std::uint32_t>(again.size())});
    }
    EXPECT_EQ(replay(conversation(), pieces), conversation().expected);
}

TEST_P(Conversations, CapturedInPart) {
    for (std::size_t size = 1; size < 400; size += size < 80 ? 1 : 17) {
        std::vector<Piece> pieces = pieces_of(conversation());
        for (Piece& piece : pieces)
            piece.data = piece.data.substr(0, size);
        ASSERT_NO_FATAL_FAILURE(expect_part(pieces, true, "captured " + std::to_string(size)));
    }
    std::mt19937 random(3);
    for (unsigned round = 0; round < 200; ++round) {
        std::vector<Piece> pieces = parts(1 + random() % 300);
        for (Piece& piece : pieces)
            if (random() % 4 == 0)
                piece.data = piece.data.substr(0, random() % (piece.data.size() + 1));
        ASSERT_NO_FATAL_FAILURE(expect_part(pieces, true, "round " + std::to_string(round)));
    }
}

TEST_P(Conversations, WithLostPieces) {
    for (const std::size_t size : {10000U, 200U, 50U}) {
        const std::vector<Piece> whole = parts(size);
        for (std::size_t lost = 0; lost < whole.size(); ++lost) {
            std::vector<Piece> pieces = whole;
            pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(lost));
            ASSERT_NO_FATAL_FAILURE(expect_part(pieces, true, "without " + std::to_string(lost)));
        }
    }
}

TEST_P(Conversations, FromTheMiddle) {
    for (const std::size_t size : {10000U, 100U, 30U}) {
        const std::vector<Piece> whole = parts(size);
        for (std::size_t from = 0; from < whole.size(); ++from) {
            const std::vector<Piece> pieces(whole.begin() + static_cast<std::ptrdiff_t>(from),
                                            whole.end());
            ASSERT_NO_FATAL_FAILURE(expect_part(pieces, false, "from " + std::to_string(from)));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Recorded, Conversations, ::testing::ValuesIn(conversations()),
                         [](const auto& info) {
                             std::string name = info.param.name;
                             for (char& c : name)
                                 if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                             return name;
                         });

} // namespace
} // namespace beeline::observe::l7
