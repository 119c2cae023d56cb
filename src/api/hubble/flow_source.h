// Where the API reads flows from: the memory of this machine's last flows, or that and a history behind it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "model/flow.h"
#include "observe/store.h"

namespace beeline::hubble {

struct FlowQuery {
    enum class Begin {
        oldest, // with the oldest flow that there is
        now,    // with the first that is still to come
        since,  // with the first one not older than since_ns
        last,   // with the first of the last `last` flows that `counts` lets through; all when 0
    };
    Begin begin = Begin::oldest;
    std::int64_t since_ns = 0;            // CLOCK_REALTIME
    std::optional<std::int64_t> until_ns; // flows after it will not be read
    std::uint64_t last = 0;
    std::function<bool(const model::Flow&)> counts; // empty: every flow; never asked about losses
    bool only_memory = false;                       // what memory holds is enough
    bool follow = false;                            // go on with flows to come
};

// One thread at a time.
class FlowCursor {
public:
    virtual ~FlowCursor() = default;
    // The next flow, oldest first, also of kind lost; nothing at the end, or, when following, until the next one comes. Does
    // not wait for flows to come.
    virtual std::optional<model::Flow> next() = 0;
    // When following: readable once there may be more after next() returned nothing. Else -1.
    [[nodiscard]] virtual int fd() const = 0;
};

// Any thread.
class FlowSource {
public:
    virtual ~FlowSource() = default;
    virtual std::unique_ptr<FlowCursor> open(FlowQuery query) const = 0;
    [[nodiscard]] virtual observe::StoreStats stats() const = 0;
};

// Of memory only. `store` must outlive it.
std::unique_ptr<FlowSource> memory_source(const observe::Store& store);

} // namespace beeline::hubble
