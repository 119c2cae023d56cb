#include "cli/connectivity/probe.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "base/fd.h"
#include "cli/connectivity/dns.h"
#include "cli/connectivity/socket.h"

namespace beeline::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kTimeout = "TIMEOUT";
constexpr const char* kClosed = "CLOSED";
constexpr std::string_view kRequest = "hello\n";

std::string error_name(int number) {
    const char* name = ::strerrorname_np(number);
    return name != nullptr ? name : fmt::format("error {}", number);
}

int remaining_ms(Clock::time_point until) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    return left > 0 ? static_cast<int>(left) : 0;
}

// Empty when one of `events`, or an error to be read, has come.
std::string wait_for(int fd, short events, Clock::time_point until) {
    for (;;) {
        pollfd entry{.fd = fd, .events = events, .revents = 0};
        const int rc = ::poll(&entry, 1, remaining_ms(until));
        if (rc > 0) return {};
        if (rc == 0) return kTimeout;
        if (errno != EINTR) return error_name(errno);
    }
}

std::string socket_error(int fd) {
    int number = 0;
    socklen_t length = sizeof(number);
    if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0) number = errno;
    return number == 0 ? std::string() : error_name(number);
}

// Begins to connect; a failure that is known at once goes to `error`.
Fd begin_connect(const net::Ip& address, std::uint16_t port, int type, std::string& error) {
    const auto target = socket_address(address, port);
    Fd fd(::socket(target.storage.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) {
        error = error_name(errno);
    } else if (::connect(fd.get(), target.get(), target.length) != 0 && errno != EINPROGRESS) {
        error = error_name(errno);
    }
    return fd;
}

Fd connect_tcp(const net::Ip& address, std::uint16_t port, Clock::time_point until,
               std::string& error) {
    Fd fd = begin_connect(address, port, SOCK_STREAM, error);
    if (!error.empty()) return fd;
    error = wait_for(fd.get(), POLLOUT, until);
    if (error.empty()) error = socket_error(fd.get());
    return fd;
}

std::string send_all(int fd, std::string_view bytes, Clock::time_point until) {
    while (!bytes.empty()) {
        const auto sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            bytes.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno != EAGAIN && errno != EINTR) {
            return error_name(errno);
        } else if (auto error = wait_for(fd, POLLOUT, until); !error.empty()) {
            return error;
        }
    }
    return {};
}

// Hands bytes to `use` until it says that it has enough.
std::string receive(int fd, Clock::time_point until,
                    const std::function<bool(std::string_view)>& use) {
    std::array<char, 65536> buffer;
    for (;;) {
        if (auto error = wait_for(fd, POLLIN, until); !error.empty()) return error;
        const auto size = ::recv(fd, buffer.data(), buffer.size(), 0);
        if (size == 0) return kClosed;
        if (size < 0) {
            if (errno == EAGAIN || errno == EINTR) continue;
            return error_name(errno);
        }
        if (use({buffer.data(), static_cast<std::size_t>(size)})) return {};
    }
}

// "NAME ADDRESS\n..."
void note_server(ProbeResult& result, std::string_view answer) {
    answer = answer.substr(0, answer.find('\n'));
    const auto space = answer.find(' ');
    const std::string name(answer.substr(0, space));
    if (std::find(result.servers.begin(), result.servers.end(), name) == result.servers.end())
        result.servers.push_back(name);
    if (space != std::string_view::npos) result.client = answer.substr(space + 1);
}

void tcp(const Probe& wanted, Clock::time_point until, ProbeResult& result) {
    std::vector<Fd> connections;
    for (unsigned i = 0; i < wanted.count; ++i) {
        connections.push_back(
            begin_connect(wanted.address, wanted.port, SOCK_STREAM, result.error));
        if (!result.error.empty()) return;
    }
    // They all stay open until the last one is answered.
    for (const auto& connection : connections) {
        result.error = wait_for(connection.get(), POLLOUT, until);
        if (result.error.empty()) result.error = socket_error(connection.get());
        if (result.error.empty()) result.error = send_all(connection.get(), kRequest, until);
        if (!result.error.empty()) return;
    }
    for (const auto& connection : connections) {
        std::string answer;
        result.error = receive(connection.get(), until, [&](std::string_view bytes) {
            answer += bytes;
            return answer.ends_with('\n') || answer.size() > 4096;
        });
        if (!result.error.empty()) return;
        result.bytes += answer.size();
        note_server(result, answer);
    }
}

