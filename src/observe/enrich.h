// FlowEvent -> Record: who the ends are, which rule decided, which program speaks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/directory.h"
#include "observe/cache.h"
#include "observe/decode.h"
#include "observe/dns_names.h"
#include "observe/processes.h"
#include "observe/record.h"

namespace beeline::observe {

// Used by the ingest thread; only the setters may be called from any.
class Enricher {
public:
    // `names`: what addresses were called when they were asked for; may be null.
    explicit Enricher(std::string proc = "/proc", std::string passwd = "/etc/passwd",
                      std::shared_ptr<DnsNames> names = nullptr);

    // Names for the events that are read from now on. Set it before the datapath learns of a new workload, and its
    // first flow has a name too. Null counts as empty.
    void set_directory(std::shared_ptr<const model::Directory> directory);

    // Any thread; see Processes.
    void set_process_source(ProcessSource source) { processes_.set_source(std::move(source)); }

    // Everything but the times, which the caller converts.
    Record enrich(const FlowEvent& event);

private:
    static constexpr std::size_t kContexts = 8 * 1024;
    static constexpr std::size_t kRemembered = 16 * 1024;

    struct NamesHash {
        std::size_t operator()(const Names& names) const noexcept;
    };
    struct NamesEqual {
        bool operator()(const Names& a, const Names& b) const noexcept;
    };
    struct TitlesHash {
        std::size_t operator()(const std::vector<std::string>& titles) const noexcept;
    };

    // Workloads of directory_ by other keys than the address.
    struct Index {
        std::unordered_map<std::uint32_t, const Names*> endpoints;
        std::unordered_map<std::uint32_t, const Names*> interfaces;
        std::unordered_map<std::uint64_t, const Names*> cgroups;
    };

    void refresh();
    std::shared_ptr<const Context> with_names(std::shared_ptr<const Context> context,
                                              std::uint64_t time_ns);
    const Index& index();
    std::shared_ptr<const Context> context(const Path& path);
    std::shared_ptr<const Names> names(const Path& path, std::size_t side);
    const Names* lookup(const Path& path, std::size_t side);

    std::mutex mutex_;
    std::shared_ptr<const model::Directory> next_; // under mutex_
    std::atomic<bool> changed_{false};

    std::shared_ptr<const model::Directory> directory_;
    std::optional<Index> index_; // of directory_, made when first needed
    // Names of workloads that were seen, for the last flows of those that are gone from the directory.
    LruCache<std::uint32_t, std::shared_ptr<const Names>> remembered_;
    LruCache<Path, std::shared_ptr<const Context>> contexts_;
    Interner<Names, NamesHash, NamesEqual> names_;
    Interner<std::string> strings_;
    Interner<std::vector<std::string>, TitlesHash> titles_;
    Processes processes_;
    std::shared_ptr<DnsNames> dns_;
};

} // namespace beeline::observe
