#include "cli/connectivity/far_end.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "cli/connectivity/dns.h"
#include "cli/connectivity/socket.h"

namespace beeline::cli {
namespace {

constexpr std::size_t kMostConnections = 4096;
constexpr std::size_t kLongestLine = 1024;
constexpr std::size_t kMostBulk = 64U << 20;
constexpr std::uint16_t kDnsPort = 53;

} // namespace

Result<std::pair<std::string, std::vector<net::Ip>>> parse_dns_name(std::string_view text) {
    const auto equal = text.find('=');
    if (equal == std::string_view::npos || equal == 0)
        return fail(Code::invalid, "'{}' is not NAME=ADDRESS,...", text);
    std::pair<std::string, std::vector<net::Ip>> result{std::string(text.substr(0, equal)), {}};
    auto rest = text.substr(equal + 1);
    while (!rest.empty()) {
        const auto one = rest.substr(0, rest.find(','));
        result.second.push_back(TRY(net::Ip::parse(one)));
        rest.remove_prefix(std::min(rest.size(), one.size() + 1));
    }
    return result;
}

Result<std::uint16_t> FarEnd::add(const net::Ip* address, std::uint16_t port, int type, bool dns) {
    const bool v4 = address != nullptr && address->is_v4();
    Socket socket;
    socket.kind = type == SOCK_STREAM ? Kind::listen : Kind::udp;
    socket.dns = dns;
    socket.fd = Fd(::socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket.fd) return fail_errno(errno, "socket");
    const int on = 1;
    const int off = 0;
    if (type == SOCK_STREAM)
        ::setsockopt(socket.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!v4)
        ::setsockopt(socket.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, address == nullptr ? &off : &on,
                     sizeof(on));
    const auto local = socket_address(address != nullptr ? *address : net::Ip{}, port);
    if (::bind(socket.fd.get(), local.get(), local.length) != 0)
        return fail_errno(errno,
                          fmt::format("{} port {}", type == SOCK_STREAM ? "TCP" : "UDP", port));
    if (type == SOCK_STREAM && ::listen(socket.fd.get(), 1024) != 0)
        return fail_errno(errno, "listen");
    const auto bound = local_address(socket.fd.get()).port;
    sockets_.push_back(std::move(socket));
    return bound;
}

Result<> FarEnd::add_all(std::uint16_t port, int type, bool dns,
                         std::vector<std::uint16_t>& ports) {
    if (plan_.bind.empty()) {
        ports.push_back(TRY(add(nullptr, port, type, dns)));
        return {};
    }
    // A port of our choice is then the same on every address.
    for (const auto& address : plan_.bind)
        port = TRY(add(&address, port, type, dns));
    ports.push_back(port);
    return {};
}

Result<FarEnd> FarEnd::open(const FarEndPlan& plan) {
    FarEnd end(plan);
    for (const auto port : plan.tcp)
        TRY(end.add_all(port, SOCK_STREAM, false, end.tcp_ports_));
    for (const auto port : plan.udp)
        TRY(end.add_all(port, SOCK_DGRAM, false, end.udp_ports_));
    if (plan.dns) {
        TRY(end.add_all(kDnsPort, SOCK_STREAM, true, end.tcp_ports_));
        TRY(end.add_all(kDnsPort, SOCK_DGRAM, true, end.udp_ports_));
    }
    return end;
}

std::string FarEnd::answer_dns(std::string_view question, std::size_t limit) const {
    const auto asked = parse_dns_question(question);
    if (!asked) return {};
    const auto found = plan_.dns_names.find(asked->name);
    if (found == plan_.dns_names.end()) return write_dns_answer(*asked, 3, {}, limit);
    return write_dns_answer(*asked, 0, found->second, limit);
}

void FarEnd::accept(std::size_t index) {
    for (;;) {
        SocketAddress peer;
        Fd fd(::accept4(sockets_[index].fd.get(), peer.get(), &peer.length,
                        SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (!fd) return;
        if (sockets_.size() >= kMostConnections) continue; // closed at once
        Socket socket;
        socket.fd = std::move(fd);
        socket.kind = Kind::connection;
        socket.dns = sockets_[index].dns;
        socket.peer = endpoint_of(peer).address.to_string();
        sockets_.push_back(std::move(socket));
    }
}

void FarEnd::answer_datagrams(Socket& socket) {
    static std::array<char, 65536> buffer;
    for (;;) {
        SocketAddress peer;
        const auto size =
            ::recvfrom(socket.fd.get(), buffer.data(), buffer.size(), 0, peer.get(), &peer.length);
        if (size < 0) return;
        const std::string_view text(buffer.data(), static_cast<std::size_t>(size));
        std::string answer;
        if (socket.dns) {
            answer = answer_dns(text, kDnsUdpLimit);
            if (answer.empty()) continue;
        } else {
            answer = plan_.name + " " + endpoint_of(peer).address.to_string() + "\n";
            answer.resize(std::max(answer.size(), text.size()), '\0');
        }
        ::sendto(socket.fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL, peer.get(),
                 peer.length);
    }
}

void FarEnd::take_lines(Socket& socket) {
    for (auto end = socket.in.find('\n'); end != std::string::npos; end = socket.in.find('\n')) {
        const std::string line = socket.in.substr(0, end);
        socket.in.erase(0, end + 1);
        std::size_t count = 0;
        if (line.starts_with("bulk ") &&
            std::from_chars(line.data() + 5, line.data() + line.size(), count).ec == std::errc()) {
            socket.out.append(std::min(count, kMostBulk), 'x');
        } else {
            socket.out += plan_.name + " " + socket.peer + "\n";
        }
    }
    if (socket.in.size() > kLongestLine) socket.fd.reset();
}

void FarEnd::take_questions(Socket& socket) {
    while (socket.in.size() >= 2) {
        const std::size_t length =
            static_cast<std::uint8_t>(socket.in[0]) << 8 | static_cast<std::uint8_t>(socket.in[1]);
        if (socket.in.size() < 2 + length) return;
        const auto answer = answer_dns(std::string_view(socket.in).substr(2, length), 65535);
        socket.in.erase(0, 2 + length);
        socket.out += static_cast<char>(answer.size() >> 8);
        socket.out += static_cast<char>(answer.size() & 0xff);
        socket.out += answer;
    }
}

void FarEnd::read(Socket& socket) {
    std::array<char, 4096> buffer;
    const auto size = ::recv(socket.fd.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) {
        if (size == 0 || (errno != EAGAIN && errno != EINTR)) socket.fd.reset();
        return;
    }
    socket.in.append(buffer.data(), static_cast<std::size_t>(size));
    if (socket.dns)
        take_questions(socket);
    else
        take_lines(socket);
}

void FarEnd::write(Socket& socket) {
    const auto size = ::send(socket.fd.get(), socket.out.data(), socket.out.size(), MSG_NOSIGNAL);
    if (size < 0) {
        if (errno != EAGAIN && errno != EINTR) socket.fd.reset();
        return;
    }
    socket.out.erase(0, static_cast<std::size_t>(size));
}

void FarEnd::serve() {
    std::vector<pollfd> polled;
    for (;;) {
        polled.clear();
        for (const auto& socket : sockets_) {
            const short wanted = socket.out.empty() ? POLLIN : POLLOUT;
            polled.push_back({.fd = socket.fd.get(), .events = wanted, .revents = 0});
        }
        if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) ::_exit(1);
        for (std::size_t i = 0; i < polled.size(); ++i) {
            if (polled[i].revents == 0) continue;
            switch (sockets_[i].kind) {
            case Kind::listen: accept(i); break;
            case Kind::udp: answer_datagrams(sockets_[i]); break;
            case Kind::connection:
                if (sockets_[i].out.empty()) read(sockets_[i]);
                if (sockets_[i].fd && !sockets_[i].out.empty()) write(sockets_[i]);
                break;
            }
        }
        std::erase_if(sockets_, [](const Socket& socket) { return !socket.fd; });
    }
}

} // namespace beeline::cli
