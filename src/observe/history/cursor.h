// Reads the flows of the database, block by block, in either direction.
//
// Each block is read in a short transaction of its own: a client that takes its time holds nothing open, and the log of the
// database can always be emptied.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "observe/filter.h"
#include "observe/history/codec.h"
#include "observe/history/database.h"

namespace beeline::observe::history {

using Accept = std::function<bool(const model::Flow&)>;

// One thread at a time.
class Cursor {
public:
    // `accept` may be empty; it says no to flows that pass the filter.
    static Result<std::unique_ptr<Cursor>> open(const std::string& path, FlowFilter filter,
                                                Accept accept);
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;

    // The first match from `number` on and below `end`; nothing: there is none. A part that is damaged or missing is a flow of
    // kind lost with its first number. seen() tells how far it looked.
    std::optional<model::Flow> forward(std::uint64_t number, std::uint64_t end);
    // The last match below `end`.
    std::optional<model::Flow> backward(std::uint64_t end);
    // Up to which number (not included) forward() found the file to have something; 0: nothing yet.
    [[nodiscard]] std::uint64_t covered() const { return covered_; }
    // Where the flows begin that can match `since_ns`; 0: nowhere.
    std::uint64_t begin();

private:
    Cursor() = default;
    Result<> prepare(const std::string& path);
    // Reads the block in the current row of `statement` into ready_.
    void take(const Statement& row);
    [[nodiscard]] bool passes(const model::Flow& flow) const;
    Result<bool> load(Statement& statement, std::uint64_t number);
    Result<std::uint64_t> bound(const char* sql, std::int64_t time_ns);
    void failed(std::uint64_t number);

    FlowFilter filter_;
    FlowFilter ends_; // what of it a context decides
    Accept accept_;
    Database database_;
    Statement containing_; // the last block that begins at ?1 or before
    Statement after_;      // the first one that begins at ?1 or later
    Statement entry_;
    std::unique_ptr<Entries> entries_;
    std::vector<EntryId> contexts_;
    std::deque<model::Flow> ready_;  // of one block, by number
    std::uint64_t block_number_ = 0; // that ready_ is of; 0: none
    std::uint64_t block_last_ = 0;
    std::uint64_t covered_ = 0;
    std::optional<std::uint64_t> first_; // as begin()
    std::optional<std::uint64_t> last_;  // behind it nothing matches `until_ns`
    bool broken_ = false;
};

} // namespace beeline::observe::history
