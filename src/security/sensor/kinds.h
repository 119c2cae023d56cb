// The table of kinds (BL_EVENT_KINDS) as values.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "abi/event.h"

namespace beeline::security {

struct KindInfo {
    std::string_view name;
    std::uint16_t kind;
    std::int16_t number64; // -1: none
    std::int16_t number32;
    std::uint8_t shape;
};

inline constexpr KindInfo kKinds[] = {
#define X(name, number, nr64, nr32, shape) {#name, number, nr64, nr32, BL_SHAPE_##shape},
    BL_EVENT_KINDS(X)
#undef X
};

// Other numbers of the same calls: i386's 16-bit ids and older forms, and x32's own.
struct OtherNumber {
    std::uint16_t number;
    std::uint16_t kind;
};
inline constexpr OtherNumber kOther32[] = {
    {16, BL_EVENT_lchown},     {22, BL_EVENT_umount2},   {23, BL_EVENT_setuid},
    {46, BL_EVENT_setgid},     {70, BL_EVENT_setreuid},  {71, BL_EVENT_setregid},
    {92, BL_EVENT_truncate},   {93, BL_EVENT_ftruncate}, {95, BL_EVENT_fchown},
    {138, BL_EVENT_setfsuid},  {139, BL_EVENT_setfsgid}, {164, BL_EVENT_setresuid},
    {170, BL_EVENT_setresgid}, {182, BL_EVENT_chown},    {187, BL_EVENT_sendfile},
    {221, BL_EVENT_fcntl},     {417, BL_EVENT_recvmmsg},
};
inline constexpr OtherNumber kOtherX32[] = {
    {515, BL_EVENT_readv},
    {516, BL_EVENT_writev},
    {517, BL_EVENT_recvfrom},
    {518, BL_EVENT_sendmsg},
    {519, BL_EVENT_recvmsg},
    {520, BL_EVENT_execve},
    {521, BL_EVENT_ptrace},
    {534, BL_EVENT_preadv},
    {535, BL_EVENT_pwritev},
    {537, BL_EVENT_recvmmsg},
    {538, BL_EVENT_sendmmsg},
    {539, BL_EVENT_process_vm_readv},
    {540, BL_EVENT_process_vm_writev},
    {545, BL_EVENT_execveat},
};
// i386 socketcall: the call inside by its number.
inline constexpr OtherNumber kSocketcalls[] = {
    {1, BL_EVENT_socket},    {2, BL_EVENT_bind},      {3, BL_EVENT_connect},
    {4, BL_EVENT_listen},    {5, BL_EVENT_accept},    {8, BL_EVENT_socketpair},
    {9, BL_EVENT_sendto},    {10, BL_EVENT_recvfrom}, {11, BL_EVENT_sendto},
    {12, BL_EVENT_recvfrom}, {13, BL_EVENT_shutdown}, {16, BL_EVENT_sendmsg},
    {17, BL_EVENT_recvmsg},  {18, BL_EVENT_accept4},  {19, BL_EVENT_recvmmsg},
    {20, BL_EVENT_sendmmsg},
};

// Kinds whose text is copied before the call: only the text says what was touched.
constexpr bool is_copied_at_entry(const KindInfo& kind) {
    switch (kind.kind) {
    case BL_EVENT_memfd_create:
    case BL_EVENT_fsopen:
    case BL_EVENT_delete_module: return false;
    default: break;
    }
    switch (kind.shape) {
    case BL_SHAPE_path:
    case BL_SHAPE_at:
    case BL_SHAPE_path2:
    case BL_SHAPE_at2:
    case BL_SHAPE_symlinkat:
    case BL_SHAPE_sock_addr: return true;
    default: return false;
    }
}

// Kinds that io_uring can do too.
constexpr bool is_done_by_uring(std::uint16_t kind) {
    switch (kind) {
    case BL_EVENT_openat:
    case BL_EVENT_openat2:
    case BL_EVENT_renameat2:
    case BL_EVENT_unlinkat:
    case BL_EVENT_mkdirat:
    case BL_EVENT_symlinkat:
    case BL_EVENT_linkat:
    case BL_EVENT_socket:
    case BL_EVENT_connect:
    case BL_EVENT_bind:
    case BL_EVENT_recvfrom:
    case BL_EVENT_listen:
    case BL_EVENT_accept4:
    case BL_EVENT_sendto:
    case BL_EVENT_sendmsg:
    case BL_EVENT_recvmsg: return true;
    default: return false;
    }
}

} // namespace beeline::security
