#include "observe/metrics/hubble.h"

#include <utility>

namespace beeline::observe::metrics {
namespace {

prometheus::Family<prometheus::Counter>& family(prometheus::Registry& registry, const char* name,
                                                const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

} // namespace

std::size_t Hubble::KeyHash::operator()(const Key& key) const noexcept {
    // Contexts are aligned, so their addresses alone fill few buckets.
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(key.context) * 0x9e3779b97f4a7c15ULL;
    hash ^= (key.rest ^ (hash >> 29)) * 0xbf58476d1ce4e5b9ULL;
    return hash ^ (hash >> 32);
}

Hubble::Hubble(const Options& options, prometheus::Registry& registry)
    : missed_(family(registry, "beeline_metrics_missed_flows_total",
                     "Flows that left the store before they were counted")
                  .Add({})) {
    const Shared shared{registry, options.series,
                        family(registry, "beeline_metrics_overflow_total",
                               "Flows not counted in a metric because it has metrics.series label "
                               "sets already")};
    for (const Enabled& enabled : options.hubble) {
        plugins_.push_back(make_plugin(enabled, shared));
        if (enabled.name == "tcp") tcp_ = plugins_.back().get();
    }
}

void Hubble::see(const model::Flow& flow, std::vector<prometheus::Counter*>& counters) {
    const EventView event(flow);
    for (const auto& plugin : plugins_)
        plugin->see(event, counters);
}

void Hubble::count(const model::Flow& flow) {
    if (flow.kind == model::Flow::Kind::lost) return;
    counters_.clear();
    see(flow, counters_);
    for (prometheus::Counter* counter : counters_)
        counter->Increment();
}

void Hubble::count(const RecordView& record) {
    if (plugins_.empty() || record.kind == model::Flow::Kind::lost) return;
    // What was said differs each time.
    if (record.kind == model::Flow::Kind::l7) return count(to_flow(record, 0));
    Key key;
    key.context = record.context;
    key.rest = static_cast<std::uint64_t>(record.kind) << 56 |
               static_cast<std::uint64_t>(record.tcp_flags[0]) << 48 |
               static_cast<std::uint64_t>(record.tcp_flags[1]) << 40 |
               static_cast<std::uint64_t>(record.icmp_type) << 32 |
               static_cast<std::uint64_t>(record.icmp_code) << 24 | record.port[1];
    const bool untold = tcp_ != nullptr && answer_untold(record);
    if (untold) key.rest |= 1ULL << 63;
    auto found = memo_.find(key);
    if (found == memo_.end()) {
        if (memo_.size() >= kMemo) memo_.clear();
        found = memo_.emplace(key, Memo{*record.owners.context, {}}).first;
        model::Flow flow = to_flow(record, 0);
        see(flow, found->second.counters);
        if (untold) {
            flow.kind = model::Flow::Kind::replied;
            tcp_->see(EventView(flow), found->second.counters);
        }
    }
    for (prometheus::Counter* counter : found->second.counters)
        counter->Increment();
}

// Most TCP connections end before the datapath tells that they were answered; then their end tells it too.
bool Hubble::answer_untold(const RecordView& record) {
    if (record.context->path.protocol != model::Protocol::tcp) return false;
    const bool closed = record.kind == model::Flow::Kind::closed;
    if (!closed && record.kind != model::Flow::Kind::replied) return false;
    const std::uint64_t ends = static_cast<std::uint64_t>(record.port[0]) << 16 | record.port[1];
    const std::uint64_t digest =
        KeyHash()({record.context,
                   ends * 0x9e3779b97f4a7c15ULL ^ static_cast<std::uint64_t>(record.opened_ns)});
    if (closed) return told_.erase(digest) == 0 && (record.tcp_flags[1] & 0x02) != 0;
    if (told_.size() >= kTold) told_.clear();
    told_.insert(digest);
    return false;
}

void Hubble::missed(std::uint64_t flows) { missed_.Increment(static_cast<double>(flows)); }

void Hubble::set_directory(const model::Directory& directory, Time now) {
    std::unordered_set<std::string> pods;
    for (const auto& [address, entry] : directory.by_address)
        if (!entry.name.empty()) pods.insert(entry.space + "/" + entry.name);
    for (const std::string& pod : pods_)
        if (!pods.contains(pod)) gone_.emplace(pod, now);
    for (const std::string& pod : pods)
        gone_.erase(pod);
    pods_ = std::move(pods);
    // Labels that names were resolved to are looked at anew.
    memo_.clear();
}

void Hubble::remove_stale(Time now) {
    std::unordered_set<std::string> stale;
    for (const auto& [pod, since] : gone_)
        if (now - since >= kStale) stale.insert(pod);
    if (stale.empty()) return;
    for (const std::string& pod : stale)
        gone_.erase(pod);
    memo_.clear(); // before what it points to
    for (const auto& plugin : plugins_)
        plugin->remove_pods(stale);
}

} // namespace beeline::observe::metrics
