#include "security/events/containers.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <vector>

#include "security/events/cgroup_path.h"
#include "security/events/container_names.h"

namespace beeline::security {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kTries = 4; // a runtime may write its files after it made the cgroup
constexpr std::chrono::milliseconds kFirstPause{250};
constexpr std::chrono::seconds kSweep{30};

std::shared_ptr<const Container> own_container(const Workload& workload) {
    Container out;
    out.full_id = workload.container_id;
    out.id = workload.container_id.substr(0, 12);
    out.runtime = "beeline";
    out.complete = true;
    out.name = workload.name;
    out.labels = workload.labels;
    const auto slash = workload.name.find('/');
    if (slash != std::string::npos) {
        out.pod_namespace = workload.name.substr(0, slash);
        out.pod_name = workload.name.substr(slash + 1);
    }
    return std::make_shared<const Container>(std::move(out));
}

} // namespace

struct ContainerResolver::State {
    struct Entry {
        Placement placement;
        std::string path;                 // empty: it was gone already
        std::vector<std::uint64_t> above; // its own id and those above, deepest first
        std::optional<ContainerId> id;    // as its path says; not for Beeline's own
        std::shared_ptr<const Container> foreign;
    };
    struct Own {
        Workload workload;
        std::shared_ptr<const Container> container;
    };
    struct Task {
        std::uint64_t cgroup = 0;
        int tries = 0;
        Clock::time_point due;
    };

    explicit State(Options given) : options(std::move(given)), paths(options.cgroup_mount) {}

    // With the lock held.
    [[nodiscard]] Placement place(const Entry& entry) const {
        for (const auto id : entry.above) {
            const auto own = workloads.find(id);
            if (own != workloads.end()) return {own->second.container, own->second.workload.name};
        }
        return {entry.foreign, {}};
    }

    // Without the lock: asks the kernel and looks for folders.
    [[nodiscard]] Entry look_up(std::uint64_t cgroup) const {
        Entry entry;
        entry.path = paths.path(cgroup);
        entry.above = entry.path.empty() ? std::vector{cgroup} : paths.ids(entry.path);
        entry.id = container_of_cgroup(entry.path);
        if (entry.id && entry.id->unsure && !container_exists(*entry.id, options.sources))
            entry.id.reset();
        if (entry.id) {
            Container container;
            container.full_id = entry.id->id;
            container.id = short_container_id(entry.id->id);
            container.runtime = entry.id->runtime;
            entry.foreign = std::make_shared<const Container>(std::move(container));
        }
        return entry;
    }

    // The entry of a cgroup, with the lock held.
    const Entry& get(std::uint64_t cgroup, std::unique_lock<std::mutex>& lock) {
        const auto known = entries.find(cgroup);
        if (known != entries.end()) return known->second;
        lock.unlock();
        auto entry = look_up(cgroup);
        lock.lock();
        while (entries.size() >= options.limit && entries.size() > 0)
            entries.erase(entries.begin());
        const auto [at, fresh] = entries.try_emplace(cgroup, std::move(entry));
        if (fresh) {
            at->second.placement = place(at->second);
            if (at->second.placement.container) queue(cgroup);
        }
        return at->second;
    }

    void queue(std::uint64_t cgroup) {
        tasks.push_back({.cgroup = cgroup, .tries = 0, .due = Clock::now()});
        wake.notify_all();
    }

    void run() {
        std::unique_lock lock(mutex);
        auto sweep_at = Clock::now() + kSweep;
        while (!stopping) {
            const auto next = std::min_element(
                tasks.begin(), tasks.end(),
                [](const Task& left, const Task& right) { return left.due < right.due; });
            const auto now = Clock::now();
            if (next == tasks.end() || next->due > now) {
                if (now >= sweep_at) {
                    sweep(lock);
                    sweep_at = Clock::now() + kSweep;
                    continue;
                }
                wake.wait_until(lock,
                                next == tasks.end() ? sweep_at : std::min(next->due, sweep_at));
                continue;
            }
            const Task task = *next;
            tasks.erase(next);
            busy = true;
            work(task, lock);
            busy = false;
            idle.notify_all();
        }
    }

    void work(Task task, std::unique_lock<std::mutex>& lock) {
        const auto known = entries.find(task.cgroup);
        if (known == entries.end()) return;
        const auto entry = known->second; // a copy: the lock is given up
        lock.unlock();
        Container found;
        const bool foreign = entry.id && entry.placement.container == entry.foreign;
        if (foreign)
            found = container_metadata(*entry.id, options.sources);
        else if (entry.placement.container)
            found = *entry.placement.container;
        const bool named = read_container_names(paths.mount() + entry.path, options.proc, found);
        const bool done = (found.complete && named) || ++task.tries >= kTries;
        const bool news = named || (foreign && (found.complete || !found.mounts.empty()));
        lock.lock();
        if (!done) {
            task.due = Clock::now() + kFirstPause * (1 << (2 * (task.tries - 1)));
            tasks.push_back(task);
        }
        if (!news) return;
        store(task.cgroup, entry, std::move(found), foreign, lock);
    }

