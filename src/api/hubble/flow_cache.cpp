#include "api/hubble/flow_cache.h"

namespace beeline::hubble {

std::shared_ptr<const FlowCache::Entry> FlowCache::get(const model::Flow& flow,
                                                       const Origin& origin) {
    Slot& slot = slots_[flow.number % kSlots];
    // Others that want the same flow wait until it is made rather than make it too.
    const std::lock_guard lock(slot.mutex);
    if (slot.entry && slot.entry->number == flow.number && slot.entry->time_ns == flow.time_ns)
        return slot.entry;
    auto entry = std::make_shared<Entry>();
    entry->number = flow.number;
    entry->time_ns = flow.time_ns;
    auto& message = *entry->response.mutable_flow();
    convert(flow, origin, message);
    entry->response.set_node_name(message.node_name());
    *entry->response.mutable_time() = message.time();
    const std::size_t size = entry->response.ByteSizeLong();
    entry->bytes = grpc::Slice(size);
    entry->response.SerializeWithCachedSizesToArray(
        const_cast<std::uint8_t*>(entry->bytes.begin()));
    slot.entry = entry;
    return entry;
}

} // namespace beeline::hubble
