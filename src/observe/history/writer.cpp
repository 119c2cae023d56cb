#include "observe/history/writer.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <limits>

#include "base/log.h"
#include "observe/history/schema.h"

namespace beeline::observe::history {
namespace {

constexpr std::int64_t kHour = 3600LL * 1'000'000'000;
constexpr std::int64_t kDay = 24 * kHour;
constexpr int kBatchMs = 100;
constexpr std::uint64_t kBatchFlows = 16 * 1024;
constexpr std::size_t kBatchEntries = 64 * 1024;
constexpr std::size_t kSegmentEntries = 32 * 1024;
constexpr int kMaintenanceMs = 1000;
constexpr std::int64_t kEdgePruneMs = 60'000;
constexpr std::int64_t kRetryMs = 500;
constexpr int kBlocksAtOnce = 16;
constexpr int kPruneRounds = 64; // in a second

std::int64_t steady_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

std::int64_t real_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

} // namespace

Result<std::unique_ptr<Writer>> Writer::open(Options options) {
    std::unique_ptr<Writer> writer(new Writer(std::move(options)));
    writer->stop_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!writer->stop_) return fail_errno(errno, "eventfd");
    auto opened = TRY(open_history(writer->options_.path));
    writer->database_ = std::move(opened.database);
    if (!opened.damage.empty()) log_error("flow history", kv("error", opened.damage));
    writer->stats_.damage = std::move(opened.damage);
    TRY(writer->load());
    return writer;
}

Writer::~Writer() { stop(); }

// Where an earlier run ended.
Result<> Writer::load() {
    const std::uint64_t last = static_cast<std::uint64_t>(
        TRY(database_.value("SELECT last FROM block ORDER BY number DESC LIMIT 1")));
    next_number_ = std::max(next_number_, last + 1);
    const auto entry = static_cast<EntryId>(TRY(database_.value("SELECT max(id) FROM entry")));
    const auto named = static_cast<EntryId>(
        TRY(database_.value("SELECT entries FROM block ORDER BY number DESC LIMIT 1")));
    next_entry_ = std::max({next_entry_, entry + 1, named + 1});
    begin_segment();
    return measure();
}

void Writer::start(const Store& store) {
    reader_ = store.read_from(0, {.follow = true});
    thread_ = std::thread([this] { run(); });
}

void Writer::stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

void Writer::run() {
    ::pthread_setname_np(::pthread_self(), "bl-history");
    while (!stopping_) {
        collect();
        if (batch_empty()) {
            maintain();
            // Others that come soon go into the same transaction, and what is only known a moment later is known.
            if (wait(kMaintenanceMs, true)) wait(kBatchMs, false);
            continue;
        }
        if (const std::int64_t left = retry_ms_ - steady_ms(); left > 0) {
            wait(static_cast<int>(left), false);
            continue;
        }
        const bool more = batch_full();
        if (!commit()) continue;
        maintain();
        if (!more) wait(kBatchMs, false);
    }
    // The rest; once is enough when it fails.
    for (collect(); !batch_empty(); collect())
        if (!commit()) break;
    // A file that is left alone now keeps its limits too.
    if (database_) (void)prune().and_then([this] { return measure(); });
    reader_.reset();
}

bool Writer::wait(int timeout_ms, bool for_flows) {
    std::array<pollfd, 2> fds{{{stop_.get(), POLLIN, 0}, {reader_->fd(), POLLIN, 0}}};
    ::poll(fds.data(), for_flows ? 2 : 1, timeout_ms);
    return for_flows && fds[1].revents != 0;
}

bool Writer::batch_full() const {
    return batch_flows_ >= kBatchFlows || new_entries_.size() >= kBatchEntries;
}

bool Writer::batch_empty() const { return batch_flows_ == 0 && batch_lost_ == 0; }

void Writer::collect() {
    while (!batch_full()) {
        const auto seen = reader_->next_record();
        if (!seen) break;
        if (batch_empty()) batch_number_ = seen->number;
        if (seen->overtaken != 0) {
            add_hole(*seen);
        } else {
            add(*seen);
        }
    }
    position_.store(reader_->position(), std::memory_order_relaxed);
}

void Writer::add(const Seen& seen) {
    const RecordView& record = seen.record;
    const std::int64_t hour = record.time_ns / kHour;
    if (hour > segment_hour_ || next_entry_ - segment_ >= kSegmentEntries) {
        end_block();
        begin_segment();
        segment_hour_ = hour;
    }
    if (block_.size() >= kBlockFlows) end_block();
    if (block_.size() == 0) block_.begin(seen.number, segment_);
    KnownContext& known = context(record);
    block_.add(record, known.id, {process(record, 0), process(record, 1)});
    if (record.kind == model::Flow::Kind::lost) {
        edges_.add_lost(record.time_ns, record.packets[0]);
    } else {
        edges_.add(known.ends, record);
    }
    ++batch_flows_;
}

