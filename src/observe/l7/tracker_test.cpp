#include <gtest/gtest.h>

#include "observe/l7/test_replay.h"

namespace beeline::observe::l7 {
namespace {

using namespace testing;
using Lines = std::vector<std::string>;

// Chunks of connections by hand.
class TrackerTest : public ::testing::Test {
protected:
    void give(Tracker& tracker, std::uint64_t connection, std::uint8_t side, std::uint64_t offset,
              std::string_view data, std::uint32_t length = 0) {
        time_ns_ += 1'000'000;
        tracker.chunk({.connection = connection,
                       .side = side,
                       .tls = false,
                       .transport = model::Protocol::tcp,
                       .server_port = 0,
                       .offset = offset,
                       .length = length != 0 ? length : static_cast<std::uint32_t>(data.size()),
                       .data = std::as_bytes(std::span(data)),
                       .time_ns = time_ns_,
                       .first = true});
    }

    Recorder recorder_;
    std::uint64_t time_ns_ = 1'000'000'000;
};

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

TEST_F(TrackerTest, LatencyIsFromFirstByteToFirstByte) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet.substr(0, 10));
    give(tracker, 1, 0, 10, kGet.substr(10));
    give(tracker, 1, 1, 0, kOk.substr(0, 3));
    give(tracker, 1, 1, 3, kOk.substr(3));
    ASSERT_EQ(recorder_.messages.size(), 2U);
    EXPECT_EQ(recorder_.messages[1]->latency_ns, 2'000'000U);
    EXPECT_EQ(recorder_.messages[1]->response_bytes, 5U);
}

class SharedMessages final : public Sink {
public:
    void message(std::uint64_t, std::uint64_t, std::shared_ptr<const model::L7>) override { ++own; }
    void shared_message(std::uint64_t, std::uint64_t,
                        const std::shared_ptr<const model::L7>& message,
                        const model::L7Numbers& numbers) override {
        messages.push_back(message);
        this->numbers.push_back(numbers);
    }
    void give_up(std::uint64_t, GiveUp) override { ++own; }

    std::vector<std::shared_ptr<const model::L7>> messages;
    std::vector<model::L7Numbers> numbers;
    int own = 0;
};

TEST_F(TrackerTest, WhatIsSaidAgainIsOneValue) {
    SharedMessages sink;
    Tracker tracker({}, sink);
    const std::string post = "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const std::string bodies[] = {"5\r\nhello\r\n0\r\n\r\n", "2\r\nhi\r\n0\r\n\r\n"};
    for (std::uint64_t connection = 1; connection <= 2; ++connection) {
        give(tracker, connection, 0, 0, post);
        give(tracker, connection, 1, 0, chunked + bodies[connection - 1]);
        give(tracker, connection, 0, post.size(), kGet);
        give(tracker, connection, 1, chunked.size() + bodies[connection - 1].size(), kOk);
    }
    ASSERT_EQ(sink.messages.size(), 8U);
    EXPECT_EQ(sink.own, 0);
    for (std::size_t i = 0; i < 4; ++i)
        EXPECT_EQ(sink.messages[i], sink.messages[i + 4]) << i;
    EXPECT_EQ(sink.numbers[0].request_bytes, 3U);
    EXPECT_EQ(sink.numbers[1].request_bytes, 3U);
    EXPECT_EQ(sink.numbers[1].response_bytes, 5U);
    EXPECT_EQ(sink.numbers[5].response_bytes, 2U);
    EXPECT_EQ(sink.numbers[7].latency_ns, 1'000'000U);
    EXPECT_EQ(sink.messages[1]->latency_ns, 0U);
    EXPECT_EQ(sink.messages[1]->response_bytes, 0U);
    // The same head says something else in answer to something else.
    EXPECT_EQ(sink.messages[1]->method, "POST");
    EXPECT_EQ(sink.messages[3]->method, "GET");
}

// Whatever was seen before, the same is said of the same bytes.
TEST(Heads, ChangeNothing) {
    for (const Conversation& conversation : conversations()) {
        Recorder recorder;
        Tracker tracker({}, recorder);
        std::size_t first = 0;
        for (std::uint64_t round = 1; round <= 3; ++round) {
            std::uint64_t time_ns = 1'000'000'000 * round;
            for (const Piece& piece : pieces_of(conversation))
                tracker.chunk(
                    {.connection = round,
                     .side = piece.side,
                     .tls = false,
                     .transport = conversation.udp ? model::Protocol::udp : model::Protocol::tcp,
                     .server_port = conversation.port,
                     .offset = piece.offset,
                     .length = piece.length,
                     .data = std::as_bytes(std::span(piece.data)),
                     .time_ns = time_ns += 1'000'000,
                     .first = true});
            tracker.closed(round);
            if (round == 1) first = recorder.lines.size();
            ASSERT_EQ(recorder.lines.size(), first * round) << conversation.name;
            for (std::size_t i = 0; i < first; ++i)
                ASSERT_EQ(recorder.lines[first * (round - 1) + i], recorder.lines[i])
                    << conversation.name;
        }
    }
}

