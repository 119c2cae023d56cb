// Values that are put together once an event: paths, descriptors, ancestries.
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "net/address.h"
#include "security/engine/fields.h"
#include "security/engine/names.h"

namespace beeline::security::engine {
namespace {

constexpr int kInet = 2, kInet6 = 10, kUnix = 1, kNetlink = 16;
constexpr int kRaw = 3; // SOCK_RAW
constexpr std::uint64_t kDirectoryFlag = 0200000;

bool is_v4(const bl_addr& address) {
    static constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return std::memcmp(address.byte, kMapped, sizeof kMapped) == 0;
}

bool is_zero(const bl_addr& address) { return address.half[0] == 0 && address.half[1] == 0; }

// Whether a text is as absolute_path() would leave it.
bool is_normal(std::string_view path) {
    if (path.empty() || path.front() != '/') return false;
    if (path.size() > 1 && path.back() == '/') return false;
    const char* end = path.data() + path.size();
    const char* at = path.data();
    while ((at = static_cast<const char*>(
                std::memchr(at, '/', static_cast<std::size_t>(end - at)))) != nullptr) {
        ++at;
        if (at == end) break;
        if (*at == '/') return false;
        if (*at != '.') continue;
        const std::string_view rest(at, static_cast<std::size_t>(end - at));
        if (rest.size() == 1 || rest[1] == '/') return false;
        if (rest[1] == '.' && (rest.size() == 2 || rest[2] == '/')) return false;
    }
    return true;
}

void add_components(Writer& out, std::string_view path) {
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string_view part = path.substr(0, slash);
        path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
        if (part.empty() || part == ".") continue;
        if (part == "..") {
            const std::size_t last = out.text().rfind('/');
            out.truncate(last == std::string_view::npos ? 0 : last);
            continue;
        }
        out.add('/');
        out.add(part);
    }
}

std::string_view without_double_slashes(Scene& scene, std::string_view path) {
    if (path.find("//") == std::string_view::npos) return path;
    Writer out(scene.arena);
    for (std::size_t i = 0; i < path.size(); ++i)
        if (path[i] != '/' || i == 0 || path[i - 1] != '/') out.add(path[i]);
    return out.finish();
}

void add_end(Writer& out, const bl_addr& address, std::uint16_t port) {
    out.add_ip(address.byte);
    out.add(':');
    out.add_number(__builtin_bswap16(port));
}

FdView::Role role_of(const bl_event_sock& socket, std::uint16_t kind) {
    if ((socket.flags & BL_SOCK_ACCEPTED) != 0 || kind == BL_EVENT_accept ||
        kind == BL_EVENT_accept4 || kind == BL_EVENT_listen)
        return FdView::Role::server;
    if (kind == BL_EVENT_connect || (socket.flags & BL_SOCK_CONNECTED) != 0)
        return FdView::Role::client;
    if (is_zero(socket.remote)) return FdView::Role::none;
    // A datagram to or from somebody: servers have the lower port.
    const unsigned local = __builtin_bswap16(socket.local_port);
    const unsigned remote = __builtin_bswap16(socket.remote_port);
    if (local != 0 && local < remote) return FdView::Role::server;
    return FdView::Role::client;
}

void view_socket(Scene& scene, const bl_event_sock& socket, FdView& view) {
    const Event& event = *scene.event;
    if (socket.family == kUnix) {
        view.typechar = 'u';
        view.type = "unix";
        view.has_name = event.has(BL_STR_PATH);
        view.name = view.raw = event.text[BL_STR_PATH];
        return;
    }
    if (socket.family == kNetlink) {
        view.typechar = 'n';
        view.type = "netlink";
        return;
    }
    if (socket.family != kInet && socket.family != kInet6) return;
    view.socket = true;
    const bool v4 = socket.family == kInet || is_v4(socket.remote) ||
                    (is_zero(socket.remote) && is_v4(socket.local));
    view.typechar = v4 ? '4' : '6';
    view.type = v4 ? "ipv4" : "ipv6";
    view.protocol =
        socket.type == kRaw && socket.protocol == 0 ? "raw" : protocol_text(socket.protocol);
    view.listening = (socket.flags & BL_SOCK_LISTENING) != 0 ||
                     event.head.kind == BL_EVENT_listen || event.head.kind == BL_EVENT_bind;
    view.role = role_of(socket, event.head.kind);
    const bool local = !is_zero(socket.local) || socket.local_port != 0;
    const bool remote = !is_zero(socket.remote) || socket.remote_port != 0;
    if (!local && !remote) return;
    view.has_name = true;
    Writer out(scene.arena);
    if (view.listening || !remote) {
        add_end(out, socket.local, socket.local_port);
    } else if (view.role == FdView::Role::server) {
        add_end(out, socket.remote, socket.remote_port);
        out.add("->");
        add_end(out, socket.local, socket.local_port);
    } else {
        add_end(out, socket.local, socket.local_port);
        out.add("->");
        add_end(out, socket.remote, socket.remote_port);
    }
    view.name = view.raw = out.finish();
}

void view_path(Scene& scene, FdView& view, bool open) {
    const Event& event = *scene.event;
    view.file = true;
    view.typechar = 'f';
    view.type = "file";
    if (event.file != nullptr) {
        view.directory = S_ISDIR(event.file->mode);
        if (S_ISFIFO(event.file->mode)) {
            view.typechar = 'p';
            view.type = "pipe";
        }
        if ((event.file->flags & BL_FILE_MEMFD) != 0) {
            view.typechar = 'm';
            view.type = "memfd";
        }
    } else if (open && event.head.kind != BL_EVENT_creat) {
        const std::uint64_t flags = event.head.num[event.head.kind == BL_EVENT_open      ? 1
                                                   : event.head.kind == BL_EVENT_openat2 ? 4
                                                                                         : 2];
        view.directory = (flags & kDirectoryFlag) != 0;
    }
    if (view.directory) {
        view.typechar = 'd';
        view.type = "directory";
    }
    const bool reached =
        event.has(BL_STR_RESOLVED) && (scene.reached || !open || !event.has(BL_STR_PATH));
    view.has_name = reached || event.has(BL_STR_PATH);
    if (reached) {
        view.name = event.text[BL_STR_RESOLVED];
        view.raw = open && event.has(BL_STR_PATH) ? event.text[BL_STR_PATH] : view.name;
    } else if (view.has_name) {
        view.name = absolute_path(scene, event.text[BL_STR_PATH], event.text[BL_STR_BASE]);
        view.raw = without_double_slashes(scene, event.text[BL_STR_PATH]);
    }
    if (view.name.substr(0, 6) == "memfd:") {
        view.typechar = 'm';
        view.type = "memfd";
    }
}

void set_type(FdView& view, char typechar, std::string_view type) {
    view.typechar = typechar;
    view.type = type;
}

} // namespace

