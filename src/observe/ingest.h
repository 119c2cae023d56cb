// Records of the ring bl_flows -> the store: decode, name, convert times, append. One thread; counts from any.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "observe/clock.h"
#include "observe/consumer.h"
#include "observe/decode.h"
#include "observe/enrich.h"
#include "observe/store.h"

namespace beeline::observe {

struct IngestCounts {
    std::uint64_t events = 0; // records that became flows
    std::uint64_t lost = 0;   // events that the kernel reported as lost since this process runs
    std::array<std::uint64_t, static_cast<std::size_t>(DecodeError::count)>
        refused{}; // by DecodeError

    [[nodiscard]] std::uint64_t refused_total() const;
};

class Ingest : public RingReader {
public:
    // `proc` is where processes are looked up.
    explicit Ingest(Store& store, std::string proc = "/proc", EventClock clock = EventClock(),
                    std::shared_ptr<DnsNames> names = nullptr);

    void record(std::span<const std::byte> bytes) override;
    void lost(std::uint64_t count) override;
    // Lets the readers know. Happens by itself every few hundred records.
    void flush() override;

    // Any thread.
    void set_directory(std::shared_ptr<const model::Directory> directory);
    void set_process_source(ProcessSource source) {
        enricher_.set_process_source(std::move(source));
    }
    [[nodiscard]] IngestCounts counts() const;

private:
    Store& store_;
    Enricher enricher_;
    EventClock clock_;
    std::size_t unpublished_ = 0;
    std::atomic<std::uint64_t> events_{0};
    std::atomic<std::uint64_t> lost_{0};
    std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(DecodeError::count)> refused_{};
};

} // namespace beeline::observe
