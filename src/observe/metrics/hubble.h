// All metrics of flows. One thread counts; the registry is read by any.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <prometheus/registry.h>

#include "model/directory.h"
#include "model/flow.h"
#include "observe/metrics/options.h"
#include "observe/metrics/plugins.h"
#include "observe/record.h"

namespace beeline::observe::metrics {

class Hubble {
public:
    using Time = std::chrono::steady_clock::time_point;

    Hubble(const Options& options, prometheus::Registry& registry);

    void count(const RecordView& record);
    void count(const model::Flow& flow); // the same, slower
    // Flows that came too late for counting: the store had dropped them.
    void missed(std::uint64_t flows);

    // Pods that are not in the directory any more lose their series a minute later, unless they come back.
    void set_directory(const model::Directory& directory, Time now);
    void remove_stale(Time now);

private:
    static constexpr std::size_t kMemo = 32 * 1024;
    static constexpr std::size_t kTold = 256 * 1024;
    static constexpr std::chrono::seconds kStale{60};

    // Flows that move the same counters.
    struct Key {
        const Context* context = nullptr;
        std::uint64_t rest = 0;
        std::uint64_t said = 0; // of messages
        bool operator==(const Key&) const = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept;
    };
    struct Memo {
        std::shared_ptr<const Context> context; // keeps the key's address from being reused
        Moves moves;
        // Of messages: texts that the key has only a digest of.
        std::string method, version, resource;
        std::uint32_t code = 0;
    };

    void see(const model::Flow& flow, Moves& moves);
    void count_message(const RecordView& record);
    bool answer_untold(const RecordView& record);
    Memo& memo(const Key& key, const RecordView& record);

    std::vector<std::unique_ptr<Plugin>> plugins_;
    Plugin* tcp_ = nullptr;
    std::unordered_set<std::uint64_t> told_; // digests of TCP connections whose answer was an event
    prometheus::Counter& missed_;
    std::unordered_map<Key, Memo, KeyHash> memo_;
    Moves moves_;
    std::unordered_set<std::string> pods_;
    std::unordered_map<std::string, Time> gone_;
};

} // namespace beeline::observe::metrics