std::string_view type_name(Type type) {
    switch (type) {
    case Type::text: return "string";
    case Type::path: return "path";
    case Type::bytes: return "bytebuf";
    case Type::boolean: return "bool";
    case Type::int64: return "int64";
    case Type::uint64: return "uint64";
    case Type::port: return "port";
    case Type::duration: return "reltime";
    case Type::time: return "abstime";
    case Type::ip: return "ipaddr";
    case Type::net: return "ipnet";
    }
    return "";
}

void Writer::add_number(std::uint64_t number, unsigned base) {
    char digits[68];
    const auto end =
        std::to_chars(std::begin(digits), std::end(digits), number, static_cast<int>(base));
    add({digits, static_cast<std::size_t>(end.ptr - digits)});
}

void Writer::add_signed(std::int64_t number) {
    if (number < 0) add('-');
    add_number(number < 0 ? 0 - static_cast<std::uint64_t>(number)
                          : static_cast<std::uint64_t>(number));
}

void Writer::add_ip(const std::uint8_t* ip) {
    bl_addr address{};
    std::memcpy(address.byte, ip, sizeof address.byte);
    if (is_v4(address)) {
        for (int i = 12; i < 16; ++i) {
            if (i != 12) add('.');
            add_number(ip[i]);
        }
        return;
    }
    // RFC 5952: the longest run of two or more zero groups is folded.
    unsigned groups[8];
    for (int i = 0; i < 8; ++i)
        groups[i] = ip[2 * i] * 256U + ip[2 * i + 1];
    int best = -1, length = 1;
    for (int i = 0; i < 8; ++i) {
        int end = i;
        while (end < 8 && groups[end] == 0)
            ++end;
        if (end - i > length) {
            best = i;
            length = end - i;
        }
    }
    for (int i = 0; i < 8; ++i) {
        if (i == best) {
            add("::");
            i += length - 1;
            continue;
        }
        if (i != 0 && i != best + length) add(':');
        add_number(groups[i], 16);
    }
}

