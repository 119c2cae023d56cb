// Desired state from the keys below a prefix of etcd, followed and changed there; this machine registers itself beside them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "source/etcd/client.h"
#include "source/etcd/feed.h"
#include "source/etcd/options.h"
#include "source/etcd/registrar.h"
#include "source/manifest_set.h"
#include "source/object_key.h"
#include "source/source.h"

namespace beeline::source {

// What the status says of etcd, beyond SourceState.
struct EtcdState {
    std::string endpoint;
    std::int64_t revision = 0;
    std::size_t keys = 0;
    std::size_t rejected = 0;
    std::uint64_t lists = 0;
    std::uint64_t failures = 0;
    bool from_snapshot = false; // nothing has been read from etcd yet
    Registration registration;
};

// Level-triggered: what counts is what the keys say. A value that cannot be taken leaves in force what the key said before,
// also over a restart. The state belongs to the loop's thread; the feed, the registrar and whoever calls apply() wait for
// etcd in threads of their own.
class EtcdSource final : public Source {
public:
    // Reads the snapshot of an earlier run.
    static Result<std::unique_ptr<EtcdSource>> create(EtcdOptions options, Publish publish);
    ~EtcdSource() override;
    EtcdSource(const EtcdSource&) = delete;
    EtcdSource& operator=(const EtcdSource&) = delete;

    Result<> start(loop::Loop& loop) override;
    void announce(const Announcement& given) override;
    [[nodiscard]] bool waits() const override { return true; }
    // One transaction. What was written is in force here when these return; elsewhere soon after.
    Result<ApplyReport> apply(std::string_view yaml, bool dry_run) override;
    Result<> remove(std::string_view kind, const model::ObjectName& name) override;

    [[nodiscard]] Result<std::vector<StoredObject>> list(const ObjectFilter& filter) const override;
    [[nodiscard]] std::vector<SourceError> errors() const override;
    [[nodiscard]] SourceState state() const override;
    [[nodiscard]] std::shared_ptr<const model::Objects> objects() const override {
        return published_;
    }
    [[nodiscard]] EtcdState etcd_state() const;

private:
    // What a key says.
    struct Key {
        std::int64_t created = 0;
        std::int64_t modified = 0;
        bool deleted = false; // by us, and the feed does not know yet
        std::optional<StoredKey> meaning;
        std::string error; // of the newest value; empty: `good` is the newest
        std::shared_ptr<const ManifestFile> good;
    };
    // A value that was read in the feed's thread.
    struct Read {
        std::string key;
        std::int64_t created = 0;
        std::int64_t modified = 0;
        bool deleted = false;
        std::optional<StoredKey> meaning;
        std::string error;
        std::shared_ptr<const ManifestFile> good;
    };
    struct ReadBatch {
        EtcdFeed::Batch about; // without its values
        std::vector<Read> values;
    };
    struct Planned {
        ApplyReport report;
        etcdpb::TxnRequest request;
        std::vector<Read> values; // as they will be; the revision is the answer's
    };

    EtcdSource(EtcdOptions options, Publish publish);

    [[nodiscard]] Read read(const EtcdFeed::Value& value) const;
    [[nodiscard]] std::string shown(const std::string& key) const;
    void hand_over(EtcdFeed::Batch batch); // in the feed's thread
    void take(ReadBatch batch);
    bool take(Read value);
    void set_connected(const std::string& error);
    void settle_soon();
    void settle();
    [[nodiscard]] ManifestFiles good_files() const;
    void add_nodes(model::Objects& objects, std::vector<SourceError>& errors) const;
    void add_workloads(model::Objects& objects, std::vector<SourceError>& errors) const;
    [[nodiscard]] Result<Planned> plan(std::vector<Manifest> manifests) const;
    void written(std::vector<Read> values, std::int64_t revision);

    void read_snapshot();
    void save_snapshot();
    [[nodiscard]] std::string snapshot_file() const {
        return options_.state_folder + "/etcd-objects";
    }

    EtcdOptions options_;
    Publish publish_;
    std::string agent_;
    loop::Loop* loop_ = nullptr;
    // Tasks on the loop hold it weakly: they do nothing once the source is gone.
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

    std::map<std::string, Key> keys_;
    std::uint64_t cluster_ = 0;
    std::int64_t revision_ = 0;
    bool synced_ = false;
    bool from_snapshot_ = false;
    bool connected_ = false;
    std::string connection_error_ = "etcd has not been reached yet";
    std::int64_t since_ = 0;
    std::uint64_t events_ = 0;
    MergedFiles merged_;
    std::vector<SourceError> errors_;
    std::shared_ptr<const model::Objects> published_;
    Registration registration_;
    std::optional<loop::Loop::TimerId> settle_timer_;
    std::optional<loop::Loop::TimerId> snapshot_timer_;

    // Batches that the loop has not taken yet: the feed waits when they are many.
    std::mutex waiting_mutex_;
    std::condition_variable waiting_changed_;
    std::size_t waiting_ = 0;
    bool stopping_ = false;

    EtcdClient writer_;
    std::unique_ptr<EtcdFeed> feed_;
    std::unique_ptr<EtcdRegistrar> registrar_;
};

} // namespace beeline::source
