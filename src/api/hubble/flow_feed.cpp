#include "api/hubble/flow_feed.h"

#include <time.h>

#include <google/protobuf/arena.h>

#include "api/hubble/backend.h"

namespace beeline::hubble {
namespace {

constexpr int kLooksPerTurn = 2000; // flows looked at before others get their turn
constexpr std::int64_t kLossPeriodMs = 1000;

std::int64_t realtime_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

class FlowFeed final : public Feed {
public:
    FlowFeed(const FlowSource& source, std::shared_ptr<const Origin> origin,
             std::shared_ptr<FlowCache> cache, FlowRequest request)
        : origin_(std::move(origin)), cache_(std::move(cache)), request_(std::move(request)) {
        if (request_.query.follow) cache_->join();
        FlowQuery query = request_.query;
        if (query.begin == FlowQuery::Begin::last && !request_.filters.empty()) {
            query.counts = [this](const model::Flow& flow) {
                arena_.Reset();
                auto& message = *google::protobuf::Arena::CreateMessage<::flow::Flow>(&arena_);
                convert(flow, *origin_, message, false);
                return request_.filters.keeps(message);
            };
        }
        cursor_ = source.open(std::move(query));
    }

    ~FlowFeed() override {
        if (request_.query.follow) cache_->leave();
    }

    State next(grpc::ByteBuffer& out) override {
        if (losses_.due(steady_ms(), ended_)) return tell_losses(out);
        if (ended_) return State::end;
        for (int looks = 0; looks < kLooksPerTurn; ++looks) {
            const auto flow = cursor_->next();
            if (!flow) {
                if (request_.query.follow) return State::wait;
                return end(out);
            }
            if (flow->kind == model::Flow::Kind::lost) {
                losses_.add(*flow);
                if (losses_.due(steady_ms())) return tell_losses(out);
                continue;
            }
            if (request_.query.until_ns && flow->time_ns > *request_.query.until_ns)
                return end(out);
            if (request_.since_ns && flow->time_ns < *request_.since_ns) continue;
            if (!write(*flow, out)) continue;
            if (request_.most != 0 && ++sent_ == request_.most) ended_ = true;
            return State::message;
        }
        return State::yield;
    }

    [[nodiscard]] int fd() const override { return cursor_->fd(); }

private:
    State end(grpc::ByteBuffer& out) {
        ended_ = true;
        return losses_.due(steady_ms(), true) ? tell_losses(out) : State::end;
    }

    State tell_losses(grpc::ByteBuffer& out) {
        ::observer::GetFlowsResponse response;
        *response.mutable_lost_events() = losses_.take(steady_ms());
        response.set_node_name(origin_->node);
        set_time(realtime_ns(), *response.mutable_time());
        to_buffer(response, out);
        return State::message;
    }

    // False: the filters do not want it.
    bool write(const model::Flow& flow, grpc::ByteBuffer& out) {
        if (request_.query.follow && cache_->wanted()) return write_shared(flow, out);
        arena_.Reset();
        auto& response =
            *google::protobuf::Arena::CreateMessage<::observer::GetFlowsResponse>(&arena_);
        auto& message = *response.mutable_flow();
        convert(flow, *origin_, message, request_.mask.extension());
        if (!request_.filters.keeps(message)) return false;
        write_masked(response, out);
        return true;
    }

    bool write_shared(const model::Flow& flow, grpc::ByteBuffer& out) {
        const auto entry = cache_->get(flow, *origin_);
        if (!request_.filters.keeps(entry->response.flow())) return false;
        if (request_.mask.all()) {
            out = grpc::ByteBuffer(&entry->bytes, 1); // counts a reference
            return true;
        }
        arena_.Reset();
        auto& response =
            *google::protobuf::Arena::CreateMessage<::observer::GetFlowsResponse>(&arena_);
        *response.mutable_flow() = entry->response.flow();
        write_masked(response, out);
        return true;
    }

    void write_masked(::observer::GetFlowsResponse& response, grpc::ByteBuffer& out) const {
        auto& message = *response.mutable_flow();
        request_.mask.apply(message);
        response.set_node_name(message.node_name());
        if (message.has_time()) *response.mutable_time() = message.time();
        to_buffer(response, out);
    }

    const std::shared_ptr<const Origin> origin_;
    const std::shared_ptr<FlowCache> cache_;
    const FlowRequest request_;
    google::protobuf::Arena arena_;
    std::unique_ptr<FlowCursor> cursor_;
    Losses losses_;
    std::uint64_t sent_ = 0;
    bool ended_ = false;
};

bool before(const google::protobuf::Timestamp& a, const google::protobuf::Timestamp& b) {
    return a.seconds() != b.seconds() ? a.seconds() < b.seconds() : a.nanos() < b.nanos();
}

} // namespace

void Losses::add(const model::Flow& lost) {
    ::flow::LostEvent one;
    convert_lost(lost, one);
    if (pending_.num_events_lost() == 0) {
        pending_ = one;
        return;
    }
    // Losses of both places in one second are told as those of the later place.
    pending_.set_num_events_lost(pending_.num_events_lost() + one.num_events_lost());
    if (one.source() > pending_.source()) pending_.set_source(one.source());
    if (before(one.first(), pending_.first())) *pending_.mutable_first() = one.first();
    if (before(pending_.last(), one.last())) *pending_.mutable_last() = one.last();
}

bool Losses::due(std::int64_t now_ms, bool now) const {
    return pending_.num_events_lost() != 0 &&
           (now || told_ms_ == 0 || now_ms - told_ms_ >= kLossPeriodMs);
}

::flow::LostEvent Losses::take(std::int64_t now_ms) {
    told_ms_ = now_ms;
    ::flow::LostEvent out;
    out.Swap(&pending_);
    return out;
}

Result<FlowRequest> FlowRequest::compile(const ::observer::GetFlowsRequest& request) {
    if (request.first() && request.follow())
        return fail(Code::invalid, "first cannot be specified with follow");
    FlowRequest out;
    out.filters = TRY(FilterLists::compile(request.whitelist(), request.blacklist()));
    out.mask = TRY(FieldMask::compile(request.field_mask()));
    if (request.has_since()) out.since_ns = TRY(time_ns(request.since(), "since"));
    if (request.has_until()) out.query.until_ns = TRY(time_ns(request.until(), "until"));
    out.query.follow = request.follow();
    out.query.last = request.number();
    if (!request.follow()) out.most = request.number();
    if (out.since_ns) {
        out.query.begin = FlowQuery::Begin::since;
        out.query.since_ns = *out.since_ns;
    } else if (request.first()) {
        out.query.begin = FlowQuery::Begin::oldest;
    } else if (request.follow() && request.number() == 0) {
        out.query.begin = FlowQuery::Begin::now;
    } else {
        out.query.begin = FlowQuery::Begin::last;
    }
    return out;
}

std::unique_ptr<Feed> flow_feed(const FlowSource& source, std::shared_ptr<const Origin> origin,
                                std::shared_ptr<FlowCache> cache, FlowRequest request) {
    return std::make_unique<FlowFeed>(source, std::move(origin), std::move(cache),
                                      std::move(request));
}

} // namespace beeline::hubble
