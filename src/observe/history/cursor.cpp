#include "observe/history/cursor.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/log.h"

namespace beeline::observe::history {
namespace {

constexpr std::string_view kColumns =
    "number,last,time_min,time_max,entries,lost,contexts,flows FROM block";

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

model::Flow lost_flow(std::uint64_t number, std::int64_t time_ns, std::uint64_t count) {
    model::Flow flow;
    flow.number = number;
    flow.time_ns = time_ns;
    flow.kind = model::Flow::Kind::lost;
    flow.lost = count;
    flow.lost_where = kLostInHistory;
    return flow;
}

} // namespace

Result<std::unique_ptr<Cursor>> Cursor::open(const std::string& path, FlowFilter filter,
                                             Accept accept) {
    std::unique_ptr<Cursor> cursor(new Cursor());
    cursor->ends_.pods = filter.pods;
    cursor->ends_.to_pods = filter.to_pods;
    // What a message says is not known of its ends.
    if (filter.l7_protocols.empty()) cursor->ends_.protocols = filter.protocols;
    cursor->filter_ = std::move(filter);
    cursor->accept_ = std::move(accept);
    TRY(cursor->prepare(path));
    return cursor;
}

Result<> Cursor::prepare(const std::string& path) {
    database_ = TRY(Database::open(path, Database::Mode::read));
    TRY(database_.execute("PRAGMA cache_size=-1024"));
    containing_ = TRY(database_.prepare(
        fmt::format("SELECT {} WHERE number <= ?1 ORDER BY number DESC LIMIT 1", kColumns)));
    after_ = TRY(database_.prepare(
        fmt::format("SELECT {} WHERE number >= ?1 ORDER BY number LIMIT 1", kColumns)));
    entry_ = TRY(database_.prepare("SELECT value FROM entry WHERE id=?1"));
    entries_ = std::make_unique<Entries>(
        [this](EntryId id) -> std::optional<std::string> {
            const auto row = entry_.bind(1, id).step();
            std::optional<std::string> out;
            if (row && *row) {
                if (const auto bytes = unseal(entry_.bytes(0))) out = *bytes;
            }
            entry_.reset();
            return out;
        },
        [this](const model::Flow& flow) { return ends_.matches(flow); });
    return {};
}

Result<std::uint64_t> Cursor::bound(const char* sql, std::int64_t time_ns) {
    Statement statement = TRY(database_.prepare(sql));
    return TRY(statement.bind(1, time_ns).step()) ? statement.number(0) : 0;
}

std::uint64_t Cursor::begin() {
    if (first_.value_or(0) != 0) return *first_;
    const auto found = bound("SELECT coalesce(min(number), 0) FROM block WHERE time_max >= ?1",
                             filter_.since_ns.value_or(std::numeric_limits<std::int64_t>::min()));
    first_ = found.value_or(0);
    if (!found) failed(0);
    if (filter_.until_ns) {
        last_ = bound("SELECT coalesce(max(number), 0) FROM block WHERE time_min <= ?1",
                      *filter_.until_ns)
                    .value_or(0);
    }
    return *first_;
}

void Cursor::failed(std::uint64_t number) {
    if (broken_) return;
    broken_ = true;
    log_warn("flow history cannot be read any further", kv("number", number));
}

bool Cursor::passes(const model::Flow& flow) const {
    return filter_.matches(flow) &&
           (flow.kind == model::Flow::Kind::lost || !accept_ || accept_(flow));
}

void Cursor::take(const Statement& row) {
    Block block;
    block.number = row.number(0);
    block.last = row.number(1);
    block.time_min = row.integer(2);
    block.time_max = row.integer(3);
    block.entries = row.number(4);
    block.lost = row.number(5);
    ready_.clear();
    block_number_ = block.number;
    block_last_ = std::max(block.last, block.number);
    const auto missing = [&](std::uint64_t count) {
        ready_.clear();
        model::Flow lost = lost_flow(block.number, block.time_max, count);
        if (filter_.matches(lost)) ready_.push_back(std::move(lost));
    };
    if (block.lost != 0) return missing(block.lost);
    const std::uint64_t count =
        std::min<std::uint64_t>(block_last_ - block.number + 1, kBlockFlows);
    block.contexts = row.bytes(6);
    if (!decode_contexts(block, contexts_)) return missing(count);
    // Most blocks have nothing of who is asked for: their flows are not even read.
    bool wanted = false;
    for (const EntryId id : contexts_) {
        const Entries::Context* context = entries_->context(id);
        if (!context) return missing(count);
        wanted = wanted || context->wanted;
    }
    if (!wanted) return;
    block.flows = row.bytes(7);
    if (!decode_flows(block, contexts_, *entries_, [this](const model::Flow& flow) {
            if (passes(flow)) ready_.push_back(flow);
        }))
        missing(count);
}

// Whether there is a block.
Result<bool> Cursor::load(Statement& statement, std::uint64_t number) {
    entries_->clear_if_large();
    block_number_ = 0;
    TRY(database_.execute("BEGIN"));
    const auto row = statement.bind(1, number).step();
    if (row && *row) take(statement);
    statement.reset();
    TRY(database_.execute("COMMIT"));
    return row;
}

std::optional<model::Flow> Cursor::forward(std::uint64_t number, std::uint64_t end) {
    number = std::max({number, begin(), std::uint64_t{1}});
    if (*first_ == 0) return std::nullopt;
    while (number < end && !broken_) {
        const bool here = block_number_ != 0 && number >= block_number_ && number <= block_last_;
        if (!here) {
            auto found = load(containing_, number);
            if (found && (!*found || block_last_ < number)) found = load(after_, number);
            if (!found || !*found) {
                if (!found) failed(number);
                return std::nullopt;
            }
            if (last_ && block_number_ > *last_) { // too late for `until_ns`, as all that follow
                covered_ = std::max(covered_, end);
                return std::nullopt;
            }
            if (block_number_ >= end) return std::nullopt;
        }
        while (!ready_.empty() && ready_.front().number < number) {
            // A hole that began earlier is still one.
            if (ready_.front().kind == model::Flow::Kind::lost &&
                ready_.front().number + ready_.front().lost > number)
                break;
            ready_.pop_front();
        }
        covered_ = std::max(covered_, std::min(block_last_ + 1, end));
        if (!ready_.empty() && ready_.front().number < end) {
            model::Flow flow = std::move(ready_.front());
            ready_.pop_front();
            return flow;
        }
        number = block_last_ + 1;
    }
    return std::nullopt;
}

std::optional<model::Flow> Cursor::backward(std::uint64_t end) {
    if (begin() == 0) return std::nullopt;
    if (last_) end = std::min(end, *last_ + kBlockFlows + 1);
    while (end > *first_ && !broken_) {
        const bool here = block_number_ != 0 && end > block_number_ && end - 1 <= block_last_;
        if (!here) {
            const auto found = load(containing_, end - 1);
            if (!found || !*found) {
                if (found) return std::nullopt;
                failed(end);
                return lost_flow(*first_, now_ns(), end - *first_);
            }
        }
        while (!ready_.empty() && ready_.back().number >= end)
            ready_.pop_back();
        if (!ready_.empty()) {
            model::Flow flow = std::move(ready_.back());
            ready_.pop_back();
            return flow;
        }
        end = block_number_;
    }
    return std::nullopt;
}

} // namespace beeline::observe::history
