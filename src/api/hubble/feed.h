// One stream of messages to one client, and who moves it.
//
// A thousand followers must not be a thousand threads. A Feed gives its next message without waiting; when it has
// none it names a file descriptor. The pump waits for all of those in one thread; a few workers then move the
// streams on. After a message was taken by gRPC the stream is moved on by gRPC's own thread, so that a reader that
// keeps up costs no switch of threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include "base/result.h"

namespace beeline::hubble {

class Feed {
public:
    enum class State {
        message, // `out` is one
        wait,    // nothing now; fd() tells when, at the latest in a second
        yield,   // much was looked at and nothing found yet: ask again after others
        end,     // nothing will come; status() says why
    };
    virtual ~Feed() = default;
    virtual State next(grpc::ByteBuffer& out) = 0;
    [[nodiscard]] virtual int fd() const = 0; // -1: asked again every second
    [[nodiscard]] virtual grpc::Status status() const { return grpc::Status::OK; }
};

// How a stream begins: opening can take long, so it happens on a worker.
using OpenFeed = std::function<std::unique_ptr<Feed>()>;

class Pump;

// What the pump moves.
class Moved {
public:
    virtual ~Moved() = default;
    virtual void advance() = 0; // on a worker, never twice at a time
    virtual void
    tick(std::int64_t now_ms) = 0; // every second, on the pump's thread, beside advance()
    [[nodiscard]] virtual bool cancelled() const = 0;
};

class Pump {
public:
    static Result<std::unique_ptr<Pump>> start(unsigned workers = 3);
    ~Pump(); // no stream may be left
    Pump(const Pump&) = delete;
    Pump& operator=(const Pump&) = delete;

    void add(Moved& stream); // before anything else with it
    void remove(Moved& stream);
    // Runs `task` on a thread where it may wait, after those given before.
    void run(std::function<void()> task);
    // Calls advance() soon.
    void post(Moved& stream);
    // Calls advance() when `fd` is readable, after a second, or when it was cancelled.
    void wait(Moved& stream, int fd);
    // It was cancelled: it waits no longer.
    void kick(Moved& stream);

private:
    Pump();
    struct State;
    std::unique_ptr<State> state_;
};

std::int64_t steady_ms();

} // namespace beeline::hubble
