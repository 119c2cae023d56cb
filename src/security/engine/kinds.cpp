// What the kinds of events are like.
#include <array>

#include "security/engine/fields.h"

namespace beeline::security::engine {
namespace {

struct KindRow {
    std::string_view name;
    int shape = BL_SHAPE_none;
};

constexpr auto kKinds = [] {
    std::array<KindRow, BL_EVENT_KIND_MAX> rows{};
#define X(name, number, nr64, nr32, shape) rows[number] = {#name, BL_SHAPE_##shape};
    BL_EVENT_KINDS(X)
#undef X
    return rows;
}();

} // namespace

std::string_view kind_text(std::uint16_t kind) {
    return kind < kKinds.size() ? kKinds[kind].name : std::string_view();
}

int kind_shape(std::uint16_t kind) {
    return kind < kKinds.size() ? kKinds[kind].shape : int{BL_SHAPE_none};
}

bool kind_is_event(std::uint16_t kind) {
    return !kind_text(kind).empty() && kind != BL_EVENT_proc && kind != BL_EVENT_lost;
}

bool kind_matches(std::uint16_t kind, std::string_view name) {
    if (kind_text(kind) == name) return true;
    if (kind == BL_EVENT_clone) return name == "fork" || name == "vfork" || name == "clone3";
    if (kind == BL_EVENT_umount2) return name == "umount";
    return false;
}

bool kind_is_open(std::uint16_t kind) { return kind_shape(kind) == BL_SHAPE_open; }

bool kind_has_path(std::uint16_t kind) {
    switch (kind_shape(kind)) {
    case BL_SHAPE_open:
    case BL_SHAPE_path:
    case BL_SHAPE_at:
    case BL_SHAPE_path2:
    case BL_SHAPE_at2:
    case BL_SHAPE_symlinkat: return true;
    default: return false;
    }
}

bool kind_is_socket(std::uint16_t kind) {
    switch (kind_shape(kind)) {
    case BL_SHAPE_sock:
    case BL_SHAPE_sock_addr:
    case BL_SHAPE_sock_result:
    case BL_SHAPE_sock_send:
    case BL_SHAPE_sock_recv: return true;
    default: return false;
    }
}

bool kind_makes_fd(std::uint16_t kind) {
    switch (kind) {
    case BL_EVENT_dup:
    case BL_EVENT_dup2:
    case BL_EVENT_dup3:
    case BL_EVENT_fcntl:
    case BL_EVENT_socket:
    case BL_EVENT_accept:
    case BL_EVENT_accept4:
    case BL_EVENT_memfd_create:
    case BL_EVENT_userfaultfd:
    case BL_EVENT_bpf:
    case BL_EVENT_io_uring_setup:
    case BL_EVENT_pidfd_open:
    case BL_EVENT_fsopen:
    case BL_EVENT_open_tree: return true;
    default: return kind_is_open(kind);
    }
}

bool kind_has_fd(std::uint16_t kind) {
    return kind_makes_fd(kind) || kind_is_socket(kind) || kind_shape(kind) == BL_SHAPE_fd ||
           kind_shape(kind) == BL_SHAPE_io || kind == BL_EVENT_close || kind == BL_EVENT_pipe ||
           kind == BL_EVENT_pipe2;
}

} // namespace beeline::security::engine
