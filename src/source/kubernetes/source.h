// Desired state from a Kubernetes API server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kube/access.h"
#include "source/source.h"

namespace beeline::source {

struct KubernetesOptions {
    kube::Access access;
    std::string node;         // of this machine: whose condition is written
    std::string state_folder; // the last set is kept in it
    std::string version;      // of the agent, for the Node's annotations
    unsigned coalesce_ms = 5; // a burst of changes counts as one
    bool write_status = true;
    std::uint64_t first_wait_ms = 100; // after a failure; doubles
    std::uint64_t longest_wait_ms = 30'000;
    unsigned watch_s = 300;
    std::size_t largest_object = 16U << 20;
};

// All of the network, reading and building of sets is done in a thread of its own; the loop gets sets that are finished.
// The first set is the last one of an earlier run, if there was one. Without, nothing is published until every kind has
// been read once: objects() is null so long, and no set must be taken for empty.
class KubernetesSource final : public Source {
public:
    static Result<std::unique_ptr<KubernetesSource>> create(KubernetesOptions options,
                                                            Publish publish);
    ~KubernetesSource() override;
    KubernetesSource(const KubernetesSource&) = delete;
    KubernetesSource& operator=(const KubernetesSource&) = delete;

    Result<> start(loop::Loop& loop) override;
    Result<ApplyReport> apply(std::string_view yaml, bool dry_run) override;
    Result<> remove(std::string_view kind, const model::ObjectName& name) override;
    [[nodiscard]] Result<std::vector<StoredObject>> list(const ObjectFilter& filter) const override;
    [[nodiscard]] std::vector<SourceError> errors() const override { return news_.errors; }
    [[nodiscard]] SourceState state() const override;
    [[nodiscard]] std::shared_ptr<const model::Objects> objects() const override {
        return objects_;
    }
    void network_works(bool works, const std::string& why) override;
    void pod_failed(const FailedPod& pod) override;

private:
    class Worker;
    struct News { // from the worker, beside a set
        bool synced = false;
        bool connected = false;
        std::uint64_t events = 0;
        std::vector<SourceError> errors;
    };
    KubernetesSource(KubernetesOptions options, Publish publish);
    void take(News news, std::shared_ptr<const model::Objects> objects);

    KubernetesOptions options_;
    Publish publish_;
    std::shared_ptr<const model::Objects> objects_;
    News news_;
    std::int64_t since_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
    std::unique_ptr<Worker> worker_;
};

} // namespace beeline::source
