// libs: beeline_observe
// Records of payload: a length byte before each. Whatever they are, they become flows of kind l7 or counted errors, and
// what is known of connections stays bounded.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "abi/l7.h"
#include "base/log.h"
#include "observe/json.h"
#include "observe/l7_ingest.h"
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
    constexpr std::size_t kConnections = 4;
    observe::Store store(64);
    auto names = std::make_shared<observe::DnsNames>(8);
    bool answers = false; // does the datapath know connections?
    bl_flow_event event{};
    observe::L7Datapath datapath;
    datapath.connection = [&](const bl_flow_key& key) -> std::optional<bl_flow_event> {
        if (!answers) return std::nullopt;
        event.key = key;
        return event;
    };
    datapath.stop = [](const bl_flow_key&, std::uint64_t) {};
    observe::L7Ingest ingest(store, {}, std::move(datapath), names, "/nonexistent",
                             observe::EventClock(), kConnections);
    ingest.set_directory(kDirectory);
    observe::L7Ingest::Chosen chosen;
    for (std::uint32_t endpoint = 0; endpoint < 256; ++endpoint)
        chosen[endpoint] = model::kAllL7;
    ingest.set_chosen(std::make_shared<const observe::L7Ingest::Chosen>(chosen));

    auto rest = std::as_bytes(std::span(data, size));
    if (!rest.empty()) {
        answers = (std::to_integer<unsigned>(rest[0]) & 1U) != 0;
        event.time_ns = event.opened_ns = std::to_integer<unsigned>(rest[0]) + 1;
        event.kind = BL_FLOW_opened;
        event.endpoint[1] = 1;
        rest = rest.subspan(1);
    }
    while (!rest.empty()) {
        const std::size_t length =
            std::min(std::to_integer<std::size_t>(rest[0]) + sizeof(bl_l7_chunk), rest.size() - 1);
        ingest.record(rest.subspan(1, length));
        rest = rest.subspan(1 + length);
    }
    ingest.flush();
    require(ingest.counts().connections <= kConnections);
    require(names->size() <= 8);
    auto reader = store.read({});
    while (const auto flow = reader.next()) {
        require(flow->kind == model::Flow::Kind::l7 && flow->l7 != nullptr);
        require(!observe::to_json(*flow, "node").empty());
    }
    return 0;
}
