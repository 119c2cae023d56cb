#include "observe/history/history.h"

#include "base/log.h"

namespace beeline::observe::history {

History::History(Options options, Store& store) : options_(std::move(options)), store_(store) {
    if (!options_.enabled) return;
    auto writer = Writer::open(options_);
    if (!writer) {
        error_ = writer.error().message;
        log_error("no flow history", kv("error", error_));
        return;
    }
    writer_ = std::move(*writer);
    store_.begin_with(writer_->next_number());
    writer_->start(store_);
}

FlowQuery History::query(FlowFilter filter, Order order, Accept accept) const {
    return FlowQuery(store_, writer_ ? options_.path : std::string(), std::move(filter), order,
                     std::move(accept));
}

Result<EdgeList> History::edges(const EdgeQuery& query) const {
    if (!options_.enabled)
        return fail(Code::unavailable,
                    "the flow history is switched off: set history.enabled in the configuration");
    if (!writer_) return fail(Code::unavailable, "there is no flow history: {}", error_);
    return read_edges(options_.path, query);
}

HistoryStats History::stats() const {
    HistoryStats stats;
    stats.enabled = options_.enabled;
    stats.path = options_.path;
    if (!writer_) {
        stats.writer.error = error_;
        return stats;
    }
    stats.writer = writer_->stats();
    // While it cannot write, memory goes on turning over: gone is gone, before it is read as a hole.
    const std::uint64_t position = writer_->position();
    const std::uint64_t oldest = store_.oldest();
    if (position != 0 && oldest > position) stats.writer.lost += oldest - position;
    const std::uint64_t total = store_.stats().total;
    stats.behind = total > stats.writer.last ? total - stats.writer.last : 0;
    return stats;
}

void History::stop() {
    if (writer_) writer_->stop();
}

} // namespace beeline::observe::history
