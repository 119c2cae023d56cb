#include "source/kubernetes/source.h"

#include <algorithm>
#include <atomic>
#include <ctime>
#include <functional>
#include <future>

#include "base/log.h"
#include "source/kubernetes/watcher.h"
#include "source/kubernetes/writer.h"

namespace beeline::source {
namespace {

constexpr std::uint64_t kSavePeriodMs = 30'000;

std::vector<WatchedKind> watched_kinds() {
    return {
        {ObjectKind::namespace_, "/api/v1/namespaces"},
        {ObjectKind::node, "/api/v1/nodes"},
        {ObjectKind::pod, "/api/v1/pods"},
        {ObjectKind::service, "/api/v1/services"},
        {ObjectKind::endpoint_slice, "/apis/discovery.k8s.io/v1/endpointslices"},
        {ObjectKind::network_policy, "/apis/networking.k8s.io/v1/networkpolicies"},
    };
}

std::string objects_file(const std::string& folder) { return folder + "/kubernetes-objects.jsonl"; }

} // namespace

// Everything here runs in the session's thread, except start() and the destructor.
class KubernetesSource::Worker {
public:
    using Deliver = std::function<void(News, std::shared_ptr<const model::Objects>)>;

    Worker(const KubernetesOptions& options, ObjectState state, Deliver deliver)
        : options_(options), deliver_(std::move(deliver)), state_(std::move(state)),
          writer_(session_, options.node, options.version), session_(options.access) {}
    ~Worker() {
        // The session's thread first: its handlers use everything else.
        done_ = true;
        std::promise<void> saved;
        session_.post([&] {
            if (unsaved_) save();
            saved.set_value();
        });
        saved.get_future().wait();
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    void start() {
        session_.post([this] {
            Watcher::Limits limits;
            limits.first_wait_ms = options_.first_wait_ms;
            limits.longest_wait_ms = options_.longest_wait_ms;
            limits.watch_s = options_.watch_s;
            limits.largest_object = options_.largest_object;
            for (auto& kind : watched_kinds()) {
                watchers_.push_back(std::make_unique<Watcher>(session_, state_, kind, limits,
                                                              [this] { changed(); }));
            }
            for (const auto& watcher : watchers_)
                watcher->start();
        });
    }
    // Any thread: the loop has taken the last delivery.
    void taken() {
        session_.post([this] {
            in_flight_ = false;
            if (dirty_) schedule();
        });
    }
    void post(std::function<void(Writer&)> task) {
        session_.post([this, task = std::move(task)] { task(writer_); });
    }

private:
    // Until the loop has taken the last delivery the next one grows.
    void changed() {
        dirty_ = true;
        if (!in_flight_) schedule();
    }
    void schedule() {
        if (scheduled_ || done_) return;
        scheduled_ = true;
        session_.after(options_.coalesce_ms, [this] {
            scheduled_ = false;
            deliver();
        });
    }
    void deliver() {
        dirty_ = false;
        News news;
        news.synced = news.connected = true;
        for (const auto& watcher : watchers_) {
            news.synced = news.synced && watcher->synced();
            news.connected = news.connected && watcher->connected();
            news.events += watcher->events();
            if (!watcher->problem().empty()) {
                news.errors.push_back(
                    {std::string(kind_name(watcher->kind().kind)) + " list", watcher->problem()});
            }
        }
        for (auto& error : state_.errors())
            news.errors.push_back(std::move(error));
        const bool first = news.synced && !delivered_;
        std::shared_ptr<const model::Objects> objects;
        if (news.synced && (first || state_.changed())) {
            objects = state_.publish();
            delivered_ = true;
            plan_save();
        }
        if (news.connected && !was_connected_) writer_.connected();
        was_connected_ = news.connected;
        in_flight_ = true;
        deliver_(std::move(news), std::move(objects));
    }
    void plan_save() {
        unsaved_ = true;
        if (save_planned_) return;
        save_planned_ = true;
        session_.after(kSavePeriodMs, [this] {
            save_planned_ = false;
            save();
        });
    }
    void save() {
        unsaved_ = false;
        const auto done = save_objects(objects_file(options_.state_folder), state_.published());
        if (!done) log_warn("the objects cannot be kept", kv("error", done.error().message));
    }

    const KubernetesOptions& options_;
    Deliver deliver_;
    ObjectState state_;
    std::vector<std::unique_ptr<Watcher>> watchers_;
    bool dirty_ = false;
    bool scheduled_ = false;
    bool in_flight_ = false;
    bool delivered_ = false;
    bool was_connected_ = false;
    bool unsaved_ = false;
    bool save_planned_ = false;
    std::atomic<bool> done_{false};
    Writer writer_;
    kube::Session session_; // last: its thread ends before what it uses
};

KubernetesSource::KubernetesSource(KubernetesOptions options, Publish publish)
    : options_(std::move(options)), publish_(std::move(publish)) {}

KubernetesSource::~KubernetesSource() {
    *alive_ = false;
    worker_.reset();
}

Result<std::unique_ptr<KubernetesSource>> KubernetesSource::create(KubernetesOptions options,
                                                                   Publish publish) {
    return std::unique_ptr<KubernetesSource>(
        new KubernetesSource(std::move(options), std::move(publish)));
}

Result<> KubernetesSource::start(loop::Loop& loop) {
    ObjectState state;
    std::vector<std::string> problems;
    auto kept = load_objects(objects_file(options_.state_folder), problems);
    for (const auto& problem : problems)
        log_warn("an object that was kept cannot be read", kv("error", problem));
    if (kept) {
        state.begin_with(std::move(*kept));
        objects_ = std::make_shared<const model::Objects>(state.published());
        publish_(objects_);
    } else if (kept.error().code != Code::not_found) {
        log_warn("the objects of an earlier run cannot be read", kv("error", kept.error().message));
    }
    since_ = std::time(nullptr);
    worker_ = std::make_unique<Worker>(
        options_, std::move(state),
        [this, &loop, alive = alive_](News news, std::shared_ptr<const model::Objects> objects) {
            loop.post(
                [this, alive, news = std::move(news), objects = std::move(objects)]() mutable {
                    if (*alive) take(std::move(news), std::move(objects));
                });
        });
    worker_->start();
    return {};
}

void KubernetesSource::take(News news, std::shared_ptr<const model::Objects> objects) {
    if (news.connected != news_.connected) {
        since_ = std::time(nullptr);
        if (news.connected)
            log_info("connected to the API server", kv("server", options_.access.server));
    }
    for (const auto& error : news.errors) {
        if (std::find(news_.errors.begin(), news_.errors.end(), error) == news_.errors.end() &&
            !error.file.ends_with(" list")) {
            log_warn("an object is not taken, what it said before stays in force",
                     kv("object", error.file), kv("why", error.message));
        }
    }
    news_ = std::move(news);
    if (objects) {
        objects_ = std::move(objects);
        publish_(objects_);
    }
    worker_->taken();
}

Result<ApplyReport> KubernetesSource::apply(std::string_view, bool) {
    return fail(Code::unsupported,
                "objects are in the Kubernetes API server here: use kubectl apply");
}

Result<> KubernetesSource::remove(std::string_view, const model::ObjectName&) {
    return fail(Code::unsupported,
                "objects are in the Kubernetes API server here: use kubectl delete");
}

Result<std::vector<StoredObject>> KubernetesSource::list(const ObjectFilter& filter) const {
    if (!objects_)
        return fail(Code::unavailable, "nothing has been read from {} yet", options_.access.server);
    return list_objects(*objects_, filter, options_.access.server);
}

SourceState KubernetesSource::state() const {
    return {"kubernetes", options_.access.server, news_.synced, news_.connected, since_,
            news_.events};
}

void KubernetesSource::network_works(bool works, const std::string& why) {
    if (!options_.write_status || !worker_) return;
    worker_->post([works, why](Writer& writer) { writer.network_works(works, why); });
}

void KubernetesSource::pod_failed(const FailedPod& pod) {
    if (!options_.write_status || !worker_) return;
    worker_->post([pod](Writer& writer) { writer.pod_failed(pod); });
}

} // namespace beeline::source
