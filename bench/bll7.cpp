// What reading application protocols costs: nanoseconds of a request with its answer, of one keep-alive connection after
// another, as the capture hands them over.
//   bll7 [REQUESTS]
// Prints one JSON object a line.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "observe/l7/tracker.h"

using namespace beeline;
using namespace beeline::observe::l7;

namespace {

double now() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

class Count final : public Sink {
public:
    void message(std::uint64_t, std::uint64_t, std::shared_ptr<const model::L7>) override {
        ++messages;
    }
    void shared_message(std::uint64_t, std::uint64_t, const std::shared_ptr<const model::L7>&,
                        const model::L7Numbers&) override {
        ++messages;
    }
    void give_up(std::uint64_t, GiveUp) override { std::abort(); }
    std::uint64_t messages = 0;
};

// A number that differs each time takes the place of the request's ########.
void run(const char* name, std::string request, const std::string& answer, std::uint64_t requests) {
    Count count;
    Tracker tracker({}, count);
    std::uint64_t offsets[2] = {0, 0};
    std::uint64_t connection = 1;
    std::uint64_t time_ns = 1'000'000'000;
    const auto give = [&](std::uint8_t side, const std::string& data) {
        tracker.chunk({.connection = connection,
                       .side = side,
                       .tls = false,
                       .transport = model::Protocol::tcp,
                       .server_port = 80,
                       .offset = offsets[side],
                       .length = static_cast<std::uint32_t>(data.size()),
                       .data = std::as_bytes(std::span(data)),
                       .time_ns = time_ns += 1000,
                       .first = true});
        offsets[side] += data.size();
    };
    const std::size_t unique = request.find("########");
    const double start = now();
    for (std::uint64_t i = 0; i < requests; ++i) {
        if (unique != std::string::npos) {
            char digits[9];
            std::snprintf(digits, sizeof digits, "%08u", static_cast<unsigned>(i % 100'000'000));
            request.replace(unique, 8, digits, 8);
        }
        give(0, request);
        give(1, answer);
        if (i % 100 == 99) {
            tracker.closed(connection++);
            offsets[0] = offsets[1] = 0;
        }
    }
    const double ns = (now() - start) * 1e9 / static_cast<double>(requests);
    if (count.messages != 2 * requests) std::abort();
    std::printf("{\"bench\": \"l7_parse\", \"case\": \"%s\", \"unit\": \"ns per request\", "
                "\"value\": %.0f, \"runs\": 1}\n",
                name, ns);
}

} // namespace

int main(int argc, char** argv) {
    const std::uint64_t requests = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 300'000;
    run("http",
        "GET /shop/cart?id=7&token=abc HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: client/1.0\r\n"
        "Accept: */*\r\nAccept-Encoding: gzip\r\nCookie: session=1234567890abcdef\r\n\r\n",
        "HTTP/1.1 200 OK\r\nServer: web\r\nContent-Type: application/json\r\nContent-Length: "
        "300\r\n\r\n" +
            std::string(300, 'x'),
        requests);
    run("http, no request twice",
        "GET /shop/cart?id=7&token=abc HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: client/1.0\r\n"
        "Accept: */*\r\nAccept-Encoding: gzip\r\nX-Request-Id: ########\r\n\r\n",
        "HTTP/1.1 200 OK\r\nServer: web\r\nContent-Type: application/json\r\nContent-Length: "
        "300\r\n\r\n" +
            std::string(300, 'x'),
        requests);
    run("redis", "*2\r\n$3\r\nGET\r\n$6\r\ncart:7\r\n", "$100\r\n" + std::string(100, 'x') + "\r\n",
        requests);
    return 0;
}
