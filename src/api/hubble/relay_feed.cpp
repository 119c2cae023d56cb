#include "api/hubble/relay_feed.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "api/hubble/backend.h"
#include "api/hubble/convert.h"
#include "api/hubble/mask.h"
#include "base/fd.h"

namespace beeline::hubble {
namespace {

using ::observer::GetFlowsResponse;

constexpr std::size_t kQueue = 128;    // messages of one peer that wait
constexpr std::int64_t kIdleMs = 1000; // how long a message waits for peers that say nothing
constexpr std::int64_t kLookMs = 2000; // between looks for peers that came back
constexpr std::int64_t kSameErrorMs = 10'000;
constexpr int kMessagesPerTurn = 1000;

std::int64_t realtime_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

std::int64_t time_of(const GetFlowsResponse& response) {
    return response.time().seconds() * 1'000'000'000 + response.time().nanos();
}

// One peer's stream. gRPC's threads fill the queue, and stop reading while it is full.
class PeerStream final : public grpc::ClientReadReactor<GetFlowsResponse> {
public:
    struct Head {
        std::int64_t time_ns = 0;
        std::int64_t arrived_ms = 0;
    };

    PeerStream(std::shared_ptr<Peer> peer, ::observer::GetFlowsRequest request,
               std::shared_ptr<Fd> wake)
        : peer_(std::move(peer)), request_(std::move(request)), wake_(std::move(wake)) {}

    static std::shared_ptr<PeerStream> start(std::shared_ptr<Peer> peer,
                                             ::observer::GetFlowsRequest request,
                                             std::shared_ptr<Fd> wake) {
        auto stream =
            std::make_shared<PeerStream>(std::move(peer), std::move(request), std::move(wake));
        stream->self_ = stream;
        stream->peer_->stub().async()->GetFlows(&stream->context_, &stream->request_, stream.get());
        stream->AddHold(); // reads are also started by take()
        stream->StartRead(&stream->response_);
        stream->StartCall();
        return stream;
    }

    void OnReadDone(bool ok) override {
        bool more = false;
        {
            const std::lock_guard lock(mutex_);
            if (ok) {
                queue_.push_back({std::move(response_), steady_ms()});
                response_ = {};
            }
            more = ok && !released_ && queue_.size() < kQueue;
            paused_ = ok && !more;
        }
        if (more) {
            StartRead(&response_);
        } else if (!ok) {
            release();
        }
        ::eventfd_write(wake_->get(), 1);
    }

    void OnDone(const grpc::Status& status) override {
        std::shared_ptr<PeerStream> self; // may be the last one
        const std::lock_guard lock(mutex_);
        done_ = true;
        status_ = status;
        ::eventfd_write(wake_->get(), 1);
        self = std::move(self_);
    }

    void cancel() {
        context_.TryCancel();
        bool idle = false;
        {
            const std::lock_guard lock(mutex_);
            idle = paused_;
            paused_ = false;
        }
        if (idle) release();
    }

    std::optional<Head> head() const {
        const std::lock_guard lock(mutex_);
        if (queue_.empty()) return std::nullopt;
        return Head{time_of(queue_.front().response), queue_.front().arrived_ms};
    }

    GetFlowsResponse take() {
        bool resume = false;
        GetFlowsResponse out;
        {
            const std::lock_guard lock(mutex_);
            out = std::move(queue_.front().response);
            queue_.pop_front();
            resume = paused_ && !released_ && queue_.size() < kQueue / 2;
            if (resume) paused_ = false;
        }
        if (resume) StartRead(&response_);
        return out;
    }

    // Everything was read and taken.
    std::optional<grpc::Status> ended() const {
        const std::lock_guard lock(mutex_);
        if (!done_ || !queue_.empty()) return std::nullopt;
        return status_;
    }

    [[nodiscard]] const Peer& peer() const { return *peer_; }

private:
    struct Item {
        GetFlowsResponse response;
        std::int64_t arrived_ms = 0;
    };

    void release() {
        {
            const std::lock_guard lock(mutex_);
            if (std::exchange(released_, true)) return;
        }
        RemoveHold();
    }

    const std::shared_ptr<Peer> peer_;
    const ::observer::GetFlowsRequest request_;
    const std::shared_ptr<Fd> wake_;
    grpc::ClientContext context_;
    GetFlowsResponse response_;
    std::shared_ptr<PeerStream> self_; // until OnDone

    mutable std::mutex mutex_;
    std::deque<Item> queue_;
    bool paused_ = false;   // no read is pending, take() starts the next
    bool released_ = false; // no read will be started any more
    bool done_ = false;
    grpc::Status status_;
};

class RelayFeed final : public Feed {
public:
    RelayFeed(std::shared_ptr<const Peers> peers, const ::observer::GetFlowsRequest& request)
        : peers_(std::move(peers)), request_(request),
          mask_(FieldMask::compile(request.field_mask()).value_or(FieldMask{})),
          wake_(std::make_shared<Fd>(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC))),
          timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
          epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
        for (const int fd : {wake_->get(), timer_.get()}) {
            epoll_event event{};
            event.events = EPOLLIN;
            ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
        }
        // Merging needs the time, errors the name.
        if (!mask_.all()) {
            request_.mutable_field_mask()->add_paths("time");
            request_.mutable_field_mask()->add_paths("node_name");
        }
        connect(true);
    }
    ~RelayFeed() override {
        for (const auto& [name, stream] : streams_)
            stream->cancel();
    }

