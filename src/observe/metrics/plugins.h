// Hubble's metrics of flows: one plugin for each name that can be switched on.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/histogram.h>

#include "model/flow.h"
#include "observe/event_type.h"
#include "observe/metrics/contexts.h"
#include "observe/metrics/enable.h"
#include "observe/metrics/series.h"

namespace beeline::observe::metrics {

// A flow as its event shows it.
struct EventView {
    explicit EventView(const model::Flow& one)
        : flow(one), event(event_of(one)),
          ends{event.swapped ? one.destination : one.source,
               event.swapped ? one.source : one.destination, event.direction} {}

    const model::Flow& flow;
    Event event;
    Ends ends;
};

// What flows of one kind move: counters by one, and the durations by their latency.
struct Moves {
    std::vector<prometheus::Counter*> counters;
    std::vector<prometheus::Histogram*> durations;
};

class Plugin {
public:
    virtual ~Plugin() = default;
    // Adds what this flow moves. It lives until remove_pods() returns true. Of a message the latency itself does not matter,
    // only whether there is one.
    virtual void see(const EventView& view, Moves& moves) = 0;
    // Removes series of pods that are gone.
    virtual bool remove_pods(const std::unordered_set<std::string>& pods) = 0;
};

std::unique_ptr<Plugin> make_plugin(const Enabled& enabled, const Shared& shared);

} // namespace beeline::observe::metrics