    // Keeps what was found if the cgroup still belongs to whom it did.
    void store(std::uint64_t cgroup, const Entry& before, Container found, bool foreign,
               std::unique_lock<std::mutex>& lock) {
        const auto known = entries.find(cgroup);
        if (known == entries.end() ||
            known->second.placement.container != before.placement.container)
            return;
        auto container = std::make_shared<const Container>(std::move(found));
        if (foreign) {
            known->second.foreign = container;
        } else {
            for (const auto id : before.above) {
                const auto own = workloads.find(id);
                if (own == workloads.end()) continue;
                own->second.container = container;
                break;
            }
        }
        known->second.placement = place(known->second);
        lock.unlock();
        if (options.changed) options.changed(cgroup);
        lock.lock();
    }

    // Forgets cgroups that are gone. One after the other, so that nobody waits.
    void sweep(std::unique_lock<std::mutex>& lock) {
        std::vector<std::uint64_t> all;
        for (const auto& [cgroup, entry] : entries)
            all.push_back(cgroup);
        for (const auto cgroup : all) {
            lock.unlock();
            const bool gone = paths.path(cgroup).empty();
            lock.lock();
            if (stopping) return;
            if (gone) entries.erase(cgroup);
        }
    }

    const Options options;
    const CgroupPaths paths;
    mutable std::mutex mutex;
    std::condition_variable wake;
    std::condition_variable idle;
    std::unordered_map<std::uint64_t, Entry> entries;
    std::map<std::uint64_t, Own> workloads;
    std::deque<Task> tasks;
    bool busy = false;
    bool stopping = false;
    std::thread thread;
};

ContainerResolver::ContainerResolver(Options options)
    : state_(std::make_unique<State>(std::move(options))) {
    state_->thread = std::thread([state = state_.get()] { state->run(); });
}

ContainerResolver::~ContainerResolver() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->stopping = true;
    }
    state_->wake.notify_all();
    state_->thread.join();
}

Placement ContainerResolver::placement(std::uint64_t cgroup) {
    if (cgroup == 0) return {};
    std::unique_lock lock(state_->mutex);
    return state_->get(cgroup, lock).placement;
}

std::uint32_t ContainerResolver::scope_flags(std::uint64_t cgroup) {
    if (cgroup == 0) return 0;
    std::unique_lock lock(state_->mutex);
    const auto& entry = state_->get(cgroup, lock);
    if (entry.placement.container) return BL_SCOPE_CONTAINER;
    return entry.path.empty() ? 0 : BL_SCOPE_HOST;
}

void ContainerResolver::set_workloads(std::map<std::uint64_t, Workload> workloads) {
    std::vector<std::uint64_t> changed;
    {
        const std::lock_guard lock(state_->mutex);
        std::map<std::uint64_t, State::Own> own;
        for (auto& [cgroup, workload] : workloads) {
            const auto before = state_->workloads.find(cgroup);
            if (before != state_->workloads.end() && before->second.workload == workload) {
                own.emplace(cgroup, before->second);
                continue;
            }
            auto container = own_container(workload);
            own.emplace(cgroup, State::Own{std::move(workload), std::move(container)});
        }
        state_->workloads = std::move(own);
        for (auto& [cgroup, entry] : state_->entries) {
            auto placement = state_->place(entry);
            if (placement.container == entry.placement.container &&
                placement.workload == entry.placement.workload)
                continue;
            entry.placement = std::move(placement);
            if (entry.placement.container) state_->queue(cgroup);
            changed.push_back(cgroup);
        }
    }
    if (!state_->options.changed) return;
    for (const auto cgroup : changed)
        state_->options.changed(cgroup);
}

std::map<std::uint64_t, Placement> ContainerResolver::placements() const {
    const std::lock_guard lock(state_->mutex);
    std::map<std::uint64_t, Placement> out;
    for (const auto& [cgroup, entry] : state_->entries)
        out.emplace(cgroup, entry.placement);
    return out;
}

void ContainerResolver::settle() {
    std::unique_lock lock(state_->mutex);
    state_->idle.wait_for(lock, std::chrono::seconds(30),
                          [&] { return state_->tasks.empty() && !state_->busy; });
}

} // namespace beeline::security
