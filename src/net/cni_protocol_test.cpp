#include "net/cni_protocol.h"

#include <gtest/gtest.h>

#include <set>

namespace beeline::net {
namespace {

TEST(CniProtocol, Versions) {
    EXPECT_TRUE(cni_speaks("0.3.1"));
    EXPECT_TRUE(cni_speaks("1.1.0"));
    for (const char* other : {"", "0.2.0", "0.3.0", "1.2.0", "2.0.0", "1.1"})
        EXPECT_FALSE(cni_speaks(other)) << other;
    EXPECT_TRUE(cni_at_least("1.0.0", "0.4.0"));
    EXPECT_TRUE(cni_at_least("1.1.0", "1.1.0"));
    EXPECT_FALSE(cni_at_least("0.3.1", "0.4.0"));
}

TEST(CniProtocol, Names) {
    for (const char* good : {"a", "0", "abc-1.2_3", "A.b"})
        EXPECT_TRUE(is_cni_name(good)) << good;
    for (const char* bad : {"", "-a", ".a", "_a", "a/b", "a b", "a\n", "ä"})
        EXPECT_FALSE(is_cni_name(bad)) << bad;
    for (const char* good : {"eth0", "a.b", "123456789012345"})
        EXPECT_TRUE(is_interface_name(good)) << good;
    for (const char* bad : {"", ".", "..", "a/b", "a:b", "a b", "a\tb", "1234567890123456"}) {
        EXPECT_FALSE(is_interface_name(bad)) << bad;
    }
}

TEST(CniProtocol, Args) {
    EXPECT_EQ(parse_cni_args("")->pod_name, "");
    const auto args = parse_cni_args("K8S_POD_NAME=web-1;X=y;K8S_POD_NAMESPACE=shop;K8S_POD_UID=u;"
                                     "K8S_POD_INFRA_CONTAINER_ID=c;IP=10.0.0.9;"
                                     "MAC=0a:00:00:00:00:01;IgnoreUnknown=1");
    ASSERT_TRUE(args) << args.error().message;
    EXPECT_EQ(args->pod_name, "web-1");
    EXPECT_EQ(args->pod_namespace, "shop");
    EXPECT_EQ(args->pod_uid, "u");
    EXPECT_EQ(args->infra_container, "c");
    EXPECT_EQ(args->ip, "10.0.0.9");
    EXPECT_EQ(args->mac, "0a:00:00:00:00:01");
    EXPECT_TRUE(parse_cni_args("IgnoreUnknown=TRUE;A=b"));

    const std::pair<const char*, const char*> bad[] = {
        {"A=b", "'A'"},
        {"IgnoreUnknown=0;A=b", "'A'"},
        {"IgnoreUnknown=1;A=b=c", "'A=b=c'"},
        {"IgnoreUnknown=1;A", "'A'"},
        {"IgnoreUnknown=1;", "''"},
        {"IgnoreUnknown=maybe", "'maybe'"},
        {"K8S_POD_NAME=../x", "K8S_POD_NAME"},
        {"=b", "(empty)"},
    };
    for (const auto& [text, named] : bad) {
        const auto outcome = parse_cni_args(text);
        ASSERT_FALSE(outcome) << text;
        EXPECT_NE(outcome.error().message.find(named), std::string::npos)
            << outcome.error().message;
    }
}

TEST(CniProtocol, HostInterfaceNamesAreStableAndDistinct) {
    std::set<std::string> names;
    for (unsigned i = 0; i < 20000; ++i) {
        const auto name = host_interface_name(fmt::format("container{}", i), "eth0");
        EXPECT_TRUE(is_host_interface_name(name)) << name;
        EXPECT_TRUE(is_interface_name(name));
        names.insert(name);
    }
    EXPECT_EQ(names.size(), 20000U);
    EXPECT_EQ(host_interface_name("c", "eth0"), host_interface_name("c", "eth0"));
    EXPECT_NE(host_interface_name("c", "eth0"), host_interface_name("c", "eth1"));
    EXPECT_FALSE(is_host_interface_name("bl_host"));
    EXPECT_FALSE(is_host_interface_name("blue0"));
    const auto inner = attachment_mac("c", "eth0", false);
    const auto outer = attachment_mac("c", "eth0", true);
    EXPECT_NE(inner, outer);
    for (const auto& mac : {inner, outer})
        EXPECT_EQ(mac[0] & 3, 2); // unicast, locally administered
}

TEST(CniProtocol, JsonDepth) {
    EXPECT_FALSE(json_deeper_than("{\"a\":[1,{\"b\":2}]}", 3));
    EXPECT_TRUE(json_deeper_than("{\"a\":[1,{\"b\":2}]}", 2));
    EXPECT_FALSE(json_deeper_than("\"[[[[\\\"[[[[\"", 1));
    EXPECT_FALSE(json_deeper_than("]]]]", 1));
}

} // namespace
} // namespace beeline::net
