// fd.*
#include <algorithm>

#include "security/engine/fields.h"
#include "security/engine/names.h"

namespace beeline::security::engine {
namespace {

constexpr std::uint8_t kNothing[16] = {};

template <bool (*get)(Scene&, const FdView&, Value&)>
bool of_fd(Scene& scene, const Field&, Cursor&, Value& out) {
    const FdView& view = fd_view(scene);
    return view.present && get(scene, view, out);
}

bool number(Value& out, std::uint64_t value) {
    out.number = value;
    return true;
}

bool descriptor(Scene& s, const FdView&, Value& v) {
    const bl_event& head = s.event->head;
    // A failed call made no descriptor: -1, whatever the error.
    if (kind_makes_fd(head.kind))
        return number(v, head.result < 0 ? ~std::uint64_t{0}
                                         : static_cast<std::uint64_t>(head.result));
    if (head.kind == BL_EVENT_pipe || head.kind == BL_EVENT_pipe2) return false;
    return number(v, static_cast<std::uint64_t>(
                         static_cast<std::int64_t>(static_cast<std::int32_t>(head.num[0]))));
}
bool type(Scene&, const FdView& fd, Value& v) {
    v.text = fd.type;
    return true;
}
bool type_char(Scene&, const FdView& fd, Value& v) {
    v.text = {&fd.typechar, 1};
    return true;
}
bool name(Scene&, const FdView& fd, Value& v) {
    v.text = fd.name;
    return fd.has_name;
}
bool raw_name(Scene&, const FdView& fd, Value& v) {
    v.text = fd.raw;
    return fd.has_name;
}
bool directory(Scene&, const FdView& fd, Value& v) {
    if (!fd.file || !fd.has_name) return false;
    if (fd.directory) {
        v.text = fd.name;
        return true;
    }
    const std::size_t slash = fd.name.rfind('/');
    if (slash == std::string_view::npos) {
        v.text = "/";
        return true;
    }
    v.text = fd.name.substr(0, slash == 0 ? 1 : slash);
    return true;
}
bool file_name(Scene&, const FdView& fd, Value& v) {
    if (!fd.file || fd.directory || !fd.has_name) return false;
    const std::size_t slash = fd.name.rfind('/');
    v.text = slash == std::string_view::npos ? fd.name : fd.name.substr(slash + 1);
    return true;
}
bool container_name(Scene& s, const FdView& fd, Value& v) {
    if (!fd.has_name) return false;
    Writer out(s.arena);
    out.add(s.process != nullptr && s.process->container ? s.process->container->id : "host");
    out.add(':');
    out.add(fd.name);
    v.text = out.finish();
    return true;
}
bool container_directory(Scene& s, const FdView& fd, Value& v) {
    Value dir;
    if (!directory(s, fd, dir)) return false;
    Writer out(s.arena);
    out.add(s.process != nullptr && s.process->container ? s.process->container->id : "host");
    out.add(':');
    out.add(dir.text);
    v.text = out.finish();
    return true;
}
bool protocol(Scene&, const FdView& fd, Value& v) {
    v.text = fd.protocol;
    return true;
}
bool socket_family(Scene&, const FdView& fd, Value& v) {
    if (fd.socket || fd.typechar == '4' || fd.typechar == '6') {
        v.text = "ip";
        return true;
    }
    if (fd.type != "unix") return false;
    v.text = "unix";
    return true;
}
bool connected(Scene& s, const FdView& fd, Value& v) {
    const bl_event_sock* socket = s.event->socket;
    const bool is =
        socket != nullptr &&
        ((socket->flags & (BL_SOCK_CONNECTED | BL_SOCK_ACCEPTED)) != 0 ||
         s.event->head.kind == BL_EVENT_accept || s.event->head.kind == BL_EVENT_accept4 ||
         (s.event->head.kind == BL_EVENT_connect &&
          (s.event->head.result >= 0 || s.event->head.result == -115)));
    return fd.type != "<NA>" && number(v, is);
}
bool name_changed(Scene& s, const FdView&, Value& v) {
    return number(v, (s.event->head.flags & BL_EVENT_NAME_CHANGED) != 0);
}
bool is_server(Scene&, const FdView& fd, Value& v) {
    return fd.socket && number(v, fd.listening || fd.role == FdView::Role::server);
}
bool is_upper(Scene& s, const FdView& fd, Value& v) {
    return fd.file &&
           number(v, s.event->file != nullptr && (s.event->file->flags & BL_FILE_UPPER) != 0);
}
bool is_lower(Scene& s, const FdView& fd, Value& v) {
    return fd.file &&
           number(v, s.event->file != nullptr && (s.event->file->flags & BL_FILE_LOWER) != 0);
}
bool device(Scene& s, const FdView&, Value& v) {
    return s.event->file != nullptr && number(v, s.event->file->dev);
}
bool device_major(Scene& s, const FdView&, Value& v) {
    return s.event->file != nullptr && number(v, s.event->file->dev >> 20);
}
bool device_minor(Scene& s, const FdView&, Value& v) {
    return s.event->file != nullptr && number(v, s.event->file->dev & 0xfffff);
}
bool inode(Scene& s, const FdView&, Value& v) {
    return s.event->file != nullptr && number(v, s.event->file->ino);
}

// The ends of a connection. A listening or bound socket has one, its own, on the server's side.
enum class End : std::uint8_t { local, remote, client, server };

bool end_address(Scene& s, const FdView& fd, End end, const std::uint8_t*& ip,
                 std::uint64_t& port) {
    if (!fd.socket || !fd.has_name) return false;
    const bl_event_sock& socket = *s.event->socket;
    const bool one = fd.listening || (std::memcmp(socket.remote.byte, kNothing, 16) == 0 &&
                                      socket.remote_port == 0);
    bool local = end == End::local;
    if (one) {
        if (end == End::remote || end == End::client) return false;
        local = true;
    } else if (end == End::client || end == End::server) {
        if (fd.role == FdView::Role::none) return false;
        local = (end == End::client) == (fd.role == FdView::Role::client);
    }
    ip = local ? socket.local.byte : socket.remote.byte;
    port = __builtin_bswap16(local ? socket.local_port : socket.remote_port);
    return true;
}

template <End end>
bool ip(Scene& s, const FdView& fd, Value& v) {
    return end_address(s, fd, end, v.ip, v.number);
}
template <End end>
bool port(Scene& s, const FdView& fd, Value& v) {
    return end_address(s, fd, end, v.ip, v.number);
}
template <End end>
bool end_protocol(Scene& s, const FdView& fd, Value& v) {
    if (!end_address(s, fd, end, v.ip, v.number)) return false;
    Writer out(s.arena);
    out.add_number(v.number);
    v.text = out.finish();
    return true;
}

// fd.ip and the like: first one end, then the other.
bool both(Scene& scene, const Field&, Cursor& cursor, Value& out) {
    const FdView& view = fd_view(scene);
    if (!view.present) return false;
    while (cursor.index < 2)
        if (end_address(scene, view, cursor.index++ == 0 ? End::local : End::remote, out.ip,
                        out.number))
            return true;
    return false;
}
bool both_protocols(Scene& scene, const Field& field, Cursor& cursor, Value& out) {
    if (!both(scene, field, cursor, out)) return false;
    Writer text(scene.arena);
    text.add_number(out.number);
    out.text = text.finish();
    return true;
}

// Names: only where they were looked up; the address stands for them in comparisons.
template <End end>
bool host_name(Scene& s, const FdView& fd, Value& v) {
    if (!end_address(s, fd, end, v.ip, v.number)) return false;
    Writer out(s.arena);
    out.add_ip(v.ip);
    const std::string_view address = out.finish();
    for (const auto& [known, addresses] : s.host->resolved)
        if (std::find(addresses.begin(), addresses.end(), address) != addresses.end()) {
            v.text = known;
            break;
        }
    return true;
}

bool has_fd(std::uint16_t kind, std::string_view) { return kind_has_fd(kind); }
bool has_socket(std::uint16_t kind, std::string_view) {
    return kind_is_socket(kind) || kind_shape(kind) == BL_SHAPE_fd ||
           kind_shape(kind) == BL_SHAPE_io;
}
bool never(std::uint16_t, std::string_view) { return false; }
bool absent(Scene&, const Field&, Cursor&, Value&) { return false; }

constexpr unsigned kEnds = kNoRight | kNoTransform;

#define BL_ONE(field, type, get, applies, says)                                                    \
    {field, Type::type, Many::one, Takes::nothing, 0, of_fd<get>, applies, says}
#define BL_PATH(field, type, get, applies, says)                                                   \
    {field, Type::type, Many::one, Takes::nothing, kPathView | kPathType, of_fd<get>, applies, says}

constexpr FieldRow kFields[] = {
    BL_ONE("fd.num", int64, descriptor, has_fd, "number of the descriptor; -1 if none was made"),
    BL_ONE("fd.type", text, type, has_fd,
           "file, directory, ipv4, ipv6, unix, pipe, netlink, memfd, bpf, userfaultfd, io_uring, "
           "pidfd"),
    BL_ONE("fd.typechar", text, type_char, has_fd,
           "f file, d directory, 4 ipv4, 6 ipv6, u unix and userfaultfd, p pipe, n netlink, m "
           "memfd, b bpf, r io_uring, P pidfd, ? unknown"),
    BL_PATH("fd.name", path, name, has_fd,
            "absolute path with . and .. folded by text; a rule also matches if the file that was "
            "reached does. Sockets: client:port->server:port"),
    BL_PATH("fd.nameraw", text, raw_name, has_fd, "path as it was asked for"),
    BL_PATH("fd.directory", path, directory, has_fd, "path up to the last slash"),
    BL_PATH("fd.filename", path, file_name, has_fd, "path after the last slash; files only"),
    BL_PATH("fd.containername", text, container_name, has_fd, "container id, a colon, and fd.name"),
    BL_PATH("fd.containerdirectory", text, container_directory, has_fd,
            "container id, a colon, and fd.directory"),
    {"fd.ip", Type::ip, Many::ends, Takes::nothing, kEnds | kFilterOnly, both, has_socket,
     "either address of a connection"},
    BL_ONE("fd.cip", ip, ip<End::client>, has_socket, "address of the client"),
    BL_ONE("fd.sip", ip, ip<End::server>, has_socket, "address of the server"),
    BL_ONE("fd.lip", ip, ip<End::local>, has_socket, "address of this side"),
    BL_ONE("fd.rip", ip, ip<End::remote>, has_socket, "address of the other side"),
    {"fd.net", Type::net, Many::ends, Takes::nothing, kEnds | kFilterOnly, both, has_socket,
     "either address, compared with networks"},
    {"fd.cnet", Type::net, Many::one, Takes::nothing, kEnds, of_fd<ip<End::client>>, has_socket,
     "address of the client, compared with networks"},
    {"fd.snet", Type::net, Many::one, Takes::nothing, kEnds, of_fd<ip<End::server>>, has_socket,
     "address of the server, compared with networks"},
    {"fd.lnet", Type::net, Many::one, Takes::nothing, kEnds, of_fd<ip<End::local>>, has_socket,
     "address of this side, compared with networks"},
    {"fd.rnet", Type::net, Many::one, Takes::nothing, kEnds, of_fd<ip<End::remote>>, has_socket,
     "address of the other side, compared with networks"},
    {"fd.port", Type::port, Many::ends, Takes::nothing, kEnds | kFilterOnly, both, has_socket,
     "either port of a connection"},
    BL_ONE("fd.cport", port, port<End::client>, has_socket, "port of the client"),
    BL_ONE("fd.sport", port, port<End::server>, has_socket, "port of the server"),
    BL_ONE("fd.lport", port, port<End::local>, has_socket, "port of this side"),
    BL_ONE("fd.rport", port, port<End::remote>, has_socket, "port of the other side"),
    BL_ONE("fd.l4proto", text, protocol, has_fd, "tcp, udp, icmp, raw, or <NA>"),
    {"fd.proto", Type::port, Many::ends, Takes::nothing, kEnds | kFilterOnly, both_protocols,
     has_socket, "either port, by number or name of a service"},
    {"fd.cproto", Type::port, Many::one, Takes::nothing, kEnds, of_fd<port<End::client>>,
     has_socket, "port of the client, by number or name of a service"},
    {"fd.sproto", Type::port, Many::one, Takes::nothing, kEnds, of_fd<port<End::server>>,
     has_socket, "port of the server, by number or name of a service"},
    {"fd.lproto", Type::port, Many::one, Takes::nothing, kEnds, of_fd<port<End::local>>, has_socket,
     "port of this side, by number or name of a service"},
    {"fd.rproto", Type::port, Many::one, Takes::nothing, kEnds, of_fd<port<End::remote>>,
     has_socket, "port of the other side, by number or name of a service"},
    BL_ONE("fd.sockfamily", text, socket_family, has_fd, "ip or unix"),
    BL_ONE("fd.is_server", boolean, is_server, has_socket, "this side is the server"),
    {"fd.uid", Type::text, Many::one, Takes::nothing, kDeprecated, absent, never,
     "not made: always absent"},
    BL_ONE("fd.connected", boolean, connected, has_fd, "the socket is connected"),
    BL_ONE("fd.name_changed", boolean, name_changed, has_fd,
           "this event made fd.name another one: a datagram to or from a new peer"),
    {"fd.cip.name", Type::text, Many::one, Takes::nothing, kEnds | kHostNames,
     of_fd<host_name<End::client>>, has_socket, "name of the client, looked up in the background"},
    {"fd.sip.name", Type::text, Many::one, Takes::nothing, kEnds | kHostNames,
     of_fd<host_name<End::server>>, has_socket, "name of the server, looked up in the background"},
    {"fd.lip.name", Type::text, Many::one, Takes::nothing, kEnds | kHostNames,
     of_fd<host_name<End::local>>, has_socket, "name of this side, looked up in the background"},
    {"fd.rip.name", Type::text, Many::one, Takes::nothing, kEnds | kHostNames,
     of_fd<host_name<End::remote>>, has_socket,
     "name of the other side, looked up in the background"},
    BL_ONE("fd.dev", uint64, device, has_fd, "device of the file"),
    BL_ONE("fd.dev.major", uint64, device_major, has_fd, "its major number"),
    BL_ONE("fd.dev.minor", uint64, device_minor, has_fd, "its minor number"),
    BL_ONE("fd.ino", uint64, inode, has_fd, "inode of the file"),
    BL_ONE("fd.is_upper_layer", boolean, is_upper, has_fd, "in the upper layer of an overlay"),
    BL_ONE("fd.is_lower_layer", boolean, is_lower, has_fd, "in a lower layer of an overlay"),
    {"fd.types", Type::text, Many::one, Takes::nothing, kDeprecated, absent, never,
     "only for poll: always absent"},
};

#undef BL_ONE
#undef BL_PATH

} // namespace

std::span<const FieldRow> fd_fields() { return kFields; }

} // namespace beeline::security::engine
