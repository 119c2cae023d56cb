#include "net/sock_diag.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include "net/namespace.h"

namespace beeline::net {
namespace {

Ip from_words(std::uint8_t family, const std::uint32_t* words) {
    if (family == AF_INET) return Ip::v4(ntohl(words[0]));
    Ip ip;
    std::memcpy(ip.bytes.data(), words, ip.bytes.size());
    return ip;
}

void to_words(std::uint8_t family, const Ip& ip, std::uint32_t* words) {
    if (family == AF_INET) {
        words[0] = htonl(ip.v4_host_order());
    } else {
        std::memcpy(words, ip.bytes.data(), ip.bytes.size());
    }
}

std::optional<Socket> parse_socket(std::uint8_t protocol, const NetlinkMessage& message) {
    const auto head = message.header<inet_diag_msg>();
    if (!head || (head->idiag_family != AF_INET && head->idiag_family != AF_INET6)) return {};
    return Socket{.protocol = protocol,
                  .local = from_words(head->idiag_family, head->id.idiag_src),
                  .local_port = ntohs(head->id.idiag_sport),
                  .remote = from_words(head->idiag_family, head->id.idiag_dst),
                  .remote_port = ntohs(head->id.idiag_dport),
                  .state = head->idiag_state,
                  .inode = head->idiag_inode,
                  .family = head->idiag_family,
                  .interface = head->id.idiag_if,
                  .cookie = {head->id.idiag_cookie[0], head->id.idiag_cookie[1]}};
}

NetlinkRequest list_request(std::uint8_t family, const SocketFilter& filter) {
    inet_diag_req_v2 head{};
    head.sdiag_family = family;
    head.sdiag_protocol = filter.protocol;
    head.idiag_states = ~0U;
    // The kernel itself filters by ports; addresses are compared here, for IPv4 sockets come in two families.
    head.id.idiag_sport = htons(filter.local_port.value_or(0));
    head.id.idiag_dport = htons(filter.remote_port.value_or(0));
    MessageBuilder message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP);
    message.header(head);
    return message.finish("list sockets");
}

NetlinkRequest destroy_request(const Socket& socket) {
    inet_diag_req_v2 head{};
    head.sdiag_family = socket.family;
    head.sdiag_protocol = socket.protocol;
    head.idiag_states = ~0U;
    head.id.idiag_sport = htons(socket.local_port);
    head.id.idiag_dport = htons(socket.remote_port);
    to_words(socket.family, socket.local, head.id.idiag_src);
    to_words(socket.family, socket.remote, head.id.idiag_dst);
    head.id.idiag_if = socket.interface;
    head.id.idiag_cookie[0] = socket.cookie[0];
    head.id.idiag_cookie[1] = socket.cookie[1];
    MessageBuilder message(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK);
    message.header(head);
    return message.finish(fmt::format("end the socket {}:{} to {}:{}", socket.local.to_string(),
                                      socket.local_port, socket.remote.to_string(),
                                      socket.remote_port));
}

} // namespace

bool SocketFilter::matches(const Socket& socket) const {
    return socket.protocol == protocol && (!local || *local == socket.local) &&
           (!local_port || *local_port == socket.local_port) &&
           (!remote || *remote == socket.remote) &&
           (!remote_port || *remote_port == socket.remote_port);
}

Result<SockDiag> SockDiag::open() { return SockDiag(TRY(Netlink::open_family(NETLINK_SOCK_DIAG))); }

Result<SockDiag> SockDiag::open_in(const Namespace& netns) {
    const auto inside = TRY(InNamespace::enter(netns));
    return open();
}

Result<std::vector<Socket>> SockDiag::list(const SocketFilter& filter) {
    std::vector<Socket> found;
    for (const std::uint8_t family : {AF_INET, AF_INET6}) {
        const auto outcome =
            netlink_.query(list_request(family, filter), [&](const NetlinkMessage& message) {
                const auto socket = parse_socket(filter.protocol, message);
                if (socket && filter.matches(*socket)) found.push_back(*socket);
                return true;
            });
        // Sockets that come and go during the dump do not make the list of the others wrong.
        if (!outcome && outcome.error().code != Code::unavailable) return Failure(outcome.error());
    }
    return found;
}

Result<std::size_t> SockDiag::destroy(const SocketFilter& filter) {
    std::size_t ended = 0;
    const auto sockets = TRY(list(filter));
    for (const auto& socket : sockets) {
        const auto outcome = netlink_.run(destroy_request(socket));
        if (outcome) {
            ++ended;
        } else if (outcome.error().code !=
                   Code::not_found) { // not_found: it ended by itself meanwhile
            return Failure(outcome.error());
        }
    }
    return ended;
}

} // namespace beeline::net