void bulk(const Probe& wanted, Clock::time_point until, ProbeResult& result) {
    const Fd fd = connect_tcp(wanted.address, wanted.port, until, result.error);
    if (result.error.empty())
        result.error = send_all(fd.get(), fmt::format("bulk {}\n", wanted.size), until);
    if (!result.error.empty()) return;
    result.error = receive(fd.get(), until, [&](std::string_view bytes) {
        result.bytes += bytes.size();
        return result.bytes >= wanted.size;
    });
}

void forbid_fragments(int fd, bool v4) {
    const int how = v4 ? IP_PMTUDISC_DO : IPV6_PMTUDISC_DO;
    ::setsockopt(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &how,
                 sizeof(how));
}

// One datagram and one back, over a socket that is not connected: as many programs do it.
std::string exchange(const Probe& wanted, Clock::time_point until, std::string_view request,
                     std::string& answer, ProbeResult& result) {
    const auto target = socket_address(wanted.address, wanted.port);
    const Fd fd(::socket(target.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return error_name(errno);
    const int on = 1; // so that "refused" is told
    if (wanted.address.is_v4())
        ::setsockopt(fd.get(), IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
    else
        ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
    if (wanted.whole) forbid_fragments(fd.get(), wanted.address.is_v4());
    if (::sendto(fd.get(), request.data(), request.size(), MSG_NOSIGNAL, target.get(),
                 target.length) < 0)
        return error_name(errno);
    answer.resize(65536);
    for (;;) {
        if (auto error = wait_for(fd.get(), POLLIN, until); !error.empty()) return error;
        SocketAddress from;
        const auto size =
            ::recvfrom(fd.get(), answer.data(), answer.size(), 0, from.get(), &from.length);
        if (size < 0) {
            if (errno == EAGAIN || errno == EINTR) continue;
            return error_name(errno);
        }
        answer.resize(static_cast<std::size_t>(size));
        result.bytes = answer.size();
        result.from = endpoint_of(from).address.to_string();
        return {};
    }
}

void udp(const Probe& wanted, Clock::time_point until, ProbeResult& result) {
    std::string request(kRequest);
    request.resize(std::max(wanted.size, request.size()), '\0');
    std::string answer;
    result.error = exchange(wanted, until, request, answer, result);
    if (result.error.empty()) note_server(result, answer);
}

void take_dns(std::string_view message, std::uint16_t id, ProbeResult& result) {
    const auto answer = parse_dns_answer(message);
    if (!answer || answer->id != id) {
        result.error = "not an answer to the question";
        return;
    }
    result.dns_code = answer->code;
    result.truncated = answer->truncated;
    for (const auto& address : answer->addresses)
        result.addresses.push_back(address.to_string());
}

void dns(const Probe& wanted, Clock::time_point until, ProbeResult& result) {
    const DnsQuestion question{static_cast<std::uint16_t>(::getpid()),
                               wanted.address.is_v4() ? kDnsA : kDnsAaaa, wanted.dns_name};
    const auto request = write_dns_question(question);
    std::string answer;
    if (wanted.kind == ProbeKind::dns) {
        result.error = exchange(wanted, until, request, answer, result);
        if (result.error.empty()) take_dns(answer, question.id, result);
        return;
    }
    const Fd fd = connect_tcp(wanted.address, wanted.port, until, result.error);
    std::string framed{static_cast<char>(request.size() >> 8),
                       static_cast<char>(request.size() & 0xff)};
    framed += request;
    if (result.error.empty()) result.error = send_all(fd.get(), framed, until);
    if (!result.error.empty()) return;
    std::size_t length = 0;
    result.error = receive(fd.get(), until, [&](std::string_view bytes) {
        answer += bytes;
        if (answer.size() < 2) return false;
        length = static_cast<std::uint8_t>(answer[0]) << 8 | static_cast<std::uint8_t>(answer[1]);
        return answer.size() >= 2 + length;
    });
    if (!result.error.empty()) return;
    result.bytes = length;
    take_dns(std::string_view(answer).substr(2, length), question.id, result);
}

std::uint16_t internet_checksum(std::string_view bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[i]))
               << (i % 2 == 0 ? 8 : 0);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

// A raw socket, which works wherever the test may change namespaces.
void ping(const Probe& wanted, Clock::time_point until, ProbeResult& result) {
    const bool v4 = wanted.address.is_v4();
    const auto target = socket_address(wanted.address, 0);
    const Fd fd(::socket(target.storage.ss_family, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
                         v4 ? static_cast<int>(IPPROTO_ICMP) : static_cast<int>(IPPROTO_ICMPV6)));
    if (!fd) {
        result.error = error_name(errno);
        return;
    }
    if (wanted.whole) forbid_fragments(fd.get(), v4);
    const auto id = static_cast<std::uint16_t>(::getpid());
    std::string request(8, '\0');
    request[0] = v4 ? static_cast<char>(ICMP_ECHO) : static_cast<char>(ICMP6_ECHO_REQUEST);
    request[4] = static_cast<char>(id >> 8);
    request[5] = static_cast<char>(id & 0xff);
    request[7] = 1;
    request.resize(8 + std::max<std::size_t>(wanted.size, 8), '\0');
    if (v4) { // the kernel computes that of ICMPv6
        const auto sum = internet_checksum(request);
        request[2] = static_cast<char>(sum >> 8);
        request[3] = static_cast<char>(sum & 0xff);
    }
    if (::sendto(fd.get(), request.data(), request.size(), 0, target.get(), target.length) < 0) {
        result.error = error_name(errno);
        return;
    }
    const auto reply = static_cast<char>(v4 ? ICMP_ECHOREPLY : static_cast<int>(ICMP6_ECHO_REPLY));
    result.error = receive(fd.get(), until, [&](std::string_view bytes) {
        if (v4 && !bytes.empty()) // with its IP header
            bytes.remove_prefix(
                std::min(bytes.size(), (static_cast<std::size_t>(bytes[0]) & 0xf) * 4));
        if (bytes.size() < 8 || bytes[0] != reply || bytes.substr(4, 4) != request.substr(4, 4))
            return false;
        result.bytes = bytes.size() - 8;
        return true;
    });
}

} // namespace

ProbeResult probe(const Probe& wanted) {
    ProbeResult result;
    const auto started = Clock::now();
    const auto until = started + wanted.timeout;
    switch (wanted.kind) {
    case ProbeKind::tcp: tcp(wanted, until, result); break;
    case ProbeKind::bulk: bulk(wanted, until, result); break;
    case ProbeKind::udp: udp(wanted, until, result); break;
    case ProbeKind::ping: ping(wanted, until, result); break;
    case ProbeKind::dns:
    case ProbeKind::dns_tcp: dns(wanted, until, result); break;
    }
    result.took_us = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - started).count());
    return result;
}

