#include "agent/flow_source.h"

#include <limits>
#include <utility>

namespace beeline::agent {
namespace {

using hubble::FlowCursor;
using hubble::FlowQuery;

class HistoryCursor final : public FlowCursor {
public:
    explicit HistoryCursor(observe::history::FlowQuery query) : query_(std::move(query)) {}
    std::optional<model::Flow> next() override { return query_.next(); }
    [[nodiscard]] int fd() const override { return query_.fd(); }

private:
    observe::history::FlowQuery query_;
};

class HistorySource final : public hubble::FlowSource {
public:
    HistorySource(const observe::Store& store, const observe::history::History& history)
        : memory_(hubble::memory_source(store)), history_(history) {}

    std::unique_ptr<FlowCursor> open(FlowQuery query) const override {
        observe::FlowFilter filter;
        filter.follow = query.follow;
        switch (query.begin) {
        case FlowQuery::Begin::now: return memory_->open(std::move(query));
        case FlowQuery::Begin::last:
            // Hubble's "no number" means its ring, which is memory; all that there is is asked for by the largest one.
            if (query.last == 0) return memory_->open(std::move(query));
            if (query.last != std::numeric_limits<std::uint64_t>::max()) {
                // `until` is no part of it: it does not move where the last so many begin.
                filter.last = query.last;
                return cursor(std::move(filter), std::move(query.counts));
            }
            if (query.follow) filter.since_ns = 0;
            break;
        case FlowQuery::Begin::oldest: break;
        case FlowQuery::Begin::since: filter.since_ns = query.since_ns; break;
        }
        filter.until_ns = query.until_ns;
        return cursor(std::move(filter), {});
    }
    [[nodiscard]] observe::StoreStats stats() const override { return memory_->stats(); }

private:
    std::unique_ptr<FlowCursor> cursor(observe::FlowFilter filter,
                                       observe::history::Accept accept) const {
        return std::make_unique<HistoryCursor>(
            history_.query(std::move(filter), observe::Order::oldest_first, std::move(accept)));
    }

    const std::unique_ptr<hubble::FlowSource> memory_;
    const observe::history::History& history_;
};

} // namespace

std::shared_ptr<const hubble::FlowSource> flow_source(const observe::Store& store,
                                                      const observe::history::History& history) {
    return std::make_shared<HistorySource>(store, history);
}

} // namespace beeline::agent