// Flows that the store dropped before they were read.
void Writer::add_hole(const Seen& seen) {
    end_block();
    Block hole;
    hole.number = seen.number;
    hole.last = seen.number + seen.overtaken - 1;
    hole.time_min = hole.time_max = seen.record.time_ns;
    hole.entries = segment_;
    hole.lost = seen.overtaken;
    blocks_.push_back(std::move(hole));
    edges_.add_lost(seen.record.time_ns, seen.overtaken);
    batch_lost_ += seen.overtaken;
    const std::lock_guard lock(mutex_);
    stats_.lost += seen.overtaken;
}

void Writer::end_block() {
    if (block_.size() == 0) return;
    blocks_.push_back(block_.finish());
    block_.begin(0, 0);
}

void Writer::begin_segment() {
    segment_ = next_entry_;
    entries_.clear();
    contexts_.clear();
    processes_.clear();
}

EntryId Writer::intern(const std::string& bytes) {
    const auto [found, is_new] = entries_.emplace(bytes, next_entry_);
    if (is_new) new_entries_.push_back({next_entry_++, bytes});
    return found->second;
}

Writer::KnownContext& Writer::context(const RecordView& record) {
    const auto make = [&](KnownContext& known) {
        const model::Flow flow = to_flow(record, 0);
        known.id = intern_context(flow, [this](const std::string& bytes) { return intern(bytes); });
        known.ends = EdgeSums::ends(flow);
    };
    if (!record.context) { // few, and where they were lost is a matter of each
        make(lost_context_);
        return lost_context_;
    }
    const auto [found, is_new] = contexts_.try_emplace(record.context);
    if (is_new) {
        found->second.owner = *record.owners.context;
        make(found->second);
    }
    return found->second;
}

EntryId Writer::process(const RecordView& record, std::size_t side) {
    if (!record.process[side]) return 0;
    const auto [found, is_new] = processes_.try_emplace(record.process[side]);
    if (auto facts = record.process[side]->facts(); is_new || facts != found->second.facts) {
        found->second.owner = *record.owners.process[side];
        found->second.facts = std::move(facts);
        const model::Flow flow = to_flow(record, 0);
        found->second.id =
            intern_process((side == 0 ? flow.source : flow.destination).process,
                           [this](const std::string& bytes) { return intern(bytes); });
    }
    return found->second.id;
}

// Whether the batch is in the file; else it stays for another try.
bool Writer::commit() {
    if (!database_) {
        begin_anew("it could not be opened again");
        return false;
    }
    end_block();
    const auto done = write();
    if (!done) {
        if (database_.in_transaction()) (void)database_.execute("ROLLBACK");
        edges_.forget_texts();
        if (done.error().code == Code::invalid) {
            begin_anew(done.error().message);
        } else {
            failed(done.error());
        }
        return false;
    }
    if (failures_ != 0) log_info("flow history is written again", kv("path", options_.path));
    failures_ = 0;
    {
        const std::lock_guard lock(mutex_);
        stats_.error.clear();
        stats_.written += batch_flows_;
        stats_.last = blocks_.back().last;
    }
    blocks_.clear();
    new_entries_.clear();
    edges_.clear();
    batch_flows_ = batch_lost_ = 0;
    return true;
}

Result<> Writer::write() {
    TRY(database_.execute("BEGIN IMMEDIATE"));
    Statement entry = TRY(database_.prepare("INSERT INTO entry VALUES(?1,?2)"));
    for (const Entry& one : new_entries_) {
        const std::string sealed = seal(one.bytes);
        TRY(entry.bind(1, one.id).blob(2, sealed).run());
    }
    Statement block =
        TRY(database_.prepare("INSERT OR REPLACE INTO block VALUES(?1,?2,?3,?4,?5,?6,?7,?8)"));
    for (const Block& one : blocks_) {
        block.bind(1, one.number).bind(2, one.last).bind(3, one.time_min).bind(4, one.time_max);
        // An empty blob would be null.
        const std::string_view empty("", 0);
        block.bind(5, one.entries).bind(6, one.lost);
        block.blob(7, one.contexts.empty() ? empty : std::string_view(one.contexts));
        TRY(block.blob(8, one.flows.empty() ? empty : std::string_view(one.flows)).run());
    }
    TRY(edges_.write(database_));
    return database_.execute("COMMIT");
}

// The file turned out to be damaged: begin another one with the same batch.
void Writer::begin_anew(const std::string& why) {
    database_.close();
    auto opened = set_aside(options_.path).and_then([&] { return open_history(options_.path); });
    if (!opened) return failed(opened.error());
    database_ = std::move(opened->database);
    const std::string damage = damage_text(options_.path, why);
    log_error("flow history", kv("error", damage));
    {
        const std::lock_guard lock(mutex_);
        stats_.damage = damage;
        stats_.lost -= batch_lost_; // they are met again
    }
    // What the batch names is in the other file.
    blocks_.clear();
    new_entries_.clear();
    edges_.clear();
    batch_flows_ = batch_lost_ = 0;
    begin_segment();
    reader_->seek(batch_number_);
}

void Writer::failed(const Error& error) {
    retry_ms_ = steady_ms() + kRetryMs;
    if (std::has_single_bit(++failures_))
        log_error("flow history cannot be written; trying again", kv("path", options_.path),
                  kv("error", error.message), kv("count", failures_));
    const std::lock_guard lock(mutex_);
    stats_.error = error.message;
}

