#include "net/netlink.h"

#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "net/namespace.h"

namespace beeline::net {
namespace {

// So many acknowledgements fit into the receive buffer at once with room to spare.
constexpr std::size_t kBatch = 64;
constexpr std::size_t kReceive = 256 * 1024;
constexpr unsigned kDumpTries = 5;

Result<Fd> open_socket(int family, int flags) {
    Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags, family));
    if (!fd) return fail_errno(errno, "open a netlink socket");
    return fd;
}

Failure failure(const std::string& what, const NetlinkAck& ack) {
    Code code = Code::system;
    switch (ack.number) {
    case EEXIST: code = Code::exists; break;
    case ENODEV:
    case ENOENT:
    case ESRCH:
    case EADDRNOTAVAIL: code = Code::not_found; break;
    case EPERM:
    case EACCES: code = Code::denied; break;
    case EOPNOTSUPP: code = Code::unsupported; break;
    default: break;
    }
    return Failure(Error{code, ack.number,
                         fmt::format("{}: {}{}", what, std::strerror(ack.number),
                                     ack.text.empty() ? "" : " (" + ack.text + ")")});
}

void set_sequence(std::vector<std::uint8_t>& bytes, std::uint32_t sequence) {
    std::memcpy(bytes.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
}

NetlinkRequest link_query(std::string_view name) {
    MessageBuilder message(RTM_GETLINK, NLM_F_REQUEST);
    message.header(ifinfomsg{});
    message.attribute_text(IFLA_IFNAME, name);
    return message.finish(fmt::format("find link {}", name));
}

template <typename T>
NetlinkRequest dump_query(std::uint16_t type, std::string what) {
    MessageBuilder message(type, NLM_F_REQUEST | NLM_F_DUMP);
    message.header(T{});
    return message.finish(std::move(what));
}

} // namespace

Result<Netlink> Netlink::open() { return open_family(NETLINK_ROUTE); }

Result<Netlink> Netlink::open_in(const Namespace& netns) {
    const auto inside = TRY(InNamespace::enter(netns));
    return open();
}

