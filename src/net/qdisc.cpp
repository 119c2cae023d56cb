#include "net/qdisc.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace beeline::net {

std::optional<Qdisc> parse_qdisc(const NetlinkMessage& message) {
    if (message.type != RTM_NEWQDISC) return {};
    const auto head = message.header<tcmsg>();
    if (!head || head->tcm_ifindex <= 0) return {};
    const auto kind = message.attributes<tcmsg>().text(TCA_KIND);
    if (!kind) return {};
    return Qdisc{static_cast<std::uint32_t>(head->tcm_ifindex), head->tcm_handle, head->tcm_parent,
                 *kind};
}

std::set<std::uint32_t> devices_with_fq(const std::vector<Qdisc>& qdiscs) {
    std::set<std::uint32_t> found;
    for (const auto& root : qdiscs) {
        if (root.parent != TC_H_ROOT) continue;
        if (root.kind == "fq") found.insert(root.index);
        if (root.kind != "mq") continue;
        const auto is_leaf = [&](const Qdisc& one) {
            return one.index == root.index && one.parent != TC_H_ROOT &&
                   TC_H_MAJ(one.parent) == TC_H_MAJ(root.handle);
        };
        const bool any = std::any_of(qdiscs.begin(), qdiscs.end(), is_leaf);
        const bool all = std::all_of(qdiscs.begin(), qdiscs.end(), [&](const Qdisc& one) {
            return !is_leaf(one) || one.kind == "fq";
        });
        if (any && all) found.insert(root.index);
    }
    return found;
}

Result<std::vector<Qdisc>> list_qdiscs(Netlink& netlink) {
    MessageBuilder message(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP);
    message.header(tcmsg{});
    std::vector<Qdisc> found;
    TRY(netlink.query(message.finish("list qdiscs"), [&](const NetlinkMessage& one) {
        if (auto qdisc = parse_qdisc(one)) found.push_back(std::move(*qdisc));
        return true;
    }));
    return found;
}

} // namespace beeline::net
