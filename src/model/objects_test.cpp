#include "model/objects.h"

#include <gtest/gtest.h>

namespace beeline::model {
namespace {

TEST(Objects, NamespaceLabels) {
    Objects objects;
    objects.namespaces["shop"] = {"shop", {{"team", "red"}}};
    EXPECT_EQ(objects.namespace_labels("shop"),
              (Labels{{"team", "red"}, {"kubernetes.io/metadata.name", "shop"}}));
    EXPECT_EQ(objects.namespace_labels("unknown"),
              (Labels{{"kubernetes.io/metadata.name", "unknown"}}));
}

TEST(ObjectName, Spelling) {
    EXPECT_EQ((ObjectName{"shop", "web"}.to_string()), "shop/web");
    EXPECT_EQ((ObjectName{"", "node-1"}.to_string()), "node-1");
}

} // namespace
} // namespace beeline::model