TEST_F(TrackerTest, BodyThatWasNotCapturedIsPassedOver) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet);
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    give(tracker, 1, 1, 0, head, static_cast<std::uint32_t>(head.size() + 100000));
    give(tracker, 1, 0, kGet.size(), kGet);
    give(tracker, 1, 1, head.size() + 100000, kOk);
    EXPECT_EQ(recorder_.messages.size(), 4U);
    EXPECT_EQ(tracker.stats().missing, 100000U);
    EXPECT_EQ(tracker.stats().given_up, Stats{}.given_up);
}

TEST_F(TrackerTest, FindsTheNextAnswerBehindChunksThatWereNotCaptured) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet);
    const std::string head = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n";
    give(tracker, 1, 1, 0, head, 20000); // chunks whose sizes nobody saw
    give(tracker, 1, 1, 20000, "more of it 0\r\n\r\n");
    give(tracker, 1, 0, kGet.size(), kGet);
    give(tracker, 1, 1, 20016, kOk);
    ASSERT_EQ(recorder_.messages.size(), 4U);
    EXPECT_EQ(recorder_.messages[1]->code, 404U);
    EXPECT_EQ(recorder_.messages[3]->code, 200U);
    EXPECT_EQ(tracker.stats().resyncs, 1U);
}

TEST_F(TrackerTest, PipelinedAnswersOfUnknownLengthAreGivenUp) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, std::string(kGet) + std::string(kGet));
    give(tracker, 1, 1, 0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n", 20000);
    EXPECT_EQ(recorder_.lines.back(), "give up lost");
}

TEST_F(TrackerTest, HoleThatIsNotFilledInTime) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet);
    give(tracker, 1, 1, 10, kOk.substr(10));
    EXPECT_EQ(recorder_.lines.size(), 1U);
    tracker.tick(time_ns_ + 100'000'000);
    EXPECT_EQ(recorder_.lines.size(), 1U);
    tracker.tick(time_ns_ + 300'000'000);
    EXPECT_EQ(recorder_.lines.back(), "give up lost");
    EXPECT_EQ(tracker.stats().holes, 1U);
    EXPECT_EQ(tracker.stats().memory, 0U);
}

TEST_F(TrackerTest, AnswerWaitsForARequestThatComesLate) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet);
    give(tracker, 1, 1, 0, kOk);
    give(tracker, 1, 0, kGet.size() + 10, kGet.substr(10));
    give(tracker, 1, 1, kOk.size(), kOk);
    EXPECT_EQ(recorder_.lines.size(), 2U);
    give(tracker, 1, 0, kGet.size(), kGet.substr(0, 10));
    EXPECT_EQ(recorder_.lines.size(), 4U);
    EXPECT_EQ(tracker.stats().reordered, 2U);
}

// The end of a packet whose middle was not copied, as a chunk of its own: the lengths pass over what is in between.
TEST_F(TrackerTest, HeadAndTailOfAPacket) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet);
    const std::string head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\nxx";
    give(tracker, 1, 1, 0, head, static_cast<std::uint32_t>(head.size() + 4900));
    give(tracker, 1, 1, head.size() + 4900, std::string(98, 'x') + "\r\n0\r\n\r\n");
    ASSERT_EQ(recorder_.messages.size(), 2U);
    EXPECT_EQ(recorder_.messages[1]->response_bytes, 5000U);
    EXPECT_EQ(tracker.stats().resyncs, 0U);
}

TEST_F(TrackerTest, GivenUpOnceAndSilentFromThen) {
    Tracker tracker({}, recorder_);
    for (std::uint64_t i = 0; i < 5; ++i)
        give(tracker, 1, 0, i * 20, "\x01\x02 no protocol at all");
    EXPECT_EQ(recorder_.lines, Lines{"give up unknown"});
    tracker.closed(1);
    EXPECT_EQ(tracker.stats().connections, 0U);
}

