// Which names the workloads were told for an address: what the DNS answers said that they got.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "net/address.h"

namespace beeline::observe {

// Any thread. Bounded: what was not asked for or told again for longest is forgotten first.
class DnsNames {
public:
    using Names = std::shared_ptr<const std::vector<std::string>>; // newest first; never empty

    static constexpr std::size_t kCapacity = 32 * 1024;
    static constexpr std::size_t kNamesOfOne = 4;
    // Programs keep an address for longer than its time to live when that is short.
    static constexpr std::uint64_t kShortestNs = 600'000'000'000;

    explicit DnsNames(std::size_t capacity = kCapacity) : capacity_(capacity) {}

    // `workload` was told that `name` has `address`. `now_ns`: any steady clock, always the same.
    void learn(std::uint32_t workload, const net::Ip& address, std::string_view name,
               std::uint32_t ttl_s, std::uint64_t now_ns);
    // Null: none.
    Names find(std::uint32_t workload, const net::Ip& address, std::uint64_t now_ns);
    [[nodiscard]] bool empty() const { return size() == 0; }
    [[nodiscard]] std::size_t size() const { return size_.load(std::memory_order_relaxed); }

private:
    struct Key {
        net::Ip address;
        std::uint32_t workload = 0;
        bool operator==(const Key&) const = default;
    };
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<net::Ip>{}(key.address) ^ (key.workload * 0x9e3779b97f4a7c15U);
        }
    };
    struct Entry {
        Key key;
        Names names;
        std::uint64_t until_ns = 0;
    };
    using Order = std::list<Entry>; // last told or asked for first

    const std::size_t capacity_;
    std::atomic<std::size_t> size_{0};
    std::mutex mutex_;
    Order order_;
    std::unordered_map<Key, Order::iterator, Hash> index_;
};

} // namespace beeline::observe
