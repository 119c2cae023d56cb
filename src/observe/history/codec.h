// Flows as rows of the database. A block is up to a thousand flows in one row; what repeats (texts, ends, contexts,
// processes) is an entry with a number, named by the blocks that follow it. Blobs carry a checksum, and whatever the bytes
// of a damaged or hostile file are, decoding stays in bounds and says no.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/flow.h"
#include "observe/record.h"

namespace beeline::observe::history {

inline constexpr std::size_t kBlockFlows = 1024;

using EntryId = std::uint64_t; // 0: none

// The number of the entry with these bytes, which may be new.
using Intern = std::function<EntryId(const std::string& bytes)>;

// What a flow shares with others of its kind between the same ends: all but numbers, times, ports, counters and processes.
EntryId intern_context(const model::Flow& flow, const Intern& intern);
EntryId intern_process(const model::FlowProcess& process, const Intern& intern);

// Entries by number, decoded once and kept while they are not too many.
class Entries {
public:
    // The bytes of an entry, without their checksum.
    using Load = std::function<std::optional<std::string>(EntryId)>;
    struct Context {
        model::Flow flow;
        bool wanted = true;
    };

    // `wanted` is asked once for each context: whether flows of it can be of interest.
    explicit Entries(Load load, std::function<bool(const model::Flow&)> wanted = {})
        : load_(std::move(load)), wanted_(std::move(wanted)) {}

    // Null: not there or damaged. Valid until clear_if_large().
    Context* context(EntryId id);
    const model::FlowProcess* process(EntryId id);
    // Between blocks: lets go of all when there are very many.
    void clear_if_large();

private:
    static constexpr std::size_t kMost = 64 * 1024;

    const std::string* text(EntryId id);
    const model::FlowEnd* end(EntryId id);

    Load load_;
    std::function<bool(const model::Flow&)> wanted_;
    std::unordered_map<EntryId, std::string> texts_;
    std::unordered_map<EntryId, model::FlowEnd> ends_;
    std::unordered_map<EntryId, Context> contexts_;
    std::unordered_map<EntryId, model::FlowProcess> processes_;
};

struct Block {
    std::uint64_t number = 0; // of its first flow
    std::uint64_t last = 0;   // of its last one
    std::int64_t time_min = 0;
    std::int64_t time_max = 0;
    EntryId entries = 0;    // entries below are older than anything that the block names
    std::uint64_t lost = 0; // not a block of flows but a hole: so many are missing
    std::string contexts;   // sealed
    std::string flows;      // sealed
};

// Collects the flows of one block; their numbers follow each other.
class BlockWriter {
public:
    void begin(std::uint64_t number, EntryId entries);
    // `context` and `process`: from above, 0: none.
    void add(const RecordView& record, EntryId context, std::array<EntryId, 2> process);
    [[nodiscard]] std::size_t size() const { return rows_.size(); }
    [[nodiscard]] Block finish();

private:
    // A message that a flow of this block has.
    struct Said {
        std::shared_ptr<const model::L7> message;
        std::size_t row = 0;
    };
    const Said* said_before(const std::shared_ptr<const model::L7>& message);

    Block block_;
    std::unordered_map<EntryId, std::uint16_t> places_;
    std::vector<EntryId> contexts_;
    std::unordered_map<const model::L7*, Said> messages_;
    struct Row {
        std::uint16_t context;
        std::int64_t time_ns;
        std::size_t end; // of its bytes
    };
    std::vector<Row> rows_;
    std::string bytes_;
};

// Which contexts the block has. False: damaged.
[[nodiscard]] bool decode_contexts(const Block& block, std::vector<EntryId>& out);
// Hands over the flows of wanted contexts, in the order of their numbers. The Flow is valid during the call and must come out of it
// as it was. False: damaged, and what was handed over is not to be trusted.
[[nodiscard]] bool decode_flows(const Block& block, const std::vector<EntryId>& contexts,
                                Entries& entries,
                                const std::function<void(const model::Flow&)>& handle);

void append_l7(std::string& out, const model::L7& l7);
[[nodiscard]] std::optional<model::L7> decode_l7(std::string_view bytes);

// Checksum in front; unseal gives nothing when it does not fit.
std::string seal(std::string_view bytes);
std::optional<std::string_view> unseal(std::string_view sealed);

} // namespace beeline::observe::history
