#include "security/outputs/alert_store.h"

#include <fnmatch.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "base/wanted.h"
#include "model/objects.h"

namespace beeline::security {
bool AlertFilter::matches(const model::Alert& alert) const {
    if (since_ns && alert.time_ns < *since_ns) return false;
    if (least && alert.priority > *least) return false;
    return none_or_any(rules,
                       [&](const auto& pattern) {
                           return fnmatch(pattern.c_str(), alert.rule.c_str(), FNM_CASEFOLD) == 0;
                       }) &&
           none_or_any(tags,
                       [&](const auto& tag) {
                           return std::find(alert.tags.begin(), alert.tags.end(), tag) !=
                                  alert.tags.end();
                       }) &&
           none_or_any(workloads,
                       [&](const auto& pattern) {
                           return model::names_workload(pattern, alert.workload);
                       }) &&
           none_or_any(containers,
                       [&](const auto& id) {
                           return !alert.container.empty() && (alert.container.starts_with(id) ||
                                                               id.starts_with(alert.container));
                       }) &&
           none_or_any(pids, [&](std::uint32_t pid) {
               return alert.pid == pid ||
                      std::any_of(alert.ancestors.begin(), alert.ancestors.end(),
                                  [&](const auto& ancestor) { return ancestor.pid == pid; });
           });
}

struct AlertStore::State {
    explicit State(std::size_t size) : capacity(std::max<std::size_t>(size, 1)) {}

    const std::size_t capacity;
    mutable std::mutex mutex;
    std::condition_variable more;
    std::deque<std::shared_ptr<const model::Alert>> alerts; // numbers total - size + 1 ... total
    std::uint64_t total = 0;

    [[nodiscard]] std::uint64_t first() const { return total - alerts.size() + 1; }
};

AlertStore::AlertStore(std::size_t capacity) : state_(std::make_shared<State>(capacity)) {}

std::shared_ptr<const model::Alert> AlertStore::append(model::Alert alert) {
    std::shared_ptr<const model::Alert> stored;
    {
        const std::lock_guard lock(state_->mutex);
        alert.number = ++state_->total;
        stored = std::make_shared<const model::Alert>(std::move(alert));
        state_->alerts.push_back(stored);
        if (state_->alerts.size() > state_->capacity) state_->alerts.pop_front();
    }
    state_->more.notify_all();
    return stored;
}

AlertStoreStats AlertStore::stats() const {
    const std::lock_guard lock(state_->mutex);
    return {state_->alerts.size(), state_->capacity, state_->total};
}

AlertReader AlertStore::read(AlertFilter filter) const { return {state_, std::move(filter)}; }

AlertReader::AlertReader(std::shared_ptr<AlertStore::State> state, AlertFilter filter)
    : state_(std::move(state)), filter_(std::move(filter)) {
    const std::lock_guard lock(state_->mutex);
    next_ = state_->first();
    if (filter_.follow && !filter_.last && !filter_.since_ns) next_ = state_->total + 1;
    if (!filter_.last) return;
    // The newest `last` that match begin here.
    std::uint64_t left = *filter_.last;
    next_ = state_->total + 1;
    for (auto it = state_->alerts.rbegin(); it != state_->alerts.rend() && left > 0; ++it) {
        if (!filter_.matches(**it)) continue;
        next_ = (*it)->number;
        --left;
    }
}

std::optional<AlertReader::Item> AlertReader::next(std::chrono::milliseconds wait) {
    std::unique_lock lock(state_->mutex);
    for (;;) {
        if (next_ < state_->first()) {
            const Missed missed{state_->first() - next_};
            next_ = state_->first();
            return missed;
        }
        while (next_ <= state_->total) {
            const auto& alert = state_->alerts[next_++ - state_->first()];
            if (filter_.matches(*alert)) return alert;
        }
        if (!filter_.follow || wait.count() <= 0) return {};
        const auto seen = state_->total;
        const auto until = std::chrono::steady_clock::now() + wait;
        if (!state_->more.wait_until(lock, until, [&] { return state_->total != seen; })) return {};
        wait = std::chrono::duration_cast<std::chrono::milliseconds>(
            until - std::chrono::steady_clock::now());
    }
}

} // namespace beeline::security