const Process* Scene::ancestor(std::size_t generation) {
    if (generation == 0) return process;
    if (generation <= ancestors_known) return ancestors[generation - 1];
    const Process* at = ancestors_known == 0 ? process : ancestors[ancestors_known - 1];
    std::size_t reached_generation = ancestors_known;
    while (at != nullptr && reached_generation < generation && reached_generation < kDeepest) {
        at = at->parent;
        ++reached_generation;
        if (at != nullptr && reached_generation <= ancestors.size() &&
            reached_generation == ancestors_known + 1) {
            ancestors[ancestors_known++] = at;
        }
    }
    return reached_generation == generation ? at : nullptr;
}

std::string_view absolute_path(Scene& scene, std::string_view asked, std::string_view base) {
    if (is_normal(asked)) return asked;
    const bool relative = asked.empty() || asked.front() != '/';
    if (relative && base.empty() && scene.process != nullptr) base = scene.process->cwd;
    if (relative && base.empty()) return asked;
    Writer out(scene.arena);
    if (relative) add_components(out, base);
    add_components(out, asked);
    if (out.empty()) out.add('/');
    return out.finish();
}

const FdView& fd_view(Scene& scene) {
    const unsigned which = scene.reached ? 1 : 0;
    FdView& view = scene.fd[which];
    if (scene.fd_known[which]) return view;
    scene.fd_known[which] = true;
    view = FdView{};
    view.protocol = "<NA>";
    view.type = "<NA>";
    const Event& event = *scene.event;
    const std::uint16_t kind = event.head.kind;
    if (!kind_has_fd(kind)) return view;
    view.present = true;
    if (event.socket != nullptr) {
        view_socket(scene, *event.socket, view);
        return view;
    }
    switch (kind) {
    case BL_EVENT_socket: {
        const std::uint64_t family = event.head.num[0];
        if (family == kInet) set_type(view, '4', "ipv4");
        if (family == kInet6) set_type(view, '6', "ipv6");
        if (family == kUnix) set_type(view, 'u', "unix");
        if (family == kNetlink) set_type(view, 'n', "netlink");
        return view;
    }
    case BL_EVENT_memfd_create:
        set_type(view, 'm', "memfd");
        if (event.has(BL_STR_PATH)) {
            Writer out(scene.arena);
            out.add("memfd:");
            out.add(event.text[BL_STR_PATH]);
            view.name = view.raw = out.finish();
            view.has_name = true;
        }
        return view;
    case BL_EVENT_userfaultfd: set_type(view, 'u', "userfaultfd"); return view;
    case BL_EVENT_bpf: set_type(view, 'b', "bpf"); return view;
    case BL_EVENT_io_uring_setup: set_type(view, 'r', "io_uring"); return view;
    case BL_EVENT_pidfd_open: set_type(view, 'P', "pidfd"); return view;
    case BL_EVENT_pipe:
    case BL_EVENT_pipe2: set_type(view, 'p', "pipe"); return view;
    default: break;
    }
    if (kind_is_open(kind)) {
        view_path(scene, view, true);
    } else if (event.file != nullptr || event.has(BL_STR_RESOLVED)) {
        view_path(scene, view, false);
    } else if (kind_is_socket(kind)) {
        // Not an IP socket, and nothing is known of it.
    } else if (event.has(BL_STR_PATH) && kind_shape(kind) == BL_SHAPE_fd) {
        set_type(view, 'u', "unix");
        view.name = view.raw = event.text[BL_STR_PATH];
        view.has_name = true;
    }
    return view;
}

} // namespace beeline::security::engine
