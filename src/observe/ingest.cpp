#include "observe/ingest.h"

#include <bit>
#include <numeric>
#include <utility>

#include "base/log.h"

namespace beeline::observe {
namespace {

constexpr std::size_t kPublishEvery = 512;

// These counters have one writer: a plain add does, without the price of an atomic one.
std::uint64_t add(std::atomic<std::uint64_t>& counter, std::uint64_t count) {
    const std::uint64_t sum = counter.load(std::memory_order_relaxed) + count;
    counter.store(sum, std::memory_order_relaxed);
    return sum;
}

} // namespace

std::uint64_t IngestCounts::refused_total() const {
    return std::accumulate(refused.begin(), refused.end(), std::uint64_t{0});
}

Ingest::Ingest(Store& store, std::string proc, EventClock clock, std::shared_ptr<DnsNames> names)
    : store_(store), enricher_(std::move(proc), "/etc/passwd", std::move(names)),
      clock_(std::move(clock)) {}

void Ingest::record(std::span<const std::byte> bytes) {
    const auto event = decode_flow(bytes);
    if (!event) {
        const std::uint64_t count = add(refused_[static_cast<std::size_t>(event.error())], 1);
        if (std::has_single_bit(count)) // 1, 2, 4, ...: seen at once, and never a flood
            log_warn("flow record refused", kv("why", to_string(event.error())),
                     kv("size", bytes.size()), kv("count", count));
        return;
    }
    Record record = enricher_.enrich(*event);
    record.time_ns = clock_.realtime(event->time_ns);
    if (event->opened_ns != 0) record.opened_ns = clock_.realtime(event->opened_ns);
    store_.append(std::move(record));
    add(events_, 1);
    if (++unpublished_ >= kPublishEvery) flush();
}

void Ingest::lost(std::uint64_t count) {
    add(lost_, count);
    store_.append(lost_record(clock_.now(), count));
    flush();
}

void Ingest::flush() {
    unpublished_ = 0;
    store_.publish();
}

void Ingest::set_directory(std::shared_ptr<const model::Directory> directory) {
    enricher_.set_directory(std::move(directory));
}

IngestCounts Ingest::counts() const {
    IngestCounts counts;
    counts.events = events_.load(std::memory_order_relaxed);
    counts.lost = lost_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < counts.refused.size(); ++i)
        counts.refused[i] = refused_[i].load(std::memory_order_relaxed);
    return counts;
}

} // namespace beeline::observe
