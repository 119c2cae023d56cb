#include "observe/history/flow_query.h"

#include <poll.h>

#include <algorithm>
#include <limits>

#include "base/log.h"

namespace beeline::observe::history {
namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
// Flows of different CPUs and threads are stored a little out of the order of their times.
constexpr std::int64_t kDisorderNs = 2'000'000'000;

FlowFilter plain(FlowFilter filter) {
    filter.first.reset();
    filter.last.reset();
    filter.first_number = 0;
    return filter;
}

FlowFilter backward(FlowFilter filter) {
    filter = plain(std::move(filter));
    filter.follow = false;
    return filter;
}

} // namespace

struct FlowQuery::State {
    State(const Store& from, std::string file, FlowFilter wanted, Order direction, Accept caller)
        : store(from), path(std::move(file)), filter(std::move(wanted)), order(direction),
          accept(std::move(caller)),
          memory(order == Order::newest_first ? store.read(backward(filter), order)
                                              : store.read_from(0, plain(filter))),
          end(memory.position()) {
        if (order == Order::newest_first) {
            left = filter.last.value_or(kAll);
            return;
        }
        left = filter.first.value_or(kAll);
        // Where it ends, when it does not follow: what comes later is not part of the answer.
        end = store.stats().total + 1;
        if (filter.last) {
            begin = rewind(*filter.last);
        } else if (filter.first_number != 0) {
            begin = filter.first_number;
        } else if (filter.follow && !filter.since_ns && !filter.first) {
            begin = end;
        } else if (!memory_reaches_since()) {
            begin = 0;
        } else {
            begin = memory.position();
        }
        memory.seek(begin);
        in_history = begin < memory.position();
        // Numbers that were asked for need not be of flows that ever were.
        started = begin != 0 && filter.first_number == 0;
    }

    [[nodiscard]] bool passes(const model::Flow& flow) const {
        return flow.kind == model::Flow::Kind::lost || !accept || accept(flow);
    }

    Cursor* history() {
        if (cursor || tried || path.empty()) return cursor.get();
        tried = true;
        auto opened = Cursor::open(path, plain(filter), accept);
        if (opened) {
            cursor = std::move(*opened);
        } else {
            log_warn("flow history cannot be read", kv("path", path),
                     kv("error", opened.error().message));
        }
        return cursor.get();
    }

    // Whether all flows since `since_ns` are in memory. Without it: no.
    [[nodiscard]] bool memory_reaches_since() const {
        if (path.empty()) return true;
        if (!filter.since_ns) return false;
        Reader oldest = store.read_from(0, {});
        const auto seen = oldest.next_record();
        return seen && seen->overtaken == 0 &&
               seen->record.time_ns + kDisorderNs < *filter.since_ns;
    }

    // The number of the first of the last `count` matches.
    std::uint64_t rewind(std::size_t count) {
        if (count == 0) return end;
        Reader back = store.read(backward(filter), Order::newest_first);
        std::uint64_t number = end;
        while (const auto flow = back.next()) {
            if (flow->number == 0) break; // overtaken
            number = flow->number;
            if (flow->kind != model::Flow::Kind::lost && passes(*flow) && --count == 0)
                return number;
        }
        number = std::min(number, back.position());
        if (!history()) return number;
        while (const auto flow = cursor->backward(number)) {
            number = flow->number;
            if (flow->kind != model::Flow::Kind::lost && --count == 0) break;
        }
        cursor.reset(); // reading forward begins afresh
        tried = false;
        return number;
    }

    std::optional<model::Flow> forward() {
        while (left != 0) {
            auto flow = in_history ? from_history() : from_memory();
            if (!flow) {
                if (in_history) {
                    leave_history();
                    continue;
                }
                return std::nullopt;
            }
            if (!passes(*flow)) continue;
            if (flow->kind != model::Flow::Kind::lost) --left;
            return flow;
        }
        return std::nullopt;
    }

    // A follower may stay for days: it needs no open file for that.
    void leave_history() {
        in_history = false;
        cursor.reset();
        tried = false;
    }