void Writer::maintain() {
    const std::int64_t now = steady_ms();
    if (now < next_maintenance_ms_ || !database_) return;
    next_maintenance_ms_ = now + kMaintenanceMs;
    if (::access(options_.path.c_str(), F_OK) != 0) {
        batch_number_ = reader_->position();
        return begin_anew("it was removed");
    }
    if (auto done = prune().and_then([this] { return measure(); }); !done) {
        if (database_.in_transaction()) (void)database_.execute("ROLLBACK");
        if (done.error().code == Code::invalid) {
            batch_number_ = reader_->position();
            begin_anew(done.error().message);
        } else {
            failed(done.error());
        }
    }
}

Result<> Writer::prune() {
    const std::int64_t now_ns = real_ns();
    bool removed = false;
    for (int round = 0; round < kPruneRounds; ++round) {
        if (!TRY(remove_oldest(now_ns))) break;
        removed = true;
    }
    if (steady_ms() >= next_edge_prune_ms_) {
        next_edge_prune_ms_ = steady_ms() + kEdgePruneMs;
        const std::int64_t hour = (now_ns - options_.edge_days * kDay) / kHour;
        TRY(database_.execute("BEGIN IMMEDIATE"));
        TRY(TRY(database_.prepare("DELETE FROM edge WHERE hour < ?1")).bind(1, hour).run());
        const auto gone = TRY(database_.value("SELECT changes()"));
        TRY(TRY(database_.prepare("DELETE FROM hour_lost WHERE hour < ?1")).bind(1, hour).run());
        if (gone > 0) {
            TRY(database_.execute("DELETE FROM text WHERE id NOT IN (SELECT source FROM edge UNION "
                                  "SELECT destination FROM edge UNION SELECT service FROM edge "
                                  "UNION SELECT rule FROM edge)"));
            edges_.forget_texts();
        }
        TRY(database_.execute("COMMIT"));
        removed = removed || gone > 0;
    }
    // Free pages are used again; only when there are many is the file made smaller, bit by bit.
    const auto pages = TRY(database_.value("PRAGMA page_count"));
    if (TRY(database_.value("PRAGMA freelist_count")) > std::max<std::int64_t>(pages / 8, 64))
        TRY(database_.execute("PRAGMA incremental_vacuum(1024)"));
    return {};
}

// Whether something was removed because it is too old or the file too large.
Result<bool> Writer::remove_oldest(std::int64_t now_ns) {
    const auto page = TRY(database_.value("PRAGMA page_size"));
    const auto used = page * (TRY(database_.value("PRAGMA page_count")) -
                              TRY(database_.value("PRAGMA freelist_count")));
    const bool large = static_cast<std::uint64_t>(used) > options_.max_bytes;
    const auto oldest = TRY(database_.value("SELECT time_max FROM block ORDER BY number LIMIT 1"));
    const std::int64_t too_old = now_ns - options_.flow_hours * kHour;
    if (!large && (oldest == 0 || oldest >= too_old)) return false;
    TRY(database_.execute("BEGIN IMMEDIATE"));
    if (oldest != 0) {
        TRY(TRY(database_.prepare(
                    "DELETE FROM block WHERE number IN (SELECT number FROM block ORDER "
                    "BY number LIMIT ?1) AND time_max < ?2"))
                .bind(1, std::int64_t{kBlocksAtOnce})
                .bind(2, large ? std::numeric_limits<std::int64_t>::max() : too_old)
                .run());
        // Entries that no block names any more. Of the blocks that are left the first one names the oldest.
        TRY(TRY(database_.prepare(
                    "DELETE FROM entry WHERE id < min(?1, coalesce((SELECT entries FROM "
                    "block ORDER BY number LIMIT 1), ?1))"))
                .bind(1, segment_)
                .run());
    } else {
        TRY(database_.execute("DELETE FROM edge WHERE hour = (SELECT min(hour) FROM edge)"));
    }
    TRY(database_.execute("COMMIT"));
    return (oldest != 0 || TRY(database_.value("SELECT count(*) FROM edge")) > 0);
}

Result<> Writer::measure() {
    const auto first = static_cast<std::uint64_t>(
        TRY(database_.value("SELECT number FROM block ORDER BY number LIMIT 1")));
    const auto last = static_cast<std::uint64_t>(
        TRY(database_.value("SELECT last FROM block ORDER BY number DESC LIMIT 1")));
    const auto oldest = TRY(database_.value("SELECT time_min FROM block ORDER BY number LIMIT 1"));
    const auto bytes =
        TRY(database_.value("PRAGMA page_size")) * TRY(database_.value("PRAGMA page_count"));
    const std::lock_guard lock(mutex_);
    stats_.stored = last == 0 ? 0 : last - first + 1;
    if (last != 0) stats_.last = last; // else all that was written is gone already
    stats_.oldest_ns = oldest;
    stats_.bytes = static_cast<std::uint64_t>(bytes);
    return {};
}

WriterStats Writer::stats() const {
    const std::lock_guard lock(mutex_);
    return stats_;
}

} // namespace beeline::observe::history
