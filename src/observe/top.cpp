#include "observe/top.h"

#include <algorithm>
#include <bit>

namespace beeline::observe {

std::uint64_t TopRow::latency_quantile_ns(double share) const {
    if (latency_count == 0) return 0;
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(latency_count));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < latency.size(); ++i) {
        seen += latency[i];
        if (seen > wanted || seen == latency_count) return std::uint64_t{1} << i;
    }
    return 0;
}

TopRow* Top::row(const Names& end) {
    if (end.kind != model::FlowEnd::Kind::workload || end.name.empty()) return nullptr;
    const auto found = rows_.find({end.space, end.name});
    if (found != rows_.end()) return &found->second;
    if (rows_.size() >= kMost) {
        ++unplaced_;
        return nullptr;
    }
    return &rows_[{end.space, end.name}];
}

void Top::add(const RecordView& record) {
    using Kind = model::Flow::Kind;
    if (record.context == nullptr || record.kind == Kind::replied) return;
    const std::array<TopRow*, 2> ends{row(*record.context->source),
                                      row(*record.context->destination)};
    for (std::size_t side = 0; side < 2; ++side) {
        if (ends[side] == nullptr || (side == 1 && ends[1] == ends[0])) continue;
        TopRow& one = *ends[side];
        switch (record.kind) {
        case Kind::opened: ++one.connections; break;
        case Kind::dropped:
        case Kind::revoked: ++one.dropped; break;
        case Kind::closed:
            one.sent_bytes += record.bytes[side];
            one.received_bytes += record.bytes[1 - side];
            break;
        default: break;
        }
    }
    if (record.kind != Kind::l7 || record.l7 == nullptr || !*record.l7) return;
    const model::L7& l7 = **record.l7;
    if (l7.type != model::L7::Type::response || ends[1] == nullptr) return;
    TopRow& server = *ends[1];
    ++server.requests;
    if (l7.status == model::L7::Status::error) ++server.errors;
    const std::uint64_t latency_ns = numbers_of(record).latency_ns;
    if (latency_ns == 0) return;
    server.latency_sum_ns += latency_ns;
    ++server.latency_count;
    const auto bucket = static_cast<std::size_t>(std::bit_width(latency_ns));
    ++server.latency[std::min(bucket, server.latency.size() - 1)];
}

} // namespace beeline::observe