    // From `begin` up to where memory goes on.
    std::optional<model::Flow> from_history() {
        for (;;) {
            const std::uint64_t to = std::min(memory.position(), filter.follow ? kNever : end);
            if (Cursor* file = history()) {
                if (auto flow = file->forward(begin, to)) {
                    const std::uint64_t count =
                        flow->kind == model::Flow::Kind::lost && flow->lost_where == kLostInHistory
                            ? flow->lost
                            : 1;
                    begin = std::max(begin, flow->number + count);
                    started = true;
                    hole_ns = std::max(hole_ns, flow->time_ns);
                    return flow;
                }
                // What the filter let nothing through of counts as read.
                if (file->covered() > 0) {
                    started = true;
                    begin = std::max(begin, std::min(file->covered(), to));
                }
            }
            const std::uint64_t before = memory.position();
            memory.seek(std::max(begin, before));
            if (memory.position() > before) continue; // memory has moved on meanwhile
            const std::uint64_t from = std::exchange(begin, std::max(begin, to));
            // Before the first flow of all there is nothing to miss.
            if (!started || from >= to) return std::nullopt;
            return hole(to - from);
        }
    }

    model::Flow hole(std::uint64_t count) const {
        model::Flow flow;
        flow.kind = model::Flow::Kind::lost;
        flow.time_ns = hole_ns;
        flow.lost = count;
        flow.lost_where = path.empty() ? kLostInQueue : kLostInHistory;
        return flow;
    }

    std::optional<model::Flow> from_memory() {
        if (!filter.follow && memory.position() >= end) return std::nullopt;
        const std::uint64_t from = memory.position();
        auto flow = memory.next();
        if (!flow) return std::nullopt;
        if (flow->number == 0 && flow->kind == model::Flow::Kind::lost) {
            if (path.empty() || !history()) return flow;
            // Memory was faster than this reader: what it dropped is in the history.
            memory.recovered(flow->lost);
            hole_ns = flow->time_ns;
            begin = from;
            in_history = started = true;
            return from_history_or_memory();
        }
        if (!filter.follow && flow->number >= end) return std::nullopt;
        started = true;
        return flow;
    }

    std::optional<model::Flow> from_history_or_memory() {
        if (auto flow = from_history()) return flow;
        leave_history();
        return from_memory();
    }

    std::optional<model::Flow> back() {
        while (left != 0) {
            std::optional<model::Flow> flow;
            if (!in_history) {
                flow = memory.next();
                if (flow && flow->number != 0) end = flow->number;
                const bool overtaken = flow && flow->number == 0;
                if (!flow || (overtaken && history())) {
                    if (overtaken) memory.recovered(flow->lost);
                    if (!flow) end = std::min(end, memory.position());
                    in_history = true;
                    continue;
                }
            } else if (Cursor* file = history()) {
                flow = file->backward(end);
                if (flow) end = flow->number;
            }
            if (!flow) return std::nullopt;
            if (!passes(*flow)) continue;
            if (flow->kind != model::Flow::Kind::lost) --left;
            return flow;
        }
        return std::nullopt;
    }

    static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

    const Store& store;
    std::string path;
    FlowFilter filter;
    Order order;
    Accept accept;
    Reader memory;
    std::unique_ptr<Cursor> cursor;
    bool tried = false;
    bool in_history = false;
    bool started = false; // whether a flow before `begin` is known to have been
    std::uint64_t begin = 0;
    std::uint64_t end;
    std::size_t left = kAll;
    std::int64_t hole_ns = 0;
};

FlowQuery::FlowQuery(const Store& store, std::string path, FlowFilter filter, Order order,
                     Accept accept)
    : state_(std::make_unique<State>(store, std::move(path), std::move(filter), order,
                                     std::move(accept))) {}
FlowQuery::FlowQuery(FlowQuery&&) noexcept = default;
FlowQuery& FlowQuery::operator=(FlowQuery&&) noexcept = default;
FlowQuery::~FlowQuery() = default;

std::optional<model::Flow> FlowQuery::next() {
    return state_->order == Order::oldest_first ? state_->forward() : state_->back();
}

int FlowQuery::fd() const { return state_->memory.fd(); }
bool FlowQuery::wait(int timeout_ms) { return state_->memory.wait(timeout_ms); }
bool FlowQuery::exhausted() const { return state_->left == 0; }

} // namespace beeline::observe::history
