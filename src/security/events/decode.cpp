// Record -> Event. The only place that touches raw records.
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "security/events/event.h"

namespace beeline::security {
namespace {

// Which facts a kind may carry; their sizes tell them apart.
enum : std::uint8_t { kKnown = 0x1, kFile = 0x2, kSocket = 0x4, kTask = 0x8 };

constexpr std::uint8_t facts_of(bl_event_shape shape) {
    switch (shape) {
    case BL_SHAPE_none:
    case BL_SHAPE_comm: return kKnown;
    case BL_SHAPE_num: // socketpair has a socket; the rest nothing
    case BL_SHAPE_sock:
    case BL_SHAPE_sock_result:
    case BL_SHAPE_sock_addr:
    case BL_SHAPE_sock_send:
    case BL_SHAPE_sock_recv:
    case BL_SHAPE_fd: // a descriptor may be either, whatever the call expects
    case BL_SHAPE_io: return kKnown | kFile | kSocket;
    case BL_SHAPE_path:
    case BL_SHAPE_at:
    case BL_SHAPE_path2:
    case BL_SHAPE_at2:
    case BL_SHAPE_symlinkat:
    case BL_SHAPE_open: return kKnown | kFile;
    case BL_SHAPE_exec: return kKnown | kFile | kTask; // a failed exec has a file at most
    case BL_SHAPE_task:
    case BL_SHAPE_exit: return kKnown | kTask;
    }
    return 0;
}

struct KindInfo {
    std::string_view name;
    std::uint8_t facts = 0;
};

constexpr auto kKinds = [] {
    std::array<KindInfo, BL_EVENT_KIND_MAX> kinds{};
#define X(name, number, nr64, nr32, shape)                                                         \
    kinds[number] = KindInfo{#name, facts_of(BL_SHAPE_##shape)};
    BL_EVENT_KINDS(X)
#undef X
    // What is in force after a change of credentials; of groups nothing is added.
    for (std::uint16_t kind = BL_EVENT_setuid; kind <= BL_EVENT_capset; ++kind)
        kinds[kind].facts |= kTask;
    return kinds;
}();

constexpr auto kByName = [] {
    constexpr std::size_t kCount =
        std::count_if(kKinds.begin(), kKinds.end(), [](const KindInfo& k) { return k.facts != 0; });
    std::array<std::pair<std::string_view, std::uint16_t>, kCount> names{};
    std::size_t at = 0;
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind)
        if (kKinds[kind].facts != 0) names[at++] = {kKinds[kind].name, kind};
    std::sort(names.begin(), names.end());
    return names;
}();

} // namespace

std::string_view kind_name(std::uint16_t kind) {
    return kind < kKinds.size() ? kKinds[kind].name : std::string_view();
}

std::uint16_t kind_of(std::string_view name) {
    if (name == "fork" || name == "vfork" || name == "clone3") return BL_EVENT_clone;
    const auto* found =
        std::lower_bound(kByName.begin(), kByName.end(), name,
                         [](const auto& entry, std::string_view n) { return entry.first < n; });
    return found != kByName.end() && found->first == name ? found->second : std::uint16_t{0};
}

DecodeError decode(std::span<const std::byte> record, Event& event) {
    if (record.size() < sizeof(bl_event)) return DecodeError::too_short;
    std::memcpy(&event.head, record.data(), sizeof(bl_event));
    const bl_event& head = event.head;
    if (head.size != record.size()) return DecodeError::bad_size;
    if (head.kind >= BL_EVENT_KIND_MAX) return DecodeError::bad_kind;
    const std::uint8_t allowed = kKinds[head.kind].facts;
    if (allowed == 0) return DecodeError::bad_kind;

    event.file = nullptr;
    event.socket = nullptr;
    event.task = nullptr;
    event.flow = nullptr;
    event.number = 0;
    event.time_ns = 0;
    event.process = nullptr;

    const auto* begin = reinterpret_cast<const char*>(record.data());
    for (unsigned i = 0; i < BL_STR_FACTS; ++i) {
        const bl_event_str string = head.str[i];
        if (string.offset == 0) {
            if (string.length != 0) return DecodeError::bad_string;
            event.text[i] = {};
            continue;
        }
        if (string.offset < sizeof(bl_event) ||
            std::uint32_t{string.offset} + string.length > head.size)
            return DecodeError::bad_string;
        event.text[i] = {begin + string.offset, string.length};
    }

    const bl_event_str facts = head.str[BL_STR_FACTS];
    if (facts.offset == 0) return facts.length == 0 ? DecodeError::none : DecodeError::bad_facts;
    const char* at = begin + facts.offset;
    if (facts.offset < sizeof(bl_event) || std::uint32_t{facts.offset} + facts.length > head.size ||
        reinterpret_cast<std::uintptr_t>(at) % 8 != 0)
        return DecodeError::bad_facts;
    if (facts.length == sizeof(bl_event_file) && (allowed & kFile) != 0)
        event.file = reinterpret_cast<const bl_event_file*>(at);
    else if (facts.length == sizeof(bl_event_sock) && (allowed & kSocket) != 0)
        event.socket = reinterpret_cast<const bl_event_sock*>(at);
    else if (facts.length == sizeof(bl_event_task) && (allowed & kTask) != 0)
        event.task = reinterpret_cast<const bl_event_task*>(at);
    else
        return DecodeError::bad_facts;
    return DecodeError::none;
}

} // namespace beeline::security
