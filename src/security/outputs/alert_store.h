// The last alerts of this machine, in memory, for any number of readers.
//
// Alerts are rare next to events, so one mutex guards the list and readers copy a pointer. A reader that is slower than the
// store is told how many alerts it missed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/alert.h"

namespace beeline::security {

struct AlertFilter {
    bool follow = false;
    std::optional<std::int64_t> since_ns; // CLOCK_REALTIME
    std::optional<std::uint64_t> last;    // at most this many of the newest stored ones
    std::optional<model::Priority> least; // this severe or more
    std::vector<std::string> rules;       // names with * and ?, any case
    std::vector<std::string> tags;
    std::vector<std::string> workloads;  // "shop/web", "shop/", "web"
    std::vector<std::string> containers; // beginnings of ids
    std::vector<std::uint32_t> pids;     // the process or an ancestor

    [[nodiscard]] bool matches(const model::Alert& alert) const;
};

struct AlertStoreStats {
    std::uint64_t stored = 0;
    std::uint64_t capacity = 0;
    std::uint64_t total = 0; // numbers given so far
};

class AlertReader;

class AlertStore {
public:
    static constexpr std::size_t kDefaultCapacity = 10'000;

    explicit AlertStore(std::size_t capacity = kDefaultCapacity);

    // Any thread. Gives the alert its number, from 1, and returns what was stored.
    std::shared_ptr<const model::Alert> append(model::Alert alert);
    [[nodiscard]] AlertStoreStats stats() const;
    // Readers may outlive the store.
    [[nodiscard]] AlertReader read(AlertFilter filter) const;

private:
    friend class AlertReader;
    struct State;
    std::shared_ptr<State> state_;
};

// One thread at a time.
class AlertReader {
public:
    // How many alerts were dropped before this reader came to them.
    struct Missed {
        std::uint64_t count = 0;
    };
    using Item = std::variant<std::shared_ptr<const model::Alert>, Missed>;

    // The next alert that matches; waits up to `wait` for it when following.
    std::optional<Item> next(std::chrono::milliseconds wait = {});

private:
    friend class AlertStore;
    AlertReader(std::shared_ptr<AlertStore::State> state, AlertFilter filter);
    std::shared_ptr<AlertStore::State> state_;
    AlertFilter filter_;
    std::uint64_t next_ = 1; // number that is looked at next
};

} // namespace beeline::security