Result<Netlink> Netlink::open_family(int family) {
    Netlink netlink(TRY(open_socket(family, 0)));
    const int on = 1;
    // Both only shorten and explain answers; an old kernel may lack them.
    (void)::setsockopt(netlink.fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
    (void)::setsockopt(netlink.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    return netlink;
}

Result<> Netlink::run(const NetlinkRequest& request) { return run_some(&request, 1); }

Result<> Netlink::run(const std::vector<NetlinkRequest>& requests) {
    Result<> outcome;
    for (std::size_t done = 0; done < requests.size(); done += kBatch) {
        const auto part = run_some(&requests[done], std::min(kBatch, requests.size() - done));
        if (!part && outcome) outcome = part;
    }
    return outcome;
}

Result<> Netlink::run_some(const NetlinkRequest* first, std::size_t count) {
    std::vector<std::uint8_t> bytes;
    const std::uint32_t base = sequence_ + 1;
    for (std::size_t i = 0; i < count; ++i) {
        const auto at = bytes.size();
        bytes.insert(bytes.end(), first[i].bytes.begin(), first[i].bytes.end());
        const std::uint32_t sequence = ++sequence_;
        std::memcpy(bytes.data() + at + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
    }
    if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return fail_errno(errno, first->what);

    Result<> outcome;
    for (std::size_t answered = 0; answered < count;) {
        const std::size_t size = TRY(receive(first->what));
        for_each_message(Bytes(buffer_.data(), size), [&](const NetlinkMessage& message) {
            // Answers to an earlier request that was given up are passed over.
            const std::uint32_t which = message.sequence - base;
            if (message.type != NLMSG_ERROR || which >= count) return true;
            ++answered;
            const auto ack = parse_ack(message);
            if (ack && ack->number != 0 && outcome) outcome = failure(first[which].what, *ack);
            return true;
        });
    }
    return outcome;
}

Result<std::size_t> Netlink::receive(std::string_view what) {
    buffer_.resize(kReceive);
    for (;;) {
        const auto size = ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fail_errno(errno, what);
        if (static_cast<std::size_t>(size) > buffer_.size()) {
            return fail(Code::internal, "{}: the kernel's answer of {} bytes does not fit", what,
                        size);
        }
        return static_cast<std::size_t>(size);
    }
}

Result<> Netlink::query(const NetlinkRequest& request, const Use& use) {
    std::vector<std::uint8_t> bytes = request.bytes;
    const std::uint32_t sequence = ++sequence_;
    set_sequence(bytes, sequence);
    if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0)
        return fail_errno(errno, request.what);

    Result<> outcome;
    bool done = false;
    bool interrupted = false;
    while (!done) {
        const std::size_t size = TRY(receive(request.what));
        for_each_message(Bytes(buffer_.data(), size), [&](const NetlinkMessage& message) {
            if (message.sequence != sequence) return true;
            interrupted = interrupted || (message.flags & NLM_F_DUMP_INTR) != 0;
            if (message.type == NLMSG_DONE) {
                done = true;
                const auto status = message.header<std::int32_t>();
                if (status && *status < 0 && outcome)
                    outcome = failure(request.what, {-*status, {}});
                return false;
            }
            if (message.type == NLMSG_ERROR) {
                done = true;
                const auto ack = parse_ack(message);
                if (!ack || ack->number != 0)
                    outcome = failure(request.what, ack.value_or(NetlinkAck{EBADMSG, {}}));
                return false;
            }
            if (!use(message)) outcome = fail(Code::internal, "{}: malformed answer", request.what);
            done = (message.flags & NLM_F_MULTI) == 0;
            return !done;
        });
    }
    if (outcome && interrupted)
        return Failure(Error{Code::unavailable, EINTR, request.what + ": changed meanwhile"});
    return outcome;
}

namespace {

// A dump during which the tables changed is inconsistent: it is taken again.
template <typename T, typename Parse>
Result<std::vector<T>> dump(Netlink& netlink, const NetlinkRequest& request, Parse parse) {
    for (unsigned attempt = 0;; ++attempt) {
        std::vector<T> all;
        const auto outcome = netlink.query(request, [&](const NetlinkMessage& message) {
            if (auto one = parse(message)) all.push_back(std::move(*one));
            return true;
        });
        if (outcome) return all;
        if (outcome.error().code != Code::unavailable || attempt + 1 == kDumpTries)
            return Failure(outcome.error());
    }
}

} // namespace

Result<std::vector<Link>> Netlink::links() {
    return dump<Link>(*this, dump_query<ifinfomsg>(RTM_GETLINK, "list links"), parse_link);
}

Result<std::vector<InterfaceAddress>> Netlink::addresses() {
    return dump<InterfaceAddress>(*this, dump_query<ifaddrmsg>(RTM_GETADDR, "list addresses"),
                                  parse_address);
}

Result<std::vector<Route>> Netlink::routes() {
    return dump<Route>(*this, dump_query<rtmsg>(RTM_GETROUTE, "list routes"), parse_route);
}

Result<std::vector<Neighbour>> Netlink::neighbours() {
    return dump<Neighbour>(*this, dump_query<ndmsg>(RTM_GETNEIGH, "list neighbours"),
                           parse_neighbour);
}

Result<Link> Netlink::link(std::string_view name) { return link(link_query(name)); }

Result<Link> Netlink::link(std::uint32_t index) {
    ifinfomsg head{};
    head.ifi_index = static_cast<int>(index);
    MessageBuilder message(RTM_GETLINK, NLM_F_REQUEST);
    message.header(head);
    return link(message.finish(fmt::format("find link {}", index)));
}

Result<Link> Netlink::link(NetlinkRequest request) {
    std::optional<Link> link;
    TRY(query(request, [&](const NetlinkMessage& message) {
        link = parse_link(message);
        return link.has_value();
    }));
    if (!link) return fail(Code::internal, "{}: no answer", request.what);
    return std::move(*link);
}

Result<Route> Netlink::route_to(const Ip& ip) {
    MessageBuilder message(RTM_GETROUTE, NLM_F_REQUEST);
    rtmsg head{};
    head.rtm_family = ip.is_v4() ? AF_INET : AF_INET6;
    head.rtm_dst_len = ip.is_v4() ? 32 : 128;
    head.rtm_flags = RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH;
    message.header(head);
    message.attribute_ip(RTA_DST, ip);
    std::optional<Route> route;
    TRY(query(message.finish(fmt::format("find the route to {}", ip.to_string())),
              [&](const NetlinkMessage& answer) {
                  route = parse_route(answer);
                  return route.has_value();
              }));
    if (!route) return fail(Code::not_found, "no route to {}", ip.to_string());
    return *route;
}

Result<std::optional<std::uint32_t>> Netlink::namespace_id(const Namespace& netns) {
    MessageBuilder message(RTM_GETNSID, NLM_F_REQUEST);
    message.header(rtgenmsg{});
    message.attribute_u32(NETNSA_FD, static_cast<std::uint32_t>(netns.fd()));
    std::optional<std::uint32_t> id;
    TRY(query(
        message.finish(fmt::format("find the number of network namespace '{}'", netns.path())),
        [&](const NetlinkMessage& answer) {
            id = answer.attributes<rtgenmsg>().u32(NETNSA_NSID);
            return true;
        }));
    if (id && static_cast<std::int32_t>(*id) < 0) id.reset();
    return id;
}

Result<NetlinkMonitor> NetlinkMonitor::open() {
    Fd fd = TRY(open_socket(NETLINK_ROUTE, SOCK_NONBLOCK));
    sockaddr_nl address{};
    address.nl_family = AF_NETLINK;
    address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) {
        return fail_errno(errno, "listen to network changes");
    }
    return NetlinkMonitor(std::move(fd));
}

Result<std::vector<NetlinkMonitor::Event>> NetlinkMonitor::read() {
    std::vector<Event> events;
    std::vector<std::uint8_t> buffer(64 * 1024);
    const auto size = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_TRUNC);
    if (size < 0) {
        if (errno == EAGAIN || errno == EINTR) return events;
        if (errno == ENOBUFS) return std::vector<Event>{Event{}};
        return fail_errno(errno, "read network changes");
    }
    if (static_cast<std::size_t>(size) > buffer.size()) return std::vector<Event>{Event{}};
    for_each_message(
        Bytes(buffer.data(), static_cast<std::size_t>(size)), [&](const NetlinkMessage& message) {
            Event event;
            if (message.type == RTM_NEWADDR || message.type == RTM_DELADDR) {
                const auto address = parse_address(message);
                if (!address) return true;
                event.kind = message.type == RTM_NEWADDR ? Event::Kind::address_added
                                                         : Event::Kind::address_removed;
                event.index = address->index;
                event.address = *address;
                events.push_back(std::move(event));
            } else if (message.type == RTM_NEWLINK || message.type == RTM_DELLINK) {
                auto link = parse_link(message);
                if (!link) return true;
                event.kind = message.type == RTM_NEWLINK ? Event::Kind::link_changed
                                                         : Event::Kind::link_removed;
                event.index = link->index;
                event.link = std::move(*link);
                events.push_back(std::move(event));
            }
            return true;
        });
    return events;
}

} // namespace beeline::net
