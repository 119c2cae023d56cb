#include "api/server/listen.h"

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/log.h"

namespace beeline::api {
namespace {

constexpr int kBacklog = 512;

Fd unix_socket() { return Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

std::optional<gid_t> find_group(const std::string& name) {
    std::vector<char> buffer(16384);
    group entry{};
    group* found = nullptr;
    if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
        found == nullptr)
        return {};
    return entry.gr_gid;
}

// Removes what a dead server left behind.
Result<> clear_the_way(const std::string& path, const sockaddr_un& address) {
    struct stat file{};
    if (::lstat(path.c_str(), &file) != 0) {
        if (errno == ENOENT) return {};
        return fail_errno(errno, path);
    }
    if (!S_ISSOCK(file.st_mode))
        return fail(Code::exists, "{} exists and is no socket: remove it", path);
    const Fd probe = unix_socket();
    if (!probe) return fail_errno(errno, "socket");
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
        errno == EAGAIN)
        return fail(
            Code::exists,
            "another beelined answers on {}: stop it, or give this one an --instance of its own",
            path);
    if (errno != ECONNREFUSED) return fail_errno(errno, "connect to " + path);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno(errno, "unlink " + path);
    return {};
}

} // namespace

Result<Fd> listen_unix(const std::string& path, const std::string& group) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path))
        return fail(Code::invalid, "the socket path '{}' is longer than {} characters", path,
                    sizeof(address.sun_path) - 1);
    std::memcpy(address.sun_path, path.data(), path.size());

    std::error_code error;
    const auto folder = std::filesystem::path(path).parent_path();
    std::filesystem::create_directories(folder, error);
    if (error) return fail_errno(error.value(), "create " + folder.string());
    TRY(clear_the_way(path, address));

    Fd fd = unix_socket();
    if (!fd) return fail_errno(errno, "socket");
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return fail_errno(errno, "bind to " + path);
    // Nobody can connect before listen(), so the mode is right before it matters.
    if (::chmod(path.c_str(), 0660) != 0) return fail_errno(errno, "chmod " + path);
    if (const auto gid = find_group(group)) {
        if (::chown(path.c_str(), static_cast<uid_t>(-1), *gid) != 0)
            log_warn("the group of the socket could not be set", kv("socket", path),
                     kv("group", group), kv("error", std::strerror(errno)));
    }
    if (::listen(fd.get(), kBacklog) != 0) return fail_errno(errno, "listen on " + path);
    return fd;
}

Result<TcpAddress> TcpAddress::parse(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    std::string_view host = text.substr(0, std::min(colon, text.size()));
    const bool bracketed = host.starts_with('[') && host.ends_with(']');
    if (bracketed) host = host.substr(1, host.size() - 2);
    const auto ip = net::Ip::parse(host);
    TcpAddress address;
    if (colon != std::string_view::npos && ip && ip->is_v4() != bracketed) {
        const auto digits = text.substr(colon + 1);
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), address.port);
        if (error == std::errc{} && end == digits.data() + digits.size() && address.port != 0) {
            address.ip = *ip;
            return address;
        }
    }
    return fail(Code::invalid,
                "'{}' is not an address and a port, like 127.0.0.1:12000 or [::1]:12000", text);
}

bool TcpAddress::is_loopback() const {
    return ip.is_v4() ? ip.bytes[12] == 127 : ip == net::Ip::parse("::1").value();
}

std::string TcpAddress::to_string() const {
    return fmt::format(fmt::runtime(ip.is_v4() ? "{}:{}" : "[{}]:{}"), ip.to_string(), port);
}

Result<Fd> listen_tcp(const TcpAddress& address) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&v4.sin_addr, address.ip.bytes.data() + 12, 4);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    std::memcpy(&v6.sin6_addr, address.ip.bytes.data(), 16);
    const bool is_v4 = address.ip.is_v4();
    Fd fd(::socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno(errno, "socket");
    const int on = 1;
    ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!is_v4) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    const auto* place =
        is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
    if (::bind(fd.get(), place, is_v4 ? sizeof(v4) : sizeof(v6)) != 0)
        return fail_errno(errno, "bind to " + address.to_string());
    if (::listen(fd.get(), kBacklog) != 0)
        return fail_errno(errno, "listen on " + address.to_string());
    return fd;
}

SocketFile::SocketFile(std::string path) : path_(std::move(path)) {
    struct stat file{};
    if (::lstat(path_.c_str(), &file) != 0) return;
    device_ = file.st_dev;
    inode_ = file.st_ino;
}

void SocketFile::remove() const {
    struct stat file{};
    if (path_.empty() || ::lstat(path_.c_str(), &file) != 0) return;
    if (file.st_dev == device_ && file.st_ino == inode_) ::unlink(path_.c_str());
}

} // namespace beeline::api
