// What each workload did within a span of time: counted from records of the flow store.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "observe/record.h"

namespace beeline::observe {

struct TopRow {
    std::uint64_t connections = 0; // opened, at either end
    std::uint64_t requests = 0;    // answered by it, as far as application protocols are seen
    std::uint64_t errors = 0;      // of those
    std::uint64_t dropped = 0;     // packets or connections refused, at either end
    std::uint64_t sent_bytes = 0;  // of connections that ended
    std::uint64_t received_bytes = 0;
    std::uint64_t latency_sum_ns = 0; // of answers with a latency
    std::uint64_t latency_count = 0;
    std::array<std::uint32_t, 64> latency{}; // by the power of two of its nanoseconds

    // An upper bound of what this share of the answers stayed below; 0 without answers.
    [[nodiscard]] std::uint64_t latency_quantile_ns(double share) const;
};

class Top {
public:
    static constexpr std::size_t kMost = 4096; // workloads

    void add(const RecordView& record);
    // By namespace and name.
    using Rows = std::map<std::pair<std::string, std::string>, TopRow>;
    [[nodiscard]] const Rows& rows() const { return rows_; }
    [[nodiscard]] std::uint64_t unplaced() const { return unplaced_; } // there was no room for

private:
    TopRow* row(const Names& end);

    Rows rows_;
    std::uint64_t unplaced_ = 0;
};

} // namespace beeline::observe
