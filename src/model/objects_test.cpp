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

TEST(NamesWorkload, PatternsOfTheCommandLine) {
    for (const char* pattern : {"shop/web", "shop/", "web"})
        EXPECT_TRUE(names_workload(pattern, "shop/web")) << pattern;
    for (const char* pattern : {"shop/we", "shop", "blog/", "/web", "", "/", "shop/web/x"})
        EXPECT_FALSE(names_workload(pattern, "shop/web")) << pattern;
    EXPECT_FALSE(names_workload("", ""));
    EXPECT_FALSE(names_workload("/", ""));
    EXPECT_FALSE(names_workload("shop/", "shop", ""));
}

} // namespace
} // namespace beeline::model
