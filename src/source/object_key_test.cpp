#include "source/object_key.h"

#include <gtest/gtest.h>

namespace beeline::source {
namespace {

TEST(ObjectKey, IsOneOfOneObject) {
    const auto policy = object_key("/beeline", ObjectKind::network_policy, {"shop", "allow-web"});
    EXPECT_EQ(policy, "/beeline/networkpolicies/shop/allow-web");
    EXPECT_EQ(object_key("/a/b", ObjectKind::node, {"", "n1"}), "/a/b/nodes/n1");
    EXPECT_EQ(workload_key("/beeline", "n1", {"shop", "web"}), "/beeline/workloads/n1/shop/web");

    const auto read = parse_key("/beeline", policy);
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, (StoredKey{ObjectKind::network_policy, {"shop", "allow-web"}, ""}));
    EXPECT_EQ(parse_key("/a/b", "/a/b/nodes/n1").value(),
              (StoredKey{ObjectKind::node, {"", "n1"}, ""}));
    EXPECT_EQ(parse_key("/beeline", "/beeline/workloads/n1/shop/web").value(),
              (StoredKey{ObjectKind::pod, {"shop", "web"}, "n1"}));
}

TEST(ObjectKey, OtherKeysAreErrors) {
    for (const auto* key :
         {"", "/beeline", "/beeline/", "/beelinex/nodes/a", "/beeline/netpol/shop/a",
          "/beeline/NetworkPolicies/shop/a", "/beeline/nodes/", "/beeline/nodes/a/b",
          "/beeline/services/shop", "/beeline/services/shop/", "/beeline/services//a",
          "/beeline/services/Shop/a", "/beeline/services/shop/a/b", "/beeline/workloads/n1/a",
          "/beeline/workloads//shop/a", "/beeline/other/shop/a"}) {
        const auto read = parse_key("/beeline", key);
        EXPECT_FALSE(read) << key;
    }
    EXPECT_FALSE(parse_key("/beeline", "/beeline/nodes/" + std::string(2000, 'a')));
    const auto control = parse_key("/beeline", std::string("/beeline/nodes/a\n\0b", 18));
    ASSERT_FALSE(control);
    EXPECT_EQ(control.error().message.find('\n'), std::string::npos);
}

TEST(ObjectKey, PrefixIsAPlainPath) {
    for (const auto* good : {"/beeline", "/a/b-c/d.1"})
        EXPECT_TRUE(is_key_prefix(good)) << good;
    for (const auto* bad : {"", "/", "beeline", "/beeline/", "//a", "/a b", "/a//b"})
        EXPECT_FALSE(is_key_prefix(bad)) << bad;
}

TEST(ObjectKey, ValueIsTheObjectOfTheKey) {
    const StoredKey key{ObjectKind::namespace_, {"", "shop"}, ""};
    const std::string text =
        R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})";
    ASSERT_TRUE(read_value(key, text, "namespaces/shop"));
    const auto other = read_value({ObjectKind::namespace_, {"", "a"}, ""}, text, "namespaces/a");
    ASSERT_FALSE(other);
    EXPECT_EQ(other.error().message,
              "namespaces/a: the value is Namespace shop, another object than the key names");
    const auto none = read_value(key, "", "namespaces/shop");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().message, "namespaces/shop: expected one object, found 0");
}

} // namespace
} // namespace beeline::source
