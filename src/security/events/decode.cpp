#include <cstring>
#include <unordered_map>

#include "security/events/event.h"

namespace beeline::security {
namespace {

enum class Facts : std::uint8_t { none, file, socket, task };

struct Kind {
    std::string_view name; // empty: no such kind
    bl_event_shape shape = BL_SHAPE_none;
};

constexpr std::array<Kind, BL_EVENT_KIND_MAX> kKinds = [] {
    std::array<Kind, BL_EVENT_KIND_MAX> kinds{};
#define X(name, number, nr64, nr32, shape) kinds[number] = {#name, BL_SHAPE_##shape};
    BL_EVENT_KINDS(X)
#undef X
    return kinds;
}();

// Facts are told apart by their size; the shape says which of them a kind can have.
Facts facts_of(std::uint16_t kind, std::size_t size) {
    const auto shape = kKinds[kind].shape;
    switch (size) {
    case sizeof(bl_event_task):
        return shape == BL_SHAPE_exec || shape == BL_SHAPE_task || shape == BL_SHAPE_exit
                   ? Facts::task
                   : Facts::none;
    case sizeof(bl_event_file): return Facts::file;
    case sizeof(bl_event_sock): return Facts::socket;
    default: return Facts::none;
    }
}

} // namespace

std::string_view kind_name(std::uint16_t kind) {
    return kind < kKinds.size() ? kKinds[kind].name : std::string_view{};
}

std::uint16_t kind_of(std::string_view name) {
    static const auto kinds = [] {
        std::unordered_map<std::string_view, std::uint16_t> out;
        for (std::uint16_t kind = 0; kind < kKinds.size(); ++kind) {
            if (!kKinds[kind].name.empty()) out.emplace(kKinds[kind].name, kind);
        }
        for (const auto* alias : {"fork", "vfork", "clone3"})
            out.emplace(alias, BL_EVENT_clone);
        return out;
    }();
    const auto found = kinds.find(name);
    return found == kinds.end() ? std::uint16_t{0} : found->second;
}

DecodeError decode(std::span<const std::byte> record, Event& event) {
    if (record.size() < sizeof(bl_event)) return DecodeError::too_short;
    std::memcpy(&event.head, record.data(), sizeof(bl_event));
    const auto& head = event.head;
    if (head.size != record.size()) return DecodeError::bad_size;
    if (head.kind >= kKinds.size() || kKinds[head.kind].name.empty()) return DecodeError::bad_kind;
    for (unsigned i = 0; i < BL_STR_FACTS; ++i) {
        const auto [offset, length] = head.str[i];
        if (offset == 0) { // absent
            if (length != 0) return DecodeError::bad_string;
            event.text[i] = {};
            continue;
        }
        if (offset < sizeof(bl_event) || std::size_t{offset} + length > record.size())
            return DecodeError::bad_string;
        event.text[i] = {reinterpret_cast<const char*>(record.data()) + offset, length};
    }
    event.file = nullptr;
    event.socket = nullptr;
    event.task = nullptr;
    event.flow = nullptr;
    const auto [offset, length] = head.str[BL_STR_FACTS];
    if (offset == 0 && length == 0) return DecodeError::none;
    if (offset < sizeof(bl_event) || offset % 8 != 0 ||
        std::size_t{offset} + length > record.size())
        return DecodeError::bad_facts;
    const auto* facts = record.data() + offset;
    switch (facts_of(head.kind, length)) {
    case Facts::file: event.file = reinterpret_cast<const bl_event_file*>(facts); break;
    case Facts::socket: event.socket = reinterpret_cast<const bl_event_sock*>(facts); break;
    case Facts::task: event.task = reinterpret_cast<const bl_event_task*>(facts); break;
    case Facts::none: return DecodeError::bad_facts;
    }
    return DecodeError::none;
}

} // namespace beeline::security
