#include "observe/metrics/hubble.h"

#include <utility>

namespace beeline::observe::metrics {
namespace {

prometheus::Family<prometheus::Counter>& family(prometheus::Registry& registry, const char* name,
                                                const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

void move(const Moves& moves, std::uint64_t latency_ns) {
    for (prometheus::Counter* counter : moves.counters)
        counter->Increment();
    for (prometheus::Histogram* duration : moves.durations)
        duration->Observe(static_cast<double>(latency_ns) / 1e9);
}

} // namespace

std::size_t Hubble::KeyHash::operator()(const Key& key) const noexcept {
    // Contexts are aligned, so their addresses alone fill few buckets.
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(key.context) * 0x9e3779b97f4a7c15ULL;
    hash ^= (key.rest ^ key.said ^ (hash >> 29)) * 0xbf58476d1ce4e5b9ULL;
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

void Hubble::see(const model::Flow& flow, Moves& moves) {
    const EventView event(flow);
    for (const auto& plugin : plugins_)
        plugin->see(event, moves);
}

void Hubble::count(const model::Flow& flow) {
    if (flow.kind == model::Flow::Kind::lost) return;
    moves_.counters.clear();
    moves_.durations.clear();
    see(flow, moves_);
    move(moves_, flow.l7 ? flow.l7->latency_ns : 0);
}

void Hubble::count(const RecordView& record) {
    if (plugins_.empty() || record.kind == model::Flow::Kind::lost) return;
    if (record.l7 != nullptr) return count_message(record);
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
        Memo& made = memo(key, record);
        model::Flow flow = to_flow(record, 0);
        see(flow, made.moves);
        if (untold) {
            flow.kind = model::Flow::Kind::replied;
            tcp_->see(EventView(flow), made.moves);
        }
        return move(made.moves, 0);
    }
    move(found->second.moves, 0);
}

// What metrics tell apart of a message is little: all that say the same of that move the same.
void Hubble::count_message(const RecordView& record) {
    const model::L7& l7 = **record.l7;
    // Addresses, types and names: too much for a key, and there are few of them.
    if (l7.protocol == model::L7::Protocol::dns) return count(to_flow(record, 0));
    const std::uint64_t latency_ns = numbers_of(record).latency_ns;
    // The topic is a label.
    const bool by_resource = l7.protocol == model::L7::Protocol::kafka;
    const std::string_view resource = by_resource ? std::string_view(l7.resource) : "";
    Key key;
    key.context = record.context;
    key.rest =
        static_cast<std::uint64_t>(record.kind) << 56 |
        static_cast<std::uint64_t>(l7.protocol) << 48 | static_cast<std::uint64_t>(l7.type) << 40 |
        static_cast<std::uint64_t>(l7.status) << 32 | static_cast<std::uint64_t>(l7.tls) << 31 |
        static_cast<std::uint64_t>(latency_ns != 0) << 30 | record.port[1];
    const std::hash<std::string_view> text;
    key.said = (text(l7.method) * 31 + text(l7.version)) * 31 + (by_resource ? text(resource) : 0);
    key.said = (key.said ^ l7.code) * 0x9e3779b97f4a7c15ULL;
    auto found = memo_.find(key);
    if (found == memo_.end()) {
        Memo& made = memo(key, record);
        made.method = l7.method;
        made.version = l7.version;
        made.resource = resource;
        made.code = l7.code;
        see(to_flow(record, 0), made.moves);
        return move(made.moves, latency_ns);
    }
    const Memo& known = found->second;
    if (known.code != l7.code || known.method != l7.method || known.version != l7.version ||
        known.resource != resource)
        return count(to_flow(record, 0));
    move(known.moves, latency_ns);
}

Hubble::Memo& Hubble::memo(const Key& key, const RecordView& record) {
    if (memo_.size() >= kMemo) memo_.clear();
    Memo& made = memo_[key];
    made.context = *record.owners.context;
    return made;
}

// Most TCP connections end before the datapath tells that they were answered; then their end tells it too.
bool Hubble::answer_untold(const RecordView& record) {
    if (record.context->path.protocol != model::Protocol::tcp) return false;
    const bool closed = record.kind == model::Flow::Kind::closed;
    if (!closed && record.kind != model::Flow::Kind::replied) return false;
    const std::uint64_t ends = static_cast<std::uint64_t>(record.port[0]) << 16 | record.port[1];
    const std::uint64_t digest =
        KeyHash()({record.context,
                   ends * 0x9e3779b97f4a7c15ULL ^ static_cast<std::uint64_t>(record.opened_ns), 0});
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
