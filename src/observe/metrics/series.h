// One metric with labels: its series by their values, and no more of them than allowed.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include "observe/metrics/contexts.h"
#include "observe/metrics/words.h"

namespace beeline::observe::metrics {

// Metrics of one registry share these.
struct Shared {
    prometheus::Registry& registry;
    std::size_t limit;                                 // series of one metric
    prometheus::Family<prometheus::Counter>& overflow; // by metric
};

inline constexpr double kLatencyBuckets[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

// Of the thread that counts; the registry is read by others meanwhile.
template <typename T>
class Series {
public:
    // `labels` come before those of `contexts`.
    Series(const Shared& shared, const std::string& name, const std::string& help,
           std::vector<std::string> labels, const Contexts& contexts)
        : limit_(shared.limit), family_(family(shared.registry, name, help)),
          overflow_(shared.overflow.Add({{"metric", name}})), labels_(std::move(labels)),
          pods_(contexts.pod_labels()) {
        first_context_ = labels_.size();
        for (std::string& context : contexts.names())
            labels_.push_back(std::move(context));
    }

    Series(const Series&) = delete;
    Series& operator=(const Series&) = delete;

    // Null when there is no room for another one. Precondition: as many values as labels.
    T* at(const std::vector<std::string>& values) {
        key_.clear();
        for (const std::string& value : values) {
            key_ += value;
            key_ += '\xff'; // in no UTF-8 text
        }
        const auto found = series_.find(std::string_view(key_));
        if (found != series_.end()) return found->second.get();
        if (series_.size() >= limit_) return nullptr;
        prometheus::Labels labels;
        for (std::size_t i = 0; i < labels_.size(); ++i)
            labels.emplace(labels_[i], label_text(values[i]));
        // Two keys can be one label set once their text was cleaned: the family then returns the one it has.
        T& made = add(labels);
        series_.emplace(key_, Handle(this, &made));
        ++uses_[&made];
        return &made;
    }
    // What is counted instead of a series there is no room for.
    [[nodiscard]] prometheus::Counter& overflow() { return overflow_; }

    // Whether any was removed.
    bool remove_pods(const std::unordered_set<std::string>& pods) {
        if (pods_.whole.empty() && pods_.apart.empty()) return false;
        return std::erase_if(series_, [&](const auto& one) {
                   const auto values = split(one.first);
                   for (const std::size_t index : pods_.whole)
                       if (pods.contains(std::string(values[first_context_ + index]))) return true;
                   for (const auto& [space, pod] : pods_.apart) {
                       const std::string name = std::string(values[first_context_ + space]) + "/" +
                                                std::string(values[first_context_ + pod]);
                       if (pods.contains(name)) return true;
                   }
                   return false;
               }) > 0;
    }

    [[nodiscard]] std::size_t size() const { return series_.size(); }

private:
    // Takes its series out of the family once nobody else has the same.
    struct Release {
        Series* owner = nullptr;
        void operator()(T* metric) const {
            if (--owner->uses_[metric] > 0) return;
            owner->uses_.erase(metric);
            owner->family_.Remove(metric);
        }
    };
    struct Handle : std::unique_ptr<T, Release> {
        Handle(Series* owner, T* metric) : std::unique_ptr<T, Release>(metric, Release{owner}) {}
    };
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const {
            return std::hash<std::string_view>()(text);
        }
    };

    static prometheus::Family<T>& family(prometheus::Registry& registry, const std::string& name,
                                         const std::string& help) {
        if constexpr (std::is_same_v<T, prometheus::Counter>) {
            return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
        } else {
            return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
        }
    }
    T& add(const prometheus::Labels& labels) {
        if constexpr (std::is_same_v<T, prometheus::Counter>) {
            return family_.Add(labels);
        } else {
            return family_.Add(labels, prometheus::Histogram::BucketBoundaries(
                                           std::begin(kLatencyBuckets), std::end(kLatencyBuckets)));
        }
    }
    static std::vector<std::string_view> split(std::string_view key) {
        std::vector<std::string_view> out;
        while (!key.empty()) {
            const std::size_t at = key.find('\xff');
            out.push_back(key.substr(0, at));
            key.remove_prefix(at + 1);
        }
        return out;
    }

    const std::size_t limit_;
    prometheus::Family<T>& family_;
    prometheus::Counter& overflow_;
    std::vector<std::string> labels_;
    std::size_t first_context_ = 0;
    Contexts::PodLabels pods_;
    std::string key_;
    std::unordered_map<T*, std::size_t> uses_;
    std::unordered_map<std::string, Handle, Hash, std::equal_to<>> series_;
};

} // namespace beeline::observe::metrics