    State next(grpc::ByteBuffer& out) override {
        eventfd_t count = 0;
        (void)::eventfd_read(wake_->get(), &count);
        const std::int64_t now = steady_ms();
        if (request_.follow() && now - looked_ms_ >= kLookMs) connect(false);
        for (int turns = 0; turns < kMessagesPerTurn; ++turns) {
            collect_ends();
            tell_errors(now, false);
            if (!told_.empty()) {
                to_buffer(told_.front(), out);
                told_.pop_front();
                return State::message;
            }
            const auto stream = earliest(now);
            if (!stream) break;
            GetFlowsResponse response = stream->take();
            if (response.has_time()) last_[stream->peer().name()] = time_of(response);
            if (response.has_flow() && !mask_.all()) {
                mask_.apply(*response.mutable_flow());
                response.set_node_name(response.flow().node_name());
                if (!response.flow().has_time()) response.clear_time();
            }
            to_buffer(response, out);
            return State::message;
        }
        if (!streams_.empty() || request_.follow()) return State::wait;
        tell_errors(now, true);
        return told_.empty() ? State::end : State::yield;
    }

    [[nodiscard]] int fd() const override { return epoll_.get(); }

private:
    struct Errors {
        std::set<std::string> names;
        std::int64_t told_ms = 0;
    };

    // Begins the streams of peers that have none.
    void connect(bool first) {
        looked_ms_ = steady_ms();
        std::vector<std::string> connected;
        std::vector<std::string> unavailable;
        for (const auto& peer : peers_->all()) {
            const std::string name = peer->name();
            if (streams_.contains(name)) continue;
            if (!peer->connected()) {
                if (first || down_.insert(name).second) unavailable.push_back(name);
                down_.insert(name);
                continue;
            }
            // One that comes back goes on where it was.
            ::observer::GetFlowsRequest request = request_;
            if (const auto last = last_.find(name); last != last_.end()) {
                request.set_number(0);
                set_time(last->second + 1, *request.mutable_since());
            }
            if (first || down_.erase(name) > 0 || !last_.contains(name)) connected.push_back(name);
            streams_[name] = PeerStream::start(peer, std::move(request), wake_);
        }
        tell_state(::relay::NODE_CONNECTED, connected, "");
        tell_state(::relay::NODE_UNAVAILABLE, unavailable, "");
    }

    void tell_state(::relay::NodeState state, const std::vector<std::string>& names,
                    const std::string& message) {
        if (names.empty()) return;
        GetFlowsResponse response;
        auto& status = *response.mutable_node_status();
        status.set_state_change(state);
        for (const auto& name : names)
            status.add_node_names(name);
        status.set_message(message);
        set_time(realtime_ns(), *response.mutable_time());
        told_.push_back(std::move(response));
    }

    void collect_ends() {
        for (auto at = streams_.begin(); at != streams_.end();) {
            const auto ended = at->second->ended();
            if (!ended) {
                ++at;
                continue;
            }
            if (!ended->ok()) {
                errors_[ended->error_message()].names.insert(at->first);
                down_.insert(at->first);
            }
            at = streams_.erase(at);
        }
    }

    // The same message again within ten seconds waits, with the names it concerns.
    void tell_errors(std::int64_t now, bool all) {
        for (auto& [message, errors] : errors_) {
            if (errors.names.empty()) continue;
            if (!all && errors.told_ms != 0 && now - errors.told_ms < kSameErrorMs) continue;
            tell_state(::relay::NODE_ERROR, {errors.names.begin(), errors.names.end()}, message);
            errors.names.clear();
            errors.told_ms = now;
        }
    }

    // The stream with the oldest message, when no other can have an older one, or was waited for long enough.
    PeerStream* earliest(std::int64_t now) {
        PeerStream* found = nullptr;
        PeerStream::Head first;
        std::int64_t oldest_arrival = now;
        bool all = true;
        for (const auto& [name, stream] : streams_) {
            const auto head = stream->head();
            if (!head) {
                all = all && stream->ended().has_value();
                continue;
            }
            oldest_arrival = std::min(oldest_arrival, head->arrived_ms);
            if (found == nullptr || head->time_ns < first.time_ns) {
                found = stream.get();
                first = *head;
            }
        }
        if (found == nullptr || all) return found;
        const std::int64_t waited = steady_ms() - oldest_arrival;
        if (waited >= kIdleMs) return found;
        arm(kIdleMs - waited);
        return nullptr;
    }

    void arm(std::int64_t ms) {
        std::uint64_t expired = 0;
        (void)!::read(timer_.get(), &expired, sizeof expired);
        itimerspec when{};
        when.it_value.tv_sec = ms / 1000;
        when.it_value.tv_nsec = ms % 1000 * 1'000'000 + 1;
        ::timerfd_settime(timer_.get(), 0, &when, nullptr);
    }

    const std::shared_ptr<const Peers> peers_;
    ::observer::GetFlowsRequest request_;
    const FieldMask mask_;
    const std::shared_ptr<Fd> wake_;
    Fd timer_;
    Fd epoll_;
    std::map<std::string, std::shared_ptr<PeerStream>> streams_;
    std::map<std::string, std::int64_t> last_; // time of the last message of a peer
    std::set<std::string> down_;
    std::map<std::string, Errors> errors_; // by message
    std::deque<GetFlowsResponse> told_;
    std::int64_t looked_ms_ = 0;
};

} // namespace

std::unique_ptr<Feed> relay_feed(std::shared_ptr<const Peers> peers,
                                 const ::observer::GetFlowsRequest& request) {
    return std::make_unique<RelayFeed>(std::move(peers), request);
}

} // namespace beeline::hubble