nlohmann::json to_json(const ProbeResult& result) {
    return {{"error", result.error},         {"servers", result.servers},
            {"client", result.client},       {"from", result.from},
            {"addresses", result.addresses}, {"dns_code", result.dns_code},
            {"truncated", result.truncated}, {"bytes", result.bytes},
            {"took_us", result.took_us}};
}

ProbeResult probe_result_from_json(const nlohmann::json& json) {
    ProbeResult result;
    // Written by to_json in a process of ours; one that was killed leaves nothing.
    if (!json.is_object()) {
        result.error = "the client was killed";
        return result;
    }
    result.error = json.value("error", std::string());
    result.servers = json.value("servers", std::vector<std::string>());
    result.client = json.value("client", std::string());
    result.from = json.value("from", std::string());
    result.addresses = json.value("addresses", std::vector<std::string>());
    result.dns_code = json.value("dns_code", 0);
    result.truncated = json.value("truncated", false);
    result.bytes = json.value("bytes", std::uint64_t{0});
    result.took_us = json.value("took_us", std::uint64_t{0});
    return result;
}

HeldConnection HeldConnection::open(const net::Ip& address, std::uint16_t port,
                                    std::chrono::milliseconds timeout) {
    HeldConnection result;
    result.fd_ = connect_tcp(address, port, Clock::now() + timeout, result.error_).release();
    return result;
}

std::string HeldConnection::request(std::chrono::milliseconds timeout) {
    const auto until = Clock::now() + timeout;
    if (auto error = send_all(fd_, kRequest, until); !error.empty()) return error;
    ++asked_;
    return receive(fd_, until, [this](std::string_view bytes) {
        answered_ += static_cast<std::uint64_t>(std::count(bytes.begin(), bytes.end(), '\n'));
        return answered_ >= asked_;
    });
}

} // namespace beeline::cli
