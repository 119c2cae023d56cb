#include "observe/dns_names.h"

#include <algorithm>

namespace beeline::observe {

void DnsNames::learn(std::uint32_t workload, const net::Ip& address, std::string_view name,
                     std::uint32_t ttl_s, std::uint64_t now_ns) {
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty() || address.is_zero()) return;
    const std::uint64_t until =
        now_ns + std::max(std::uint64_t{ttl_s} * 1'000'000'000, kShortestNs);
    const Key key{address, workload};
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) {
        if (order_.size() >= capacity_) {
            index_.erase(order_.back().key);
            order_.pop_back();
        }
        order_.push_front(
            {key, std::make_shared<const std::vector<std::string>>(1, std::string(name)), until});
        index_.emplace(key, order_.begin());
        size_.store(order_.size(), std::memory_order_relaxed);
        return;
    }
    Entry& entry = *found->second;
    order_.splice(order_.begin(), order_, found->second);
    if (entry.names->front() != name) {
        std::vector<std::string> names{std::string(name)};
        for (const auto& old : *entry.names) {
            if (entry.until_ns > now_ns && old != name && names.size() < kNamesOfOne)
                names.push_back(old);
        }
        entry.names = std::make_shared<const std::vector<std::string>>(std::move(names));
    }
    entry.until_ns = std::max(entry.until_ns, until);
}

DnsNames::Names DnsNames::find(std::uint32_t workload, const net::Ip& address,
                               std::uint64_t now_ns) {
    if (empty()) return nullptr;
    const std::lock_guard lock(mutex_);
    const auto found = index_.find({address, workload});
    if (found == index_.end()) return nullptr;
    if (found->second->until_ns <= now_ns) {
        order_.erase(found->second);
        index_.erase(found);
        size_.store(order_.size(), std::memory_order_relaxed);
        return nullptr;
    }
    order_.splice(order_.begin(), order_, found->second);
    return found->second->names;
}

} // namespace beeline::observe
