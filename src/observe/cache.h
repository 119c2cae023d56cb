// Small containers of the ingest thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <list>
#include <memory>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

namespace beeline::observe {

// Bounded map that forgets what was unused for longest. Keys are compared as bytes.
template <typename Key, typename Value>
class LruCache {
    static_assert(std::has_unique_object_representations_v<Key>);
    static_assert(std::is_trivially_copyable_v<Key>);

public:
    explicit LruCache(std::size_t capacity) : capacity_(std::max<std::size_t>(capacity, 1)) {}
    LruCache(const LruCache&) = delete;
    LruCache& operator=(const LruCache&) = delete;

    // Valid until the next put() or clear().
    Value* find(const Key& key) {
        const auto found = index_.find(key);
        if (found == index_.end()) return nullptr;
        order_.splice(order_.begin(), order_, found->second);
        return &found->second->second;
    }
    // Precondition: `key` is absent.
    Value& put(const Key& key, Value value) {
        if (index_.size() >= capacity_) {
            index_.erase(order_.back().first);
            order_.pop_back();
        }
        order_.emplace_front(key, std::move(value));
        index_.emplace(key, order_.begin());
        return order_.front().second;
    }
    void clear() {
        index_.clear();
        order_.clear();
    }
    [[nodiscard]] std::size_t size() const { return index_.size(); }

private:
    struct Hash {
        std::size_t operator()(const Key& key) const noexcept {
            return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&key), sizeof key});
        }
    };
    struct Equal {
        bool operator()(const Key& a, const Key& b) const noexcept {
            return std::memcmp(&a, &b, sizeof a) == 0;
        }
    };
    using Order = std::list<std::pair<Key, Value>>;

    std::size_t capacity_;
    Order order_; // most recently used first
    std::unordered_map<Key, typename Order::iterator, Hash, Equal> index_;
};

// Equal values share one object. What nobody else holds is let go when the table has doubled.
template <typename T, typename Hash = std::hash<T>, typename Equal = std::equal_to<T>>
class Interner {
public:
    std::shared_ptr<const T> get(const T& value) {
        const std::size_t hash = Hash{}(value);
        const auto [first, last] = values_.equal_range(hash);
        for (auto it = first; it != last; ++it)
            if (Equal{}(*it->second, value)) return it->second;
        if (values_.size() >= limit_) {
            std::erase_if(values_, [](const auto& entry) { return entry.second.use_count() == 1; });
            limit_ = std::max(kSmallest, 2 * values_.size());
        }
        return values_.emplace(hash, std::make_shared<const T>(value))->second;
    }
    [[nodiscard]] std::size_t size() const { return values_.size(); }

private:
    static constexpr std::size_t kSmallest = 1024;

    std::unordered_multimap<std::size_t, std::shared_ptr<const T>> values_; // by hash
    std::size_t limit_ = kSmallest;
};

} // namespace beeline::observe
