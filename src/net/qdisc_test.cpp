#include "net/qdisc.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <gtest/gtest.h>

namespace beeline::net {
namespace {

constexpr std::uint32_t kRoot = TC_H_ROOT;

TEST(Qdisc, FqCountsWhereEveryPacketMeetsIt) {
    const std::vector<Qdisc> qdiscs{
        {2, 0x80010000, kRoot, "fq"},
        {3, 0x80020000, kRoot, "fq_codel"},
        {4, 0x80030000, kRoot, "mq"},
        {4, 0x80040000, 0x80030001, "fq"},
        {4, 0x80050000, 0x80030002, "fq"},
        {5, 0x80060000, kRoot, "mq"},
        {5, 0x80070000, 0x80060001, "fq"},
        {5, 0x80080000, 0x80060002, "fq_codel"},
        {6, 0x10000, kRoot, "htb"},
        {6, 0x20000, 0x10001, "fq"}, // one class of several
        {7, 0x80090000, kRoot, "mq"},
        {8, 0, kRoot, "noqueue"},
        {8, 0xffff0000, 0xfffffff1, "clsact"},
    };
    EXPECT_EQ(devices_with_fq(qdiscs), (std::set<std::uint32_t>{2, 4}));
    EXPECT_TRUE(devices_with_fq({}).empty());
}

TEST(Qdisc, MessagesOfTheKernelAreRead) {
    MessageBuilder message(RTM_NEWQDISC, 0);
    tcmsg head{};
    head.tcm_ifindex = 9;
    head.tcm_handle = 0x10000;
    head.tcm_parent = kRoot;
    message.header(head);
    message.attribute_text(TCA_KIND, "fq");
    const auto request = message.finish("test");
    int seen = 0;
    for_each_message(request.bytes, [&](const NetlinkMessage& one) {
        const auto qdisc = parse_qdisc(one);
        EXPECT_TRUE(qdisc && qdisc->index == 9 && qdisc->kind == "fq" && qdisc->parent == kRoot);
        ++seen;
        return true;
    });
    EXPECT_EQ(seen, 1);
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink);
    EXPECT_TRUE(list_qdiscs(*netlink));
}

} // namespace
} // namespace beeline::net