TEST_F(TrackerTest, TheLongestUnusedConnectionMakesRoom) {
    Tracker tracker({.max_connections = 2}, recorder_);
    give(tracker, 1, 0, 0, kGet.substr(0, 5));
    give(tracker, 2, 0, 0, kGet.substr(0, 5));
    give(tracker, 1, 0, 5, kGet.substr(5));
    give(tracker, 3, 0, 0, kGet.substr(0, 5));
    EXPECT_EQ(recorder_.lines.back(), "give up memory"); // of 2
    give(tracker, 1, 1, 0, kOk);
    EXPECT_EQ(recorder_.messages.size(), 2U);
}

TEST_F(TrackerTest, MemoryIsBounded) {
    Tracker tracker({.max_memory = 4096}, recorder_);
    const std::string head = "GET /" + std::string(1000, 'x');
    for (std::uint64_t i = 1; i <= 100; ++i)
        give(tracker, i, 0, 0, head);
    EXPECT_LE(tracker.stats().memory, 4096U);
    EXPECT_GE(tracker.stats().given_up[static_cast<std::size_t>(GiveUp::memory)], 96U);
}

TEST_F(TrackerTest, IdleConnectionsAreForgotten) {
    Tracker tracker({}, recorder_);
    give(tracker, 1, 0, 0, kGet);
    tracker.tick(time_ns_ + 601'000'000'000);
    EXPECT_EQ(tracker.stats().connections, 0U);
    EXPECT_EQ(tracker.stats().unanswered, 1U);
}

TEST_F(TrackerTest, FirstChunkMayBeLong) {
    Tracker tracker({}, recorder_);
    const std::string body(60000, 'x');
    give(tracker, 1, 0, 0, "POST /a HTTP/1.1\r\nContent-Length: 60000\r\n\r\n" + body);
    EXPECT_EQ(recorder_.messages.size(), 1U);
}

TEST(Tracker, Unwrap) {
    Unwrap unwrap;
    EXPECT_EQ(unwrap.offset(0), 0U);
    EXPECT_EQ(unwrap.offset(0x7fffffff), 0x7fffffffU);
    EXPECT_EQ(unwrap.offset(0xfffffff0), 0xfffffff0U);
    EXPECT_EQ(unwrap.offset(0x10), 0x100000010ULL);
    EXPECT_EQ(unwrap.offset(0xffffff00), 0xffffff00U); // late
    EXPECT_EQ(unwrap.offset(0x20), 0x100000020ULL);
}

TEST(Http1, EndsOfBeingHttp) {
    EXPECT_EQ(
        replay({{0, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n"},
                {1, "HTTP/1.1 200 OK\r\n\r\n"}}),
        (Lines{"request http [CONNECT] [db:5432] host=[db:5432] version=[HTTP/1.1] host:[db:5432]",
               "response http 200 ok [CONNECT] [db:5432] host=[db:5432] version=[HTTP/1.1]",
               "give up tunnel"}));
    const Lines upgraded = replay(
        {{0, "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
         {1, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"}});
    ASSERT_EQ(upgraded.size(), 3U);
    EXPECT_EQ(upgraded[2], "give up tunnel");
}

TEST(Http1, WhatNoServerWouldAccept) {
    const auto last = [](std::string request) { return replay({{0, std::move(request)}}).back(); };
    EXPECT_EQ(last("GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
              "give up malformed");
    EXPECT_EQ(last("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), "give up malformed");
    EXPECT_EQ(last("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
              "give up malformed");
    EXPECT_EQ(last("GET / HTTP/1.1\r\nno colon\r\n\r\n"), "give up malformed");
    EXPECT_EQ(last("GET /" + std::string(40000, 'x')), "give up unknown");
    EXPECT_EQ(last("GET / HTTP/1.1\r\nX: " + std::string(40000, 'x')), "give up too_long");
    EXPECT_EQ(replay({{0, std::string(kGet)}, {1, std::string(kOk) + std::string(kOk)}}).back(),
              "give up malformed");
}

TEST(Http1, AnAnswerBeforeTheEndOfTheRequest) {
    const Lines lines =
        replay({{0, "POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"},
                {1, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"},
                {0, "0\r\n\r\nGET /next HTTP/1.1\r\n\r\n"},
                {1, "HTTP/1.1 204 No Content\r\n\r\n"}});
    ASSERT_EQ(lines.size(), 4U);
    EXPECT_EQ(lines[1], "response http 413 error [POST] [/up] version=[HTTP/1.1] in=5");
    EXPECT_EQ(lines[3], "response http 204 ok [GET] [/next] version=[HTTP/1.1]");
}

TEST(Tls, IsNotGuessedAt) {
    EXPECT_EQ(replay({{0, std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)}}).back(),
              "give up encrypted");
}

TEST(Postgresql, StopsWhereEncryptionStarts) {
    const std::string ssl("\0\0\0\x08\x04\xd2\x16\x2f", 8);
    EXPECT_EQ(replay({{0, ssl}, {1, "S"}}), Lines{"give up encrypted"});
}

// Long answers of many small parts, of which only the head is captured.
TEST_F(TrackerTest, FindsTheNextReplyOfRedis) {
    Tracker tracker({}, recorder_);
    const std::string range = "*4\r\n$6\r\nLRANGE\r\n$1\r\nl\r\n$1\r\n0\r\n$2\r\n-1\r\n";
    const std::string get = "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n";
    give(tracker, 1, 0, 0, range);
    give(tracker, 1, 1, 0, "*900\r\n$1\r\na\r\n", 5000);
    give(tracker, 1, 1, 5000, "$1\r\na\r\n"); // still of the first
    give(tracker, 1, 0, range.size(), get);
    give(tracker, 1, 1, 5007, "$1\r\nx\r\n");
    EXPECT_EQ(
        recorder_.lines,
        (Lines{"request redis [LRANGE] [l] in=38", "response redis 0 ok [LRANGE] [l] in=38",
               "request redis [GET] [x] in=20", "response redis 0 ok [GET] [x] in=20 out=7"}));
    give(tracker, 1, 0, range.size() + get.size(), range);
    give(tracker, 1, 1, 5014, "*900\r\n$1\r\na\r\n", 5000);
    give(tracker, 1, 0, 2 * range.size() + get.size(),
         get + get); // pipelined: nothing can be told apart
    EXPECT_EQ(recorder_.lines.back(), "give up lost");
}

TEST_F(TrackerTest, FindsTheNextAnswerOfPostgresql) {
    Tracker tracker({}, recorder_);
    const std::string startup("\0\0\0\x12\0\3\0\0user\0bob\0\0", 18);
    const std::string ready("Z\0\0\0\5I", 6);
    const std::string query("Q\0\0\0\x14select * from a\0", 21);
    const std::string rows("T\0\0\0\6\0\0"
                           "D\0\0\0\6\0\0"
                           "D\0\0\0\6",
                           19);
    give(tracker, 1, 0, 0, startup);
    give(tracker, 1, 1, 0, ready);
    for (std::uint64_t i = 0; i < 3; ++i) {
        give(tracker, 1, 0, startup.size() + i * query.size(), query);
        give(tracker, 1, 1, ready.size() + i * 5000, rows, 5000);
    }
    ASSERT_EQ(recorder_.lines.size(), 8U);
    EXPECT_EQ(recorder_.lines.back(),
              "response postgresql 0 unknown [SELECT] [a] host=[bob] url=[select * from a] in=16");
    EXPECT_EQ(tracker.stats().resyncs, 2U);
}

TEST(Postgresql, FunctionCallThatFails) {
    const std::string startup =
        std::string("\0\0\0\x17\0\x03\0\0user\0bob\0", 17) + std::string("\0\0\0\0\0\0", 6);
    const std::string ready("Z\0\0\0\x05I", 6);
    const std::string error("E\0\0\0\x0d"
                            "C42\0M'x\0"
                            "\0",
                            14);
    const Lines lines = replay(
        {{0, startup}, {1, ready}, {0, std::string("F\0\0\0\x04", 5)}, {1, error}, {1, ready}});
    EXPECT_EQ(lines, (Lines{"request postgresql [CONNECT] [] host=[bob]",
                            "response postgresql 0 ok [CONNECT] [] host=[bob] out=1"}));
}

TEST(Dns, WhatIsNoQuestionIsPassedOver) {
    const std::string query("\0\1\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1", 19);
    std::string update = query;
    update[2] = 0x28;
    Conversation conversation{.name = {},
                              .port = 53,
                              .udp = true,
                              .segments = {{0, query}, {0, update}, {0, query}},
                              .expected = {}};
    EXPECT_EQ(replay(conversation, pieces_of(conversation)),
              (Lines{"request dns [A] [a]", "request dns [A] [a]"}));
    conversation.segments.insert(conversation.segments.end(), 5, {0, update});
    EXPECT_EQ(replay(conversation, pieces_of(conversation)).back(), "give up malformed");
}

} // namespace
} // namespace beeline::observe::l7
