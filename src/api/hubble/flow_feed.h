// GetFlows of one node.
#pragma once

#include <memory>

#include <observer/observer.pb.h>

#include "api/hubble/convert.h"
#include "api/hubble/feed.h"
#include "api/hubble/filter.h"
#include "api/hubble/flow_cache.h"
#include "api/hubble/flow_source.h"
#include "api/hubble/mask.h"

namespace beeline::hubble {

// A request whose every part was checked.
struct FlowRequest {
    FlowQuery query;
    FilterLists filters;
    FieldMask mask;
    std::optional<std::int64_t> since_ns;
    std::uint64_t most = 0; // 0: no limit

    static Result<FlowRequest> compile(const ::observer::GetFlowsRequest& request);
};

std::unique_ptr<Feed> flow_feed(const FlowSource& source, std::shared_ptr<const Origin> origin,
                                std::shared_ptr<FlowCache> cache, FlowRequest request);

// Losses of one stream, told once a second at most.
class Losses {
public:
    void add(const model::Flow& lost);
    // Is there something to be told? `now`: at once.
    [[nodiscard]] bool due(std::int64_t now_ms, bool now = false) const;
    ::flow::LostEvent take(std::int64_t now_ms);

private:
    ::flow::LostEvent pending_;
    std::int64_t told_ms_ = 0;
};

} // namespace beeline::hubble
