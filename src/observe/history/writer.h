// The thread that follows the store into the database.
//
// It reads the store as any follower does, ten times a second, and commits what came in one transaction, so neither the ingest
// thread nor the datapath ever waits for it. While it cannot write (no room, say) it holds its batch and tries again; only
// what the store drops meanwhile is lost. A loss is counted, and recorded where the flows are missing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "observe/history/codec.h"
#include "observe/history/database.h"
#include "observe/history/edges.h"
#include "observe/history/options.h"
#include "observe/store.h"

namespace beeline::observe::history {

struct WriterStats {
    std::uint64_t written = 0; // flows since the start
    std::uint64_t lost = 0; // flows since the start that the store dropped before they were written
    std::uint64_t stored = 0;   // flows in the file
    std::uint64_t last = 0;     // the newest number in the file
    std::uint64_t bytes = 0;    // of the file
    std::int64_t oldest_ns = 0; // time of the oldest flow in the file; 0: none
    std::string error;          // why writing fails at present
    std::string damage;         // what was set aside since the start
};

class Writer {
public:
    // Opens or begins the file.
    static Result<std::unique_ptr<Writer>> open(Options options);
    ~Writer(); // stop()
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;

    // The number of the first flow that the file has not seen.
    [[nodiscard]] std::uint64_t next_number() const { return next_number_; }
    // Writes what is appended to the store from now on.
    void start(const Store& store);
    // Writes the rest and ends the thread.
    void stop();
    // Any thread.
    [[nodiscard]] WriterStats stats() const;
    // The next number that it takes from the store; what the store drops from there on is lost.
    [[nodiscard]] std::uint64_t position() const {
        return position_.load(std::memory_order_relaxed);
    }

private:
    explicit Writer(Options options) : options_(std::move(options)) {}
    struct KnownContext {
        std::shared_ptr<const Context> owner; // so that its address stays its name
        EntryId id = 0;
        EdgeSums::Ends ends;
    };
    struct KnownProcess {
        std::shared_ptr<const ProcessInfo> owner;
        std::shared_ptr<const ProcessFacts> facts; // that the entry tells; they may come late
        EntryId id = 0;
    };
    struct Entry {
        EntryId id;
        std::string bytes;
    };

    Result<> load();
    void run();
    // Whether there are flows, when it waits for them too.
    bool wait(int timeout_ms, bool for_flows);
    // What is there, as far as the batch has room.
    void collect();
    void add(const Seen& seen);
    void add_hole(const Seen& seen);
    void end_block();
    void begin_segment();
    EntryId intern(const std::string& bytes);
    KnownContext& context(const RecordView& record);
    EntryId process(const RecordView& record, std::size_t side);
    [[nodiscard]] bool batch_full() const;
    [[nodiscard]] bool batch_empty() const;

    bool commit();
    Result<> write();
    void begin_anew(const std::string& why);
    void failed(const Error& error);
    void maintain();
    Result<> prune();
    Result<bool> remove_oldest(std::int64_t now_ns);
    Result<> measure();

    Options options_;
    Database database_;
    Fd stop_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
    std::optional<Reader> reader_;

    std::atomic<std::uint64_t> position_{0};
    std::uint64_t next_number_ = 1;
    EntryId next_entry_ = 1;
    // What the entries from segment_ on are called. A segment ends after an hour or when it has many entries, and the
    // entries go with the last block that names them.
    EntryId segment_ = 1;
    std::int64_t segment_hour_ = 0;
    std::unordered_map<std::string, EntryId> entries_;
    std::unordered_map<const Context*, KnownContext> contexts_;
    std::unordered_map<const ProcessInfo*, KnownProcess> processes_;
    KnownContext lost_context_;

    // The batch.
    BlockWriter block_;
    std::vector<Entry> new_entries_;
    std::vector<Block> blocks_;
    EdgeSums edges_;
    std::uint64_t batch_flows_ = 0;
    std::uint64_t batch_lost_ = 0;
    std::uint64_t batch_number_ = 0; // where it begins

    std::int64_t next_maintenance_ms_ = 0;
    std::int64_t next_edge_prune_ms_ = 0;
    std::int64_t retry_ms_ = 0; // not before
    std::uint64_t failures_ = 0;

    mutable std::mutex mutex_;
    WriterStats stats_; // under mutex_
};

} // namespace beeline::observe::history
