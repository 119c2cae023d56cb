// libs: beeline_observe_l7
// A conversation of any protocol, in any state of capture: whatever the bytes are, the tracker says things in the right
// order, forgets everything at the end, and says the same however intact payload is cut into chunks.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "observe/l7/tracker.h"

using namespace beeline;
using namespace beeline::observe::l7;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

class Recorder final : public Sink {
public:
    void message(std::uint64_t connection, std::uint64_t time_ns,
                 std::shared_ptr<const model::L7> message) override {
        require(connection == 1 && time_ns != 0 && !over);
        require(message->protocol < model::L7::Protocol::count);
        require(message->resource.size() <= 512 && message->error.size() <= 512 &&
                message->url.size() <= 512);
        const bool request = message->type == model::L7::Type::request;
        require(!request ||
                (message->latency_ns == 0 && message->status == model::L7::Status::unknown));
        said += std::to_string(static_cast<int>(message->protocol)) + (request ? ">" : "<") +
                message->method + " " + message->resource + " " + message->url + " " +
                message->error + " " + std::to_string(message->code) + " " +
                std::to_string(message->request_bytes) + " " +
                std::to_string(message->response_bytes) + "\n";
    }
    void give_up(std::uint64_t connection, GiveUp reason) override {
        require(connection == 1 && !over && reason < GiveUp::count);
        over = true;
        said += name_of(reason);
    }
    std::string said;
    bool over = false;
};

// Input: how (1), port (2), piece size (1), then segments: side and cut (1), length (2), bytes.
struct Segment {
    std::uint8_t control;
    std::span<const std::byte> data;
};

std::string replay(const std::vector<Segment>& segments, std::uint8_t how, std::uint16_t port,
                   std::size_t piece, bool damaged) {
    Recorder recorder;
    Tracker tracker({}, recorder);
    const bool udp = (how & 1U) != 0;
    std::uint64_t offset[2] = {0, 0};
    std::uint64_t time_ns = 1'000'000'000;
    for (const Segment& segment : segments) {
        const std::uint8_t side = segment.control & 1U;
        for (std::size_t at = 0; at < segment.data.size();) {
            const std::size_t size =
                udp ? segment.data.size() : std::min(piece, segment.data.size() - at);
            Chunk chunk{.connection = 1,
                        .side = side,
                        .tls = (how & 2U) != 0,
                        .transport = udp ? model::Protocol::udp : model::Protocol::tcp,
                        .server_port = port,
                        .offset = offset[side] + at,
                        .length = static_cast<std::uint32_t>(size),
                        .data = segment.data.subspan(at, size),
                        .time_ns = time_ns,
                        .first = (how & 4U) == 0 || !damaged};
            if (damaged) {
                if ((segment.control & 2U) != 0) chunk.data = chunk.data.first(size / 2);
                if ((segment.control & 4U) != 0) chunk.offset += segment.control >> 4U;
                if ((segment.control & 8U) != 0) chunk.length += 1000;
            }
            tracker.chunk(chunk);
            at += size;
            time_ns += 1'000;
        }
        offset[side] += segment.data.size();
        time_ns += 30'000'000;
        if (damaged) tracker.tick(time_ns);
    }
    tracker.closed(1);
    const Stats stats = tracker.stats();
    require(stats.connections == 0 && stats.memory == 0);
    return recorder.said;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) return 0;
    const std::uint8_t how = data[0];
    const auto port = static_cast<std::uint16_t>(data[1] << 8U | data[2]);
    const std::size_t piece = 1U + data[3] % 64;
    std::vector<Segment> segments;
    for (std::size_t at = 4; at + 3 <= size;) {
        const std::size_t length =
            std::min<std::size_t>(data[at + 1] << 8U | data[at + 2], size - at - 3);
        segments.push_back({data[at], std::as_bytes(std::span(data + at + 3, length))});
        at += 3 + length;
    }
    const std::string whole = replay(segments, how, port, 65536, false);
    require(whole == replay(segments, how, port, piece, false));
    replay(segments, how, port, (how & 8U) != 0 ? piece : 65536, true);
    return 0;
}
