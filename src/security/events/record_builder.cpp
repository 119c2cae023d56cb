#include "security/events/record_builder.h"

#include <algorithm>
#include <cstring>

namespace beeline::security {
namespace {

constexpr std::size_t kMost = 0xffff; // offsets and lengths have 16 bits

} // namespace

RecordBuilder& RecordBuilder::begin(std::uint16_t kind) {
    head_ = {};
    head_.kind = kind;
    used_ = sizeof head_;
    if (words_.size() < 512) words_.resize(512);
    return *this;
}

RecordBuilder& RecordBuilder::text(unsigned string, std::string_view text) {
    const std::size_t room = std::min(kLongest, kMost - std::min(kMost, used_ + 256));
    if (text.size() > room) {
        text = text.substr(0, room);
        head_.flags |= BL_EVENT_TRUNCATED;
    }
    append(string, text.data(), text.size());
    return *this;
}

RecordBuilder& RecordBuilder::raw(const void* facts, std::size_t size) {
    used_ = (used_ + 7) & ~std::size_t{7};
    append(BL_STR_FACTS, facts, size);
    return *this;
}

void RecordBuilder::append(unsigned string, const void* bytes, std::size_t size) {
    if (string >= BL_STR_MAX || used_ + size > kMost) return;
    const std::size_t words = (used_ + size + 7) / 8;
    if (words_.size() < words) words_.resize(std::max(words, words_.size() * 2));
    if (size != 0) std::memcpy(reinterpret_cast<char*>(words_.data()) + used_, bytes, size);
    head_.str[string] = {static_cast<std::uint16_t>(used_), static_cast<std::uint16_t>(size)};
    used_ += size;
}

std::span<const std::byte> RecordBuilder::finish() {
    head_.size = static_cast<std::uint32_t>(used_);
    std::memcpy(words_.data(), &head_, sizeof head_);
    return std::as_bytes(std::span(words_)).first(used_);
}

} // namespace beeline::security
