#include "api/hubble/flow_source.h"

#include <utility>

namespace beeline::hubble {
namespace {

class MemoryCursor final : public FlowCursor {
public:
    explicit MemoryCursor(observe::Reader reader) : reader_(std::move(reader)) {}
    std::optional<model::Flow> next() override { return reader_.next(); }
    [[nodiscard]] int fd() const override { return reader_.fd(); }

private:
    observe::Reader reader_;
};

class MemorySource final : public FlowSource {
public:
    explicit MemorySource(const observe::Store& store) : store_(store) {}

    std::unique_ptr<FlowCursor> open(FlowQuery query) const override {
        observe::FlowFilter filter;
        filter.follow = query.follow;
        switch (query.begin) {
        case FlowQuery::Begin::oldest: return from(1, std::move(filter));
        case FlowQuery::Begin::last: return from(first_of_last(query), std::move(filter));
        case FlowQuery::Begin::now: filter.last = 0; break;
        case FlowQuery::Begin::since: filter.since_ns = query.since_ns; break;
        }
        return std::make_unique<MemoryCursor>(store_.read(std::move(filter)));
    }
    [[nodiscard]] observe::StoreStats stats() const override { return store_.stats(); }

private:
    [[nodiscard]] std::unique_ptr<FlowCursor> from(std::uint64_t number,
                                                   observe::FlowFilter filter) const {
        return std::make_unique<MemoryCursor>(store_.read_from(number, std::move(filter)));
    }
    [[nodiscard]] std::uint64_t first_of_last(const FlowQuery& query) const {
        std::uint64_t left = query.last;
        if (left == 0) return 1;
        observe::Reader reader = store_.read({}, observe::Order::newest_first);
        while (const auto flow = reader.next()) {
            if (flow->kind == model::Flow::Kind::lost) continue;
            if ((!query.counts || query.counts(*flow)) && --left == 0) return flow->number;
        }
        return 1;
    }

    const observe::Store& store_;
};

} // namespace

std::unique_ptr<FlowSource> memory_source(const observe::Store& store) {
    return std::make_unique<MemorySource>(store);
}

} // namespace beeline::hubble
