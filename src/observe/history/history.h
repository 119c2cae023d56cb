// The flow history of one agent: writing, asking, and what is to be said about it.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "observe/history/edges.h"
#include "observe/history/flow_query.h"
#include "observe/history/options.h"
#include "observe/history/writer.h"

namespace beeline::observe::history {

struct HistoryStats {
    bool enabled = false;
    std::string path;
    WriterStats writer;
    std::uint64_t behind = 0; // flows of the store that are not in the file yet
};

class History {
public:
    // `store` must outlive it; before its first flow is appended. When the file cannot be opened the agent goes on
    // without: stats().writer.error says why.
    History(Options options, Store& store);
    History(const History&) = delete;
    History& operator=(const History&) = delete;

    // Any thread, also after stop().
    [[nodiscard]] FlowQuery query(FlowFilter filter, Order order = Order::oldest_first,
                                  Accept accept = {}) const;
    [[nodiscard]] Result<EdgeList> edges(const EdgeQuery& query) const;
    [[nodiscard]] HistoryStats stats() const;
    // Writes what is left, once nothing is appended any more.
    void stop();

private:
    Options options_;
    Store& store_;
    std::string error_; // why there is no writer
    std::unique_ptr<Writer> writer_;
};

} // namespace beeline::observe::history
