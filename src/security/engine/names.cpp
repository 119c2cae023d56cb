#include "security/engine/names.h"

#include <fcntl.h>
#include <netdb.h>
#include <string.h> // NOLINT(modernize-deprecated-headers): strerrorname_np

#include <array>
#include <string>

#include "abi/event.h"

namespace beeline::security::engine {
namespace {

constexpr BitName kClone[] = {
    {0x00000100, "CLONE_VM"},
    {0x00000200, "CLONE_FS"},
    {0x00000400, "CLONE_FILES"},
    {0x00000800, "CLONE_SIGHAND"},
    {0x00001000, "CLONE_PIDFD"},
    {0x00002000, "CLONE_PTRACE"},
    {0x00004000, "CLONE_VFORK"},
    {0x00008000, "CLONE_PARENT"},
    {0x00010000, "CLONE_THREAD"},
    {0x00020000, "CLONE_NEWNS"},
    {0x00040000, "CLONE_SYSVSEM"},
    {0x00080000, "CLONE_SETTLS"},
    {0x00100000, "CLONE_PARENT_SETTID"},
    {0x00200000, "CLONE_CHILD_CLEARTID"},
    {0x00800000, "CLONE_UNTRACED"},
    {0x01000000, "CLONE_CHILD_SETTID"},
    {0x02000000, "CLONE_NEWCGROUP"},
    {0x04000000, "CLONE_NEWUTS"},
    {0x08000000, "CLONE_NEWIPC"},
    {0x10000000, "CLONE_NEWUSER"},
    {0x20000000, "CLONE_NEWPID"},
    {0x40000000, "CLONE_NEWNET"},
    {0x80000000, "CLONE_IO"},
    {0x200000000, "CLONE_INTO_CGROUP"},
    {0x00000080, "CLONE_NEWTIME"},
};
constexpr BitName kMode[] = {
    {04000, "S_ISUID"}, {02000, "S_ISGID"}, {01000, "S_ISVTX"}, {0400, "S_IRUSR"},
    {0200, "S_IWUSR"},  {0100, "S_IXUSR"},  {040, "S_IRGRP"},   {020, "S_IWGRP"},
    {010, "S_IXGRP"},   {04, "S_IROTH"},    {02, "S_IWOTH"},    {01, "S_IXOTH"},
};
constexpr BitName kUnlink[] = {
    {0x200, "AT_REMOVEDIR"}, {0x400, "AT_SYMLINK_FOLLOW"}, {0x1000, "AT_EMPTY_PATH"}};
constexpr BitName kRename[] = {
    {1, "RENAME_NOREPLACE"}, {2, "RENAME_EXCHANGE"}, {4, "RENAME_WHITEOUT"}};
constexpr BitName kMount[] = {
    {1, "MS_RDONLY"},           {2, "MS_NOSUID"},         {4, "MS_NODEV"},
    {8, "MS_NOEXEC"},           {16, "MS_SYNCHRONOUS"},   {32, "MS_REMOUNT"},
    {64, "MS_MANDLOCK"},        {128, "MS_DIRSYNC"},      {1024, "MS_NOATIME"},
    {2048, "MS_NODIRATIME"},    {4096, "MS_BIND"},        {8192, "MS_MOVE"},
    {16384, "MS_REC"},          {32768, "MS_SILENT"},     {1 << 16, "MS_POSIXACL"},
    {1 << 17, "MS_UNBINDABLE"}, {1 << 18, "MS_PRIVATE"},  {1 << 19, "MS_SLAVE"},
    {1 << 20, "MS_SHARED"},     {1 << 21, "MS_RELATIME"},
};
constexpr BitName kUmount[] = {{1, "FORCE"}, {2, "DETACH"}, {4, "EXPIRE"}, {8, "NOFOLLOW"}};
constexpr BitName kUserfault[] = {
    {02000000, "O_CLOEXEC"}, {04000, "O_NONBLOCK"}, {1, "UFFD_USER_MODE_ONLY"}};
constexpr BitName kMemfd[] = {{1, "MFD_CLOEXEC"},
                              {2, "MFD_ALLOW_SEALING"},
                              {4, "MFD_HUGETLB"},
                              {8, "MFD_NOEXEC_SEAL"},
                              {16, "MFD_EXEC"}};
constexpr BitName kProtection[] = {{1, "PROT_READ"},
                                   {2, "PROT_WRITE"},
                                   {4, "PROT_EXEC"},
                                   {8, "PROT_SEM"},
                                   {0x01000000, "PROT_GROWSDOWN"},
                                   {0x02000000, "PROT_GROWSUP"}};
constexpr BitName kMap[] = {
    {1, "MAP_SHARED"},        {2, "MAP_PRIVATE"},        {0x10, "MAP_FIXED"},
    {0x20, "MAP_ANONYMOUS"},  {0x40, "MAP_32BIT"},       {0x100, "MAP_GROWSDOWN"},
    {0x800, "MAP_DENYWRITE"}, {0x2000, "MAP_LOCKED"},    {0x4000, "MAP_NORESERVE"},
    {0x8000, "MAP_POPULATE"}, {0x10000, "MAP_NONBLOCK"}, {0x20000, "MAP_STACK"},
    {0x40000, "MAP_HUGETLB"}};
constexpr BitName kModule[] = {{1, "MODULE_INIT_IGNORE_MODVERSIONS"},
                               {2, "MODULE_INIT_IGNORE_VERMAGIC"},
                               {4, "MODULE_INIT_COMPRESSED_FILE"}};
constexpr BitName kPidfd[] = {{04000, "PIDFD_NONBLOCK"}};

constexpr BitName kPtrace[] = {
    {0, "PTRACE_TRACEME"},
    {1, "PTRACE_PEEKTEXT"},
    {2, "PTRACE_PEEKDATA"},
    {3, "PTRACE_PEEKUSR"},
    {4, "PTRACE_POKETEXT"},
    {5, "PTRACE_POKEDATA"},
    {6, "PTRACE_POKEUSR"},
    {7, "PTRACE_CONT"},
    {8, "PTRACE_KILL"},
    {9, "PTRACE_SINGLESTEP"},
    {12, "PTRACE_GETREGS"},
    {13, "PTRACE_SETREGS"},
    {14, "PTRACE_GETFPREGS"},
    {15, "PTRACE_SETFPREGS"},
    {16, "PTRACE_ATTACH"},
    {17, "PTRACE_DETACH"},
    {18, "PTRACE_GETFPXREGS"},
    {19, "PTRACE_SETFPXREGS"},
    {21, "PTRACE_OLDSETOPTIONS"},
    {24, "PTRACE_SYSCALL"},
    {25, "PTRACE_GET_THREAD_AREA"},
    {26, "PTRACE_SET_THREAD_AREA"},
    {30, "PTRACE_ARCH_PRCTL"},
    {31, "PTRACE_SYSEMU"},
    {32, "PTRACE_SYSEMU_SINGLESTEP"},
    {33, "PTRACE_SINGLEBLOCK"},
    {0x4200, "PTRACE_SETOPTIONS"},
    {0x4201, "PTRACE_GETEVENTMSG"},
    {0x4202, "PTRACE_GETSIGINFO"},
    {0x4203, "PTRACE_SETSIGINFO"},
    {0x4204, "PTRACE_GETREGSET"},
    {0x4205, "PTRACE_SETREGSET"},
    {0x4206, "PTRACE_SEIZE"},
    {0x4207, "PTRACE_INTERRUPT"},
    {0x4208, "PTRACE_LISTEN"},
    {0x4209, "PTRACE_PEEKSIGINFO"},
    {0x420a, "PTRACE_GETSIGMASK"},
    {0x420b, "PTRACE_SETSIGMASK"},
    {0x420c, "PTRACE_SECCOMP_GET_FILTER"},
    {0x420e, "PTRACE_GET_SYSCALL_INFO"},
};
constexpr BitName kBpf[] = {
    {0, "BPF_MAP_CREATE"},
    {1, "BPF_MAP_LOOKUP_ELEM"},
    {2, "BPF_MAP_UPDATE_ELEM"},
    {3, "BPF_MAP_DELETE_ELEM"},
    {4, "BPF_MAP_GET_NEXT_KEY"},
    {5, "BPF_PROG_LOAD"},
    {6, "BPF_OBJ_PIN"},
    {7, "BPF_OBJ_GET"},
    {8, "BPF_PROG_ATTACH"},
    {9, "BPF_PROG_DETACH"},
    {10, "BPF_PROG_TEST_RUN"},
    {11, "BPF_PROG_GET_NEXT_ID"},
    {12, "BPF_MAP_GET_NEXT_ID"},
    {13, "BPF_PROG_GET_FD_BY_ID"},
    {14, "BPF_MAP_GET_FD_BY_ID"},
    {15, "BPF_OBJ_GET_INFO_BY_FD"},
    {16, "BPF_PROG_QUERY"},
    {17, "BPF_RAW_TRACEPOINT_OPEN"},
    {18, "BPF_BTF_LOAD"},
    {19, "BPF_BTF_GET_FD_BY_ID"},
    {20, "BPF_TASK_FD_QUERY"},
    {21, "BPF_MAP_LOOKUP_AND_DELETE_ELEM"},
    {22, "BPF_MAP_FREEZE"},
    {23, "BPF_BTF_GET_NEXT_ID"},
    {24, "BPF_MAP_LOOKUP_BATCH"},
    {25, "BPF_MAP_LOOKUP_AND_DELETE_BATCH"},
    {26, "BPF_MAP_UPDATE_BATCH"},
    {27, "BPF_MAP_DELETE_BATCH"},
    {28, "BPF_LINK_CREATE"},
    {29, "BPF_LINK_UPDATE"},
    {30, "BPF_LINK_GET_FD_BY_ID"},
    {31, "BPF_LINK_GET_NEXT_ID"},
    {32, "BPF_ENABLE_STATS"},
    {33, "BPF_ITER_CREATE"},
    {34, "BPF_LINK_DETACH"},
    {35, "BPF_PROG_BIND_MAP"},
    {36, "BPF_TOKEN_CREATE"},
};
constexpr BitName kFamily[] = {
    {0, "AF_UNSPEC"},      {1, "AF_UNIX"},      {2, "AF_INET"},      {3, "AF_AX25"},
    {4, "AF_IPX"},         {5, "AF_APPLETALK"}, {6, "AF_NETROM"},    {7, "AF_BRIDGE"},
    {8, "AF_ATMPVC"},      {9, "AF_X25"},       {10, "AF_INET6"},    {11, "AF_ROSE"},
    {12, "AF_DECnet"},     {13, "AF_NETBEUI"},  {14, "AF_SECURITY"}, {15, "AF_KEY"},
    {16, "AF_NETLINK"},    {17, "AF_PACKET"},   {18, "AF_ASH"},      {19, "AF_ECONET"},
    {20, "AF_ATMSVC"},     {21, "AF_RDS"},      {22, "AF_SNA"},      {23, "AF_IRDA"},
    {24, "AF_PPPOX"},      {25, "AF_WANPIPE"},  {26, "AF_LLC"},      {27, "AF_IB"},
    {28, "AF_MPLS"},       {29, "AF_CAN"},      {30, "AF_TIPC"},     {31, "AF_BLUETOOTH"},
    {32, "AF_IUCV"},       {33, "AF_RXRPC"},    {34, "AF_ISDN"},     {35, "AF_PHONET"},
    {36, "AF_IEEE802154"}, {37, "AF_CAIF"},     {38, "AF_ALG"},      {39, "AF_NFC"},
    {40, "AF_VSOCK"},      {41, "AF_KCM"},      {42, "AF_QIPCRTR"},  {43, "AF_SMC"},
    {44, "AF_XDP"},        {45, "AF_MCTP"},
};
constexpr BitName kFcntl[] = {{0, "F_DUPFD"}, {1, "F_GETFD"},  {2, "F_SETFD"},
                              {3, "F_GETFL"}, {4, "F_SETFL"},  {5, "F_GETLK"},
                              {6, "F_SETLK"}, {7, "F_SETLKW"}, {1030, "F_DUPFD_CLOEXEC"}};
constexpr BitName kPrctl[] = {
    {1, "PR_SET_PDEATHSIG"},
    {2, "PR_GET_PDEATHSIG"},
    {3, "PR_GET_DUMPABLE"},
    {4, "PR_SET_DUMPABLE"},
    {7, "PR_GET_KEEPCAPS"},
    {8, "PR_SET_KEEPCAPS"},
    {15, "PR_SET_NAME"},
    {16, "PR_GET_NAME"},
    {21, "PR_GET_SECCOMP"},
    {22, "PR_SET_SECCOMP"},
    {23, "PR_CAPBSET_READ"},
    {24, "PR_CAPBSET_DROP"},
    {28, "PR_SET_SECUREBITS"},
    {35, "PR_SET_MM"},
    {36, "PR_SET_CHILD_SUBREAPER"},
    {37, "PR_GET_CHILD_SUBREAPER"},
    {38, "PR_SET_NO_NEW_PRIVS"},
    {39, "PR_GET_NO_NEW_PRIVS"},
    {47, "PR_CAP_AMBIENT"},
    {0x59616d61, "PR_SET_PTRACER"},
    {0x53564d41, "PR_SET_VMA"},
};
constexpr BitName kSignal[] = {
    {1, "SIGHUP"},     {2, "SIGINT"},   {3, "SIGQUIT"},   {4, "SIGILL"},   {5, "SIGTRAP"},
    {6, "SIGABRT"},    {7, "SIGBUS"},   {8, "SIGFPE"},    {9, "SIGKILL"},  {10, "SIGUSR1"},
    {11, "SIGSEGV"},   {12, "SIGUSR2"}, {13, "SIGPIPE"},  {14, "SIGALRM"}, {15, "SIGTERM"},
    {16, "SIGSTKFLT"}, {17, "SIGCHLD"}, {18, "SIGCONT"},  {19, "SIGSTOP"}, {20, "SIGTSTP"},
    {21, "SIGTTIN"},   {22, "SIGTTOU"}, {23, "SIGURG"},   {24, "SIGXCPU"}, {25, "SIGXFSZ"},
    {26, "SIGVTALRM"}, {27, "SIGPROF"}, {28, "SIGWINCH"}, {29, "SIGIO"},   {30, "SIGPWR"},
    {31, "SIGSYS"}};
constexpr BitName kShutdown[] = {{0, "SHUT_RD"}, {1, "SHUT_WR"}, {2, "SHUT_RDWR"}};
constexpr BitName kKeyctl[] = {{0, "KEYCTL_GET_KEYRING_ID"}, {1, "KEYCTL_JOIN_SESSION_KEYRING"},
                               {2, "KEYCTL_UPDATE"},         {3, "KEYCTL_REVOKE"},
                               {4, "KEYCTL_CHOWN"},          {5, "KEYCTL_SETPERM"},
                               {6, "KEYCTL_DESCRIBE"},       {7, "KEYCTL_CLEAR"},
                               {8, "KEYCTL_LINK"},           {9, "KEYCTL_UNLINK"},
                               {10, "KEYCTL_SEARCH"},        {11, "KEYCTL_READ"}};

constexpr std::string_view kCapabilities[] = {"CAP_CHOWN",
                                              "CAP_DAC_OVERRIDE",
                                              "CAP_DAC_READ_SEARCH",
                                              "CAP_FOWNER",
                                              "CAP_FSETID",
                                              "CAP_KILL",
                                              "CAP_SETGID",
                                              "CAP_SETUID",
                                              "CAP_SETPCAP",
                                              "CAP_LINUX_IMMUTABLE",
                                              "CAP_NET_BIND_SERVICE",
                                              "CAP_NET_BROADCAST",
                                              "CAP_NET_ADMIN",
                                              "CAP_NET_RAW",
                                              "CAP_IPC_LOCK",
                                              "CAP_IPC_OWNER",
                                              "CAP_SYS_MODULE",
                                              "CAP_SYS_RAWIO",
                                              "CAP_SYS_CHROOT",
                                              "CAP_SYS_PTRACE",
                                              "CAP_SYS_PACCT",
                                              "CAP_SYS_ADMIN",
                                              "CAP_SYS_BOOT",
                                              "CAP_SYS_NICE",
                                              "CAP_SYS_RESOURCE",
                                              "CAP_SYS_TIME",
                                              "CAP_SYS_TTY_CONFIG",
                                              "CAP_MKNOD",
                                              "CAP_LEASE",
                                              "CAP_AUDIT_WRITE",
                                              "CAP_AUDIT_CONTROL",
                                              "CAP_SETFCAP",
                                              "CAP_MAC_OVERRIDE",
                                              "CAP_MAC_ADMIN",
                                              "CAP_SYSLOG",
                                              "CAP_WAKE_ALARM",
                                              "CAP_BLOCK_SUSPEND",
                                              "CAP_AUDIT_READ",
                                              "CAP_PERFMON",
                                              "CAP_BPF",
                                              "CAP_CHECKPOINT_RESTORE"};

// O_SYNC holds O_DSYNC, O_TMPFILE holds O_DIRECTORY: the wider one first.
constexpr BitName kOpen[] = {
    {02000, "O_APPEND"},      {0100, "O_CREAT"},        {04010000, "O_SYNC"},
    {010000, "O_DSYNC"},      {0200, "O_EXCL"},         {04000, "O_NONBLOCK"},
    {01000, "O_TRUNC"},       {040000, "O_DIRECT"},     {020200000, "O_TMPFILE"},
    {0200000, "O_DIRECTORY"}, {0100000, "O_LARGEFILE"}, {02000000, "O_CLOEXEC"},
    {010000000, "O_PATH"},    {0400000, "O_NOFOLLOW"},  {01000000, "O_NOATIME"},
};

void add_name(Writer& out, std::string_view name) {
    if (!out.empty()) out.add('|');
    out.add(name);
}

} // namespace

std::span<const BitName> clone_flag_names() { return kClone; }
std::span<const BitName> mode_names() { return kMode; }
std::span<const BitName> unlink_flag_names() { return kUnlink; }
std::span<const BitName> rename_flag_names() { return kRename; }
std::span<const BitName> mount_flag_names() { return kMount; }
std::span<const BitName> umount_flag_names() { return kUmount; }
std::span<const BitName> userfault_flag_names() { return kUserfault; }
std::span<const BitName> memfd_flag_names() { return kMemfd; }
std::span<const BitName> mmap_protection_names() { return kProtection; }
std::span<const BitName> mmap_flag_names() { return kMap; }
std::span<const BitName> module_flag_names() { return kModule; }
std::span<const BitName> pidfd_flag_names() { return kPidfd; }
std::span<const BitName> ptrace_names() { return kPtrace; }
std::span<const BitName> bpf_names() { return kBpf; }
std::span<const BitName> family_names() { return kFamily; }
std::span<const BitName> fcntl_names() { return kFcntl; }
std::span<const BitName> prctl_names() { return kPrctl; }
std::span<const BitName> signal_names() { return kSignal; }
std::span<const BitName> shutdown_names() { return kShutdown; }
std::span<const BitName> keyctl_names() { return kKeyctl; }

std::string_view errno_text(int number) {
    const char* name = strerrorname_np(number);
    return name == nullptr ? std::string_view() : std::string_view(name);
}

std::string_view capability_name(unsigned bit) {
    return bit < std::size(kCapabilities) ? kCapabilities[bit] : std::string_view();
}

std::optional<std::uint16_t> service_port(std::string_view name) {
    std::array<char, 2048> buffer{};
    servent entry{};
    servent* found = nullptr;
    if (getservbyname_r(std::string(name).c_str(), nullptr, &entry, buffer.data(), buffer.size(),
                        &found) != 0 ||
        found == nullptr)
        return {};
    return ntohs(static_cast<std::uint16_t>(found->s_port));
}

std::string_view protocol_text(unsigned protocol) {
    switch (protocol) {
    case 6: return "tcp";
    case 17: return "udp";
    case 1:
    case 58: return "icmp";
    case 255: return "raw";
    default: return "<NA>";
    }
}

std::string_view constant_name(std::span<const BitName> names, std::uint64_t number) {
    for (const BitName& row : names)
        if (row.bits == number) return row.name;
    return {};
}

void add_bit_names(Writer& out, std::span<const BitName> names, std::uint64_t bits) {
    for (const BitName& row : names)
        if ((bits & row.bits) == row.bits) add_name(out, row.name);
}

void add_open_flags(Writer& out, std::uint64_t flags, std::uint16_t file_flags) {
    static constexpr std::string_view kAccess[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_NONE"};
    add_name(out, kAccess[flags & O_ACCMODE]);
    std::uint64_t left = flags;
    for (const BitName& row : kOpen) {
        if ((left & row.bits) != row.bits) continue;
        add_name(out, row.name);
        left &= ~row.bits;
    }
    if ((file_flags & BL_FILE_CREATED) != 0) add_name(out, "O_F_CREATED");
    if ((file_flags & BL_FILE_UPPER) != 0) add_name(out, "FD_UPPER_LAYER");
    if ((file_flags & BL_FILE_LOWER) != 0) add_name(out, "FD_LOWER_LAYER");
}

} // namespace beeline::security::engine
