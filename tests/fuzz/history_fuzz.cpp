// libs: beeline_observe_history
// Blobs of a hostile history file: a block's contexts and flows, and the entries that they name. Whatever the bytes are,
// decoding stays in bounds, hands over flows that can be shown, or says no.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "observe/history/codec.h"
#include "observe/json.h"

using namespace beeline;
namespace history = observe::history;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

// Parts behind a length of two bytes each.
std::vector<std::string> parts(const std::uint8_t* data, std::size_t size) {
    std::vector<std::string> out;
    while (size >= 2) {
        const std::size_t length = std::min<std::size_t>(data[0] | data[1] << 8U, size - 2);
        out.emplace_back(reinterpret_cast<const char*>(data) + 2, length);
        data += 2 + length;
        size -= 2 + length;
    }
    return out;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto blobs = parts(data, size);
    if (blobs.size() < 2) return 0;
    // Checksums would stop a fuzzer at the door.
    history::Block block;
    block.number = 1;
    block.last = blobs[0].empty() ? 1 : 1 + static_cast<std::uint8_t>(blobs[0][0]) % 16;
    block.contexts = history::seal(blobs[0]);
    block.flows = history::seal(blobs[1]);
    history::Entries entries([&](history::EntryId id) -> std::optional<std::string> {
        if (id + 2 >= blobs.size()) return {};
        return blobs[id + 2];
    });
    std::vector<history::EntryId> contexts;
    if (history::decode_contexts(block, contexts)) {
        (void)history::decode_flows(block, contexts, entries, [&](const model::Flow& flow) {
            require(flow.number >= block.number && flow.number <= block.last);
            require(nlohmann::json::accept(observe::to_json(flow, "node")));
        });
    }
    if (const auto l7 = history::decode_l7(blobs[1])) {
        std::string again;
        history::append_l7(again, *l7);
        require(history::decode_l7(again).has_value());
    }
    require(!history::unseal(blobs[0]) || blobs[0].size() >= 4);
    return 0;
}
