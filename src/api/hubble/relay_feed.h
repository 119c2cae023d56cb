// GetFlows of a relay: one stream of each peer, merged by time.
#pragma once

#include <memory>

#include <observer/observer.pb.h>

#include "api/hubble/feed.h"
#include "api/hubble/peers.h"

namespace beeline::hubble {

std::unique_ptr<Feed> relay_feed(std::shared_ptr<const Peers> peers,
                                 const ::observer::GetFlowsRequest& request);

} // namespace beeline::hubble
