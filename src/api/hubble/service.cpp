#include "api/hubble/service.h"

#include <utility>

namespace beeline::hubble {
namespace {

using Raw = grpc::ServerWriteReactor<grpc::ByteBuffer>;
using grpc::CallbackServerContext;

// One client. Whoever runs advance() owns it: gRPC after a write, a worker of the pump after a wait; nobody else
// touches it meanwhile. Cancelling and the tick only set marks.
class Stream final : public Raw, public Moved {
public:
    Stream(CallbackServerContext& context, StreamContext& streams, OpenFeed open)
        : context_(context), streams_(streams), open_(std::move(open)) {
        ++streams_.counters.total;
        ++streams_.counters.open;
        streams_.pump.add(*this);
        streams_.pump.post(*this);
    }

    void advance() override {
        if (cancelled()) return finish({grpc::StatusCode::CANCELLED, "cancelled"});
        if (!feed_) {
            feed_ = open_();
            open_ = nullptr;
        }
        switch (feed_->next(message_)) {
        case Feed::State::message:
            ++streams_.counters.messages;
            answered_ = true;
            written_ms_.store(steady_ms(), std::memory_order_relaxed);
            StartWrite(&message_, grpc::WriteOptions().set_no_compression());
            break;
        case Feed::State::wait:
            // A client shall see that it is heard, also when nothing happens.
            if (!std::exchange(answered_, true)) StartSendInitialMetadata();
            streams_.pump.wait(*this, feed_->fd());
            break;
        case Feed::State::yield: streams_.pump.post(*this); break;
        case Feed::State::end: finish(feed_->status()); break;
        }
    }

    void OnWriteDone(bool ok) override {
        written_ms_.store(0, std::memory_order_relaxed);
        if (!ok) return finish({grpc::StatusCode::CANCELLED, "the client is gone"});
        advance();
    }

    void OnCancel() override {
        cancelled_.store(true);
        streams_.pump.kick(*this);
    }

    void OnDone() override {
        streams_.pump.remove(*this);
        --streams_.counters.open;
        delete this;
    }

    void tick(std::int64_t now_ms) override {
        const auto since = written_ms_.load(std::memory_order_relaxed);
        if (since == 0 || now_ms - since < streams_.limits.stall_ms || cut_.exchange(true)) return;
        ++streams_.counters.cut;
        context_.TryCancel();
    }

    [[nodiscard]] bool cancelled() const override { return cancelled_.load(); }

private:
    void finish(const grpc::Status& status) {
        feed_.reset(); // its file descriptor may be used again from here on
        Finish(status);
    }

    CallbackServerContext& context_;
    StreamContext& streams_;
    OpenFeed open_;
    std::unique_ptr<Feed> feed_;
    grpc::ByteBuffer message_;
    bool answered_ = false;
    std::atomic<std::int64_t> written_ms_{0}; // 0: no write is pending
    std::atomic<bool> cancelled_{false};
    std::atomic<bool> cut_{false};
};

// A stream that ends before it began.
class Refused final : public Raw {
public:
    explicit Refused(const grpc::Status& status) { Finish(status); }
    void OnDone() override { delete this; }
};

void tell_version(CallbackServerContext& context, const Backend& backend) {
    const auto [name, version] = backend.version_header();
    context.AddInitialMetadata(name, version);
}

template <typename Request, typename Begin>
Raw* stream(CallbackServerContext* context, const grpc::ByteBuffer* bytes, Backend& backend,
            StreamContext& streams, Begin begin) {
    tell_version(*context, backend);
    Request request;
    grpc::ByteBuffer copy(*bytes); // counts a reference
    grpc::Slice slice;
    if (!copy.DumpToSingleSlice(&slice).ok() ||
        !request.ParseFromArray(slice.begin(), static_cast<int>(slice.size())))
        return new Refused({grpc::StatusCode::INVALID_ARGUMENT, "the request cannot be parsed"});
    if (streams.counters.open >= streams.limits.streams) {
        ++streams.counters.refused;
        return new Refused({grpc::StatusCode::RESOURCE_EXHAUSTED,
                            fmt::format("{} streams are open already", streams.limits.streams)});
    }
    OpenFeed open;
    if (const grpc::Status status = begin(request, open); !status.ok()) return new Refused(status);
    return new Stream(*context, streams, std::move(open));
}

// On a thread where it may wait: gRPC's own are few, and a relay waits for answers that they bring.
template <typename Call>
grpc::ServerUnaryReactor* unary(CallbackServerContext* context, const Backend& backend,
                                StreamContext& streams, Call call) {
    tell_version(*context, backend);
    auto* reactor = context->DefaultReactor();
    streams.pump.run([reactor, call] { reactor->Finish(call()); });
    return reactor;
}

} // namespace

Raw* ObserverService::GetFlows(CallbackServerContext* context, const grpc::ByteBuffer* request) {
    return stream<::observer::GetFlowsRequest>(
        context, request, backend_, streams_,
        [&](const auto& parsed, OpenFeed& out) { return backend_.flows(parsed, out); });
}

Raw* ObserverService::GetAgentEvents(CallbackServerContext* context,
                                     const grpc::ByteBuffer* request) {
    return stream<::observer::GetAgentEventsRequest>(
        context, request, backend_, streams_,
        [&](const auto& parsed, OpenFeed& out) { return backend_.agent_events(parsed, out); });
}

Raw* ObserverService::GetDebugEvents(CallbackServerContext* context,
                                     const grpc::ByteBuffer* request) {
    return stream<::observer::GetDebugEventsRequest>(
        context, request, backend_, streams_,
        [&](const auto& parsed, OpenFeed& out) { return backend_.debug_events(parsed, out); });
}

grpc::ServerUnaryReactor* ObserverService::GetNodes(CallbackServerContext* context,
                                                    const ::observer::GetNodesRequest* /*request*/,
                                                    ::observer::GetNodesResponse* response) {
    return unary(context, backend_, streams_,
                 [this, response] { return backend_.nodes(*response); });
}

grpc::ServerUnaryReactor*
ObserverService::GetNamespaces(CallbackServerContext* context,
                               const ::observer::GetNamespacesRequest* /*request*/,
                               ::observer::GetNamespacesResponse* response) {
    return unary(context, backend_, streams_,
                 [this, response] { return backend_.namespaces(*response); });
}

grpc::ServerUnaryReactor*
ObserverService::ServerStatus(CallbackServerContext* context,
                              const ::observer::ServerStatusRequest* /*request*/,
                              ::observer::ServerStatusResponse* response) {
    return unary(context, backend_, streams_,
                 [this, response] { return backend_.server_status(*response); });
}

Raw* PeerService::Notify(CallbackServerContext* context, const grpc::ByteBuffer* request) {
    return stream<::peer::NotifyRequest>(
        context, request, backend_, streams_,
        [&](const auto& /*parsed*/, OpenFeed& out) { return backend_.peers(out); });
}

} // namespace beeline::hubble
