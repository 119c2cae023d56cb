#include "net/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

namespace beeline::net {
namespace {

struct End {
    Ip ip;
    std::uint16_t port = 0;
};

std::optional<std::uint16_t> port_in(const Attributes& proto, std::uint16_t type) {
    const auto bytes = proto.get(type);
    if (!bytes || bytes->size() < 2) return {};
    std::uint16_t port = 0;
    std::memcpy(&port, bytes->data(), sizeof port);
    return ntohs(port);
}

// One end of a tuple, and its protocol.
std::optional<std::pair<End, std::uint8_t>> end_of(Bytes tuple, bool source) {
    const Attributes parts(tuple);
    const auto ip = parts.get(CTA_TUPLE_IP);
    const auto proto = parts.get(CTA_TUPLE_PROTO);
    if (!ip || !proto) return {};
    const Attributes addresses(*ip);
    auto address = addresses.ip(source ? CTA_IP_V4_SRC : CTA_IP_V4_DST);
    if (!address) address = addresses.ip(source ? CTA_IP_V6_SRC : CTA_IP_V6_DST);
    const Attributes values(*proto);
    const auto number = values.get(CTA_PROTO_NUM);
    const auto port = port_in(values, source ? CTA_PROTO_SRC_PORT : CTA_PROTO_DST_PORT);
    if (!address || !number || number->empty() || !port) return {};
    return std::pair{End{*address, *port}, number->front()};
}

NetlinkRequest request(int command, int flags, bool v4, const Bytes* tuple) {
    MessageBuilder message(static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | command),
                           static_cast<std::uint16_t>(NLM_F_REQUEST | flags));
    nfgenmsg head{};
    head.nfgen_family = v4 ? AF_INET : AF_INET6;
    message.header(head);
    if (tuple != nullptr)
        message.attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, tuple->data(), tuple->size());
    return message.finish(tuple != nullptr ? "forget a tracked connection"
                                           : "list tracked connections");
}

} // namespace

std::optional<Translation> parse_tracked(const NetlinkMessage& message) {
    if (message.type != (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW)) return {};
    const auto parts = message.attributes<nfgenmsg>();
    const auto original = parts.get(CTA_TUPLE_ORIG);
    const auto reply = parts.get(CTA_TUPLE_REPLY);
    if (!original || !reply) return {};
    const auto from = end_of(*original, false);
    const auto to = end_of(*reply, true);
    if (!from || !to) return {};
    const Translation found{from->second, from->first.ip, from->first.port, to->first.ip,
                            to->first.port};
    if (found.from == found.to && found.from_port == found.to_port) return {};
    return found;
}

Result<std::size_t> forget_translated(const std::vector<Translation>& translations) {
    std::vector<NetlinkRequest> doomed;
    auto netlink = TRY(Netlink::open_family(NETLINK_NETFILTER));
    for (const bool v4 : {true, false}) {
        const auto concerns = [&](const Translation& one) { return one.from.is_v4() == v4; };
        if (std::none_of(translations.begin(), translations.end(), concerns)) continue;
        TRY(netlink.query(request(IPCTNL_MSG_CT_GET, NLM_F_DUMP, v4, nullptr),
                          [&](const NetlinkMessage& message) {
                              const auto found = parse_tracked(message);
                              if (!found || std::find(translations.begin(), translations.end(),
                                                      *found) == translations.end())
                                  return true;
                              const auto tuple = message.attributes<nfgenmsg>().get(CTA_TUPLE_ORIG);
                              doomed.push_back(
                                  request(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, v4, &*tuple));
                              return true;
                          }));
    }
    std::size_t count = 0;
    for (const auto& one : doomed) {
        const auto done = netlink.run(one);
        if (done) {
            ++count;
        } else if (done.error().code != Code::not_found) { // else it ended by itself
            return Failure(done.error());
        }
    }
    return count;
}

} // namespace beeline::net
