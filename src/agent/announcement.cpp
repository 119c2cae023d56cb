#include "agent/announcement.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/fd.h"

namespace beeline::agent {
namespace {

// Where the way out is asked for when no endpoint says so: nothing is sent there.
constexpr std::string_view kAnywhere4 = "192.0.2.1";
constexpr std::string_view kAnywhere6 = "2001:db8::1";

std::optional<net::Ip> host_of(std::string_view url) {
    const auto begin = url.find("://");
    if (begin == std::string_view::npos) return std::nullopt;
    url.remove_prefix(begin + 3);
    url = url.substr(0, url.rfind(':'));
    if (url.starts_with('[') && url.ends_with(']')) url = url.substr(1, url.size() - 2);
    const auto ip = net::Ip::parse(url);
    return ip ? std::optional(*ip) : std::nullopt;
}

// The address that packets to `target` leave with.
std::optional<net::Ip> address_towards(const net::Ip& target) {
    const bool v4 = target.is_v4();
    const Fd fd(socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd) return std::nullopt;
    sockaddr_storage address{};
    socklen_t size = v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    address.ss_family = v4 ? AF_INET : AF_INET6;
    auto* four = reinterpret_cast<sockaddr_in*>(&address);
    auto* six = reinterpret_cast<sockaddr_in6*>(&address);
    if (v4) {
        four->sin_port = htons(9);
        std::memcpy(&four->sin_addr, target.bytes.data() + 12, 4);
    } else {
        six->sin6_port = htons(9);
        std::memcpy(&six->sin6_addr, target.bytes.data(), 16);
    }
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (connect(fd.get(), any, size) != 0 || getsockname(fd.get(), any, &size) != 0)
        return std::nullopt;
    if (v4) return net::Ip::v4(ntohl(four->sin_addr.s_addr));
    net::Ip out;
    std::memcpy(out.bytes.data(), &six->sin6_addr, 16);
    return out;
}

} // namespace

std::vector<net::Ip> node_addresses(const Config& config, const std::vector<net::Ip>& host) {
    if (!config.source.etcd.addresses.empty()) return config.source.etcd.addresses;
    // Gateways of the workloads are on every machine's inside.
    const auto usable = [&](const net::Ip& ip) {
        return std::find(host.begin(), host.end(), ip) != host.end() &&
               !(config.range4 && config.range4->contains(ip)) &&
               !(config.range6 && config.range6->contains(ip));
    };
    std::vector<net::Ip> out;
    for (const bool v4 : {true, false}) {
        std::vector<net::Ip> targets;
        for (const auto& url : config.source.etcd.endpoints) {
            const auto ip = host_of(url);
            if (ip && ip->is_v4() == v4) targets.push_back(*ip);
        }
        targets.push_back(net::Ip::parse(v4 ? kAnywhere4 : kAnywhere6).value());
        std::optional<net::Ip> found;
        for (const auto& target : targets) {
            if (found) break;
            found = address_towards(target);
            if (found && !usable(*found)) found.reset();
        }
        if (!found) {
            const auto first = std::find_if(host.begin(), host.end(), [&](const net::Ip& ip) {
                return ip.is_v4() == v4 && usable(ip);
            });
            if (first != host.end()) found = *first;
        }
        if (found) out.push_back(*found);
    }
    return out;
}

source::Announcement announcement(const Config& config, const std::vector<net::Ip>& host,
                                  const std::vector<model::Workload>& workloads) {
    source::Announcement out;
    out.node.name = config.node;
    out.node.labels = {{"kubernetes.io/hostname", config.node}};
    out.node.addresses = node_addresses(config, host);
    for (const auto& range : {config.range4, config.range6})
        if (range) out.node.pod_ranges.push_back(*range);
    out.workloads = workloads;
    return out;
}

} // namespace beeline::agent
