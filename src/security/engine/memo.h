// What is remembered between events: rules that can no longer match once the process, or the path, is known.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace beeline::security::engine {

// Rules of a kind (bits) that are not ruled out. What is met once only is not worth the whole judgement, so it is made at the
// second time.
struct Remembered {
    std::uint64_t mask = 0;
    bool met = false;
    bool judged = false; // `mask` is known
};

// By what is known of a process (Process::facts).
class ProcessMemo {
public:
    Remembered& at(std::uint64_t facts, std::uint16_t kind) {
        const std::uint64_t key =
            facts << 8 | kind; // kinds are below 256; as many facts nobody sees
        Entry& entry = entries_[key * 0x9e3779b97f4a7c15U >> 49];
        if (entry.key != key) entry = {.key = key, .value = {}};
        return entry.value;
    }
    void clear() { std::fill(entries_.begin(), entries_.end(), Entry{}); }

private:
    struct Entry {
        std::uint64_t key = 0;
        Remembered value;
    };
    static constexpr std::size_t kSize = 32768; // 64 - 49 bits
    std::vector<Entry> entries_ = std::vector<Entry>(kSize);
};

// By the bytes of whatever the judgement depends on, so that nobody can make two look alike.
class PathMemo {
public:
    class Key {
    public:
        template <typename T>
        void add(const T& value) {
            append(&value, sizeof value);
        }
        void add(std::string_view text) {
            const auto size =
                static_cast<std::uint16_t>(std::min<std::size_t>(text.size(), 0xffff));
            append(&size, sizeof size);
            append(text.data(), text.size());
        }
        // Too long is not remembered.
        [[nodiscard]] bool fits() const { return fits_; }

    private:
        friend class PathMemo;
        void append(const void* from, std::size_t size) {
            if (size > sizeof bytes_ - size_) {
                fits_ = false;
                return;
            }
            if (size != 0) std::memcpy(bytes_ + size_, from, size);
            size_ += size;
        }
        [[nodiscard]] std::uint64_t hash() {
            std::memset(bytes_ + size_, 0, std::min<std::size_t>(8, sizeof bytes_ - size_));
            std::uint64_t out = size_;
            for (std::size_t at = 0; at < size_; at += 8) {
                std::uint64_t word = 0;
                std::memcpy(&word, bytes_ + at, 8);
                out = (out ^ word) * 0x9e3779b97f4a7c15U;
                out ^= out >> 29;
            }
            return out;
        }
        alignas(8) char bytes_[160];
        std::size_t size_ = 0;
        bool fits_ = true;
    };
    Remembered& at(Key& key) {
        Entry& entry = entries_[key.hash() & (kSize - 1)];
        if (entry.size != key.size_ || std::memcmp(entry.bytes, key.bytes_, key.size_) != 0) {
            entry.size = static_cast<std::uint32_t>(key.size_);
            entry.value = {};
            std::memcpy(entry.bytes, key.bytes_, key.size_);
        }
        return entry.value;
    }
    void clear() { std::fill(entries_.begin(), entries_.end(), Entry{}); }

private:
    struct Entry {
        Remembered value;
        std::uint32_t size = 0;
        char bytes[160] = {};
    };
    static constexpr std::size_t kSize = 4096;
    std::vector<Entry> entries_ = std::vector<Entry>(kSize);
};

} // namespace beeline::security::engine
