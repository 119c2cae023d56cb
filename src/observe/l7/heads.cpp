#include "observe/l7/heads.h"

#include <cstring>
#include <utility>

namespace beeline::observe::l7 {
namespace {

// Heads differ in their first line, and in what clients number: the beginning and the end tell most of them apart.
constexpr std::size_t kDigested = 64;

std::uint64_t mix(std::uint64_t hash, std::string_view bytes) {
    for (; bytes.size() >= sizeof hash; bytes.remove_prefix(sizeof hash)) {
        std::uint64_t word = 0;
        std::memcpy(&word, bytes.data(), sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 32;
    }
    return hash;
}

} // namespace

std::size_t Heads::slot_of(std::string_view bytes, const model::L7* request) {
    std::uint64_t hash = reinterpret_cast<std::uintptr_t>(request) ^ bytes.size();
    hash = mix(hash, bytes.substr(0, kDigested));
    if (bytes.size() > kDigested) hash = mix(hash, bytes.substr(bytes.size() - kDigested));
    return (hash ^ hash >> 16) % kSlots;
}

Heads::Found Heads::find(std::string_view bytes, const model::L7* request) {
    if (++looked_ >= kPeriod) {
        looked_ /= 2;
        found_ /= 2;
    }
    const Found& slot = slots_[slot_of(bytes, request)];
    if (!slot || slot->bytes.size() != bytes.size() || !is(*slot, bytes, request)) return nullptr;
    ++found_;
    return slot;
}

bool Heads::wanted(std::string_view bytes) const {
    return bytes.size() <= kLongest && (found_ >= looked_ / 16 || looked_ % 8 == 0);
}

Heads::Found Heads::add(Head head) {
    auto shared = std::make_shared<const Head>(std::move(head));
    slots_[slot_of(shared->bytes, shared->request.get())] = shared;
    return shared;
}

} // namespace beeline::observe::l7
