// libs: beeline_observe
// Ring records: whatever the bytes are, they become a flow that can be filtered and written as valid JSON, or a
// counted error.
#include <cstdint>
#include <cstdlib>
#include <span>

#include <nlohmann/json.hpp>

#include "base/log.h"
#include "observe/ingest.h"
#include "observe/json.h"
#include "observe/test_events.h"

using namespace beeline;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto kDirectory = [] {
        set_log_level(LogLevel::error); // refusing is the normal case here
        return observe::testing::directory();
    }();
    observe::Store store(1);
    observe::Ingest ingest(store, "/nonexistent");
    ingest.set_directory(kDirectory);
    ingest.record(std::as_bytes(std::span(data, size)));
    ingest.flush();

    const auto flow = store.read({}).next();
    const observe::IngestCounts counts = ingest.counts();
    require(counts.events + counts.refused_total() == 1);
    require(flow.has_value() == (counts.events == 1));
    if (!flow) return 0;

    const auto json = nlohmann::json::parse(observe::to_json(*flow, "node"), nullptr, false);
    require(json.is_object() && json.contains("kind") && json.contains("source"));
    require((json["verdict"] == "DROPPED") == json.contains("drop_reason") ||
            flow->kind == model::Flow::Kind::revoked);

    const observe::FlowFilter same{.verdicts = {flow->verdict}, .since_ns = flow->time_ns};
    require(same.matches(*flow) && store.read(same).next().has_value());
    const observe::FlowFilter later{.since_ns = flow->time_ns + 1};
    require(!later.matches(*flow) && !store.read(later).next());
    return 0;
}
