#include "source/files.h"

#include <sys/stat.h>

#include "source/test_folder.h"

namespace beeline::source {
namespace {

TEST_F(FilesTest, PublishesWhatTheFolderSays) {
    const auto source = create();
    EXPECT_EQ(source->objects(), nullptr);
    source->rescan();
    EXPECT_EQ(publications(), 1U); // empty, but known now
    EXPECT_TRUE(*last() == model::Objects{});

    write("a.yaml", test_policy("a") + "---\n" + test_policy("b"));
    write("c.json", R"({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})");
    source->rescan();
    EXPECT_EQ(publications(), 2U);
    EXPECT_EQ(policies(), "a b");
    EXPECT_EQ(last()->namespaces.size(), 1U);
    EXPECT_EQ(source->objects(), last());

    source->rescan();
    EXPECT_EQ(publications(), 2U);

    write("a.yaml", test_policy("a"));
    source->rescan();
    EXPECT_EQ(policies(), "a");
    write("a.yaml", "# a comment changes nothing\n" + test_policy("a"));
    source->rescan();
    EXPECT_EQ(publications(), 3U);

    std::filesystem::remove(path("a.yaml"));
    source->rescan();
    EXPECT_EQ(policies(), "");
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, SeesAChangeOfEqualSizeAtOnce) {
    const auto source = create();
    for (int i = 0; i < 20; ++i) {
        write("a.yaml", test_policy(i % 2 == 0 ? "a" : "b"));
        source->rescan();
        ASSERT_EQ(policies(), i % 2 == 0 ? "a" : "b") << i;
    }
}

TEST_F(FilesTest, BadFileLeavesItsLastGoodStateInForce) {
    const auto source = create();
    write("a.yaml", test_policy("a"));
    write("b.yaml", test_policy("b"));
    source->rescan();
    write("a.yaml", test_policy("a2") + "---\n" + test_policy("A3"));
    write("b.yaml", test_policy("b2"));
    source->rescan();
    EXPECT_EQ(policies(), "a b2");
    EXPECT_EQ(errors(*source),
              "a.yaml|a.yaml:21:9: metadata.name: 'A3' must be lower case letters, digits, '-' and "
              "'.', and each part between dots must begin and end with a letter or digit\n");
    EXPECT_EQ(last()->policies.begin()->second.name, "a");

    write("a.yaml", test_policy("a2"));
    source->rescan();
    EXPECT_EQ(policies(), "a2 b2");
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, GoodStateOutlivesARestart) {
    {
        const auto source = create();
        write("a.yaml", test_policy("a"));
        write("gone.yaml", test_policy("gone"));
        source->rescan();
    }
    write("a.yaml", "kind: [");
    write("new.yaml", "kind: [");
    std::filesystem::remove(path("gone.yaml"));
    {
        const auto source = create();
        source->rescan();
        EXPECT_EQ(policies(), "a");
        EXPECT_EQ(source->errors().size(), 2U);
    }
    // A file that went away takes its good state along, also when nobody was looking.
    write("gone.yaml", "kind: [");
    write("a.yaml", test_policy("a2"));
    {
        const auto source = create();
        source->rescan();
        EXPECT_EQ(policies(), "a2");
    }
    write("a.yaml", "kind: [");
    const auto source = create();
    source->rescan();
    EXPECT_EQ(policies(), "a2");
}

TEST_F(FilesTest, EmptyFileIsNoOrderToForget) {
    const auto source = create();
    write("a.yaml", test_policy("a"));
    source->rescan();
    write("a.yaml", "");
    source->rescan();
    EXPECT_EQ(policies(), "a");
    EXPECT_EQ(errors(*source),
              "a.yaml|a.yaml: the file is empty: remove it, or write a comment into it\n");
    write("a.yaml", "# none\n");
    source->rescan();
    EXPECT_EQ(policies(), "");
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, FirstOfTwoEqualObjectsStays) {
    const auto source = create();
    write("a.yaml", "# first\n" + test_policy("x", "one"));
    write("b.yaml", test_policy("y") + "---\n" + test_policy("x", "two"));
    source->rescan();
    EXPECT_EQ(policies(), "x y");
    EXPECT_EQ(last()->policies.at({"default", "x"}).subject.to_string(), "app=one");
    EXPECT_EQ(errors(*source), "b.yaml|b.yaml:18: NetworkPolicy default/x is already defined in "
                               "a.yaml, which stays in force\n");
    std::filesystem::remove(path("a.yaml"));
    source->rescan();
    EXPECT_EQ(last()->policies.at({"default", "x"}).subject.to_string(), "app=two");
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, ClusterAddressHasOneOwner) {
    const auto source = create();
    write("a.yaml", test_service("one", "10.97.0.1"));
    write("b.yaml", test_service("two", "10.97.0.1"));
    source->rescan();
    EXPECT_EQ(last()->services.size(), 1U);
    EXPECT_EQ(errors(*source),
              "b.yaml|b.yaml:1: Service default/two has the cluster address 10.97.0.1 of Service "
              "default/one in a.yaml, which stays in force\n");
}

TEST_F(FilesTest, IgnoresWhatIsNoManifest) {
    const auto source = create();
    write(".a.yaml.swp", "x");
    write(".#a.yaml", "x");
    write("a.yaml~", "x");
    write("#a.yaml#", "x");
    write("4913", "x");
    write("notes.txt", "x");
    write("a.yaml.bak", "x");
    write("bad\xff.yaml", "x");
    std::filesystem::create_directory(path("folder.yaml"));
    ASSERT_EQ(mkfifo(path("pipe.yaml").c_str(), 0600), 0);
    std::filesystem::create_symlink("nowhere", path("dangling.yaml"));
    source->rescan();
    EXPECT_EQ(errors(*source), "");
    EXPECT_TRUE(*last() == model::Objects{});
    write("target", test_policy("linked"));
    std::filesystem::create_symlink("target", path("link.yml"));
    source->rescan();
    EXPECT_EQ(policies(), "linked");
}

TEST_F(FilesTest, FileThatCannotBeReadKeepsItsState) {
    const auto source = create();
    write("a.yaml", test_policy("a"));
    source->rescan();
    std::filesystem::remove(path("a.yaml"));
    std::filesystem::create_symlink("a.yaml", path("a.yaml")); // to itself
    source->rescan();
    EXPECT_EQ(policies(), "a");
    ASSERT_EQ(source->errors().size(), 1U);
    EXPECT_NE(source->errors()[0].message.find("symbolic links"), std::string::npos)
        << errors(*source);
}

TEST_F(FilesTest, FileThatIsTooLargeIsAnError) {
    const auto source = create();
    write("a.yaml", "#" + std::string(8U << 20, 'x'));
    source->rescan();
    EXPECT_EQ(errors(*source),
              fmt::format("a.yaml|'{}' is larger than 8388608 bytes\n", path("a.yaml")));
}

TEST_F(FilesTest, MissingFolderLeavesEverythingInForce) {
    const auto source = create();
    write("a.yaml", test_policy("a"));
    source->rescan();
    std::filesystem::remove_all(options_.folder);
    source->rescan();
    EXPECT_EQ(policies(), "a");
    EXPECT_EQ(errors(*source),
              fmt::format("|read the folder '{}': No such file or directory\n", options_.folder));
    const auto refused = source->apply(test_policy("b"), false);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::unavailable);
    std::filesystem::create_directory(options_.folder);
    source->rescan();
    EXPECT_EQ(policies(), "");
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, ListsByKindNamespaceAndName) {
    const auto source = create();
    write("a.yaml", test_policy("a") + "---\n" + test_service("s", "10.0.0.1") +
                        "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    write("b.yaml", test_policy("b\n  namespace: shop"));
    source->rescan();
    const auto names = [&](const ObjectFilter& filter) {
        std::string out;
        const auto objects = source->list(filter);
        if (!objects) return objects.error().message;
        for (const auto& object : *objects) {
            out += fmt::format("{} {} {};", kind_name(object.kind), object.name.to_string(),
                               object.file);
        }
        return out;
    };
    EXPECT_EQ(names({}),
              "Namespace shop a.yaml;Service default/s a.yaml;NetworkPolicy default/a a.yaml;"
              "NetworkPolicy shop/b b.yaml;");
    EXPECT_EQ(names({.kind = "netpol"}),
              "NetworkPolicy default/a a.yaml;NetworkPolicy shop/b b.yaml;");
    EXPECT_EQ(names({.space = "shop"}), "NetworkPolicy shop/b b.yaml;");
    EXPECT_EQ(names({.space = ""}), "Namespace shop a.yaml;");
    EXPECT_EQ(names({.kind = "Service", .name = "s"}), "Service default/s a.yaml;");
    EXPECT_EQ(names({.name = "none"}), "");
    EXPECT_EQ(names({.kind = "Deployment"}),
              "'Deployment' is no kind of object that is known here");
    EXPECT_EQ(source->list({.kind = "service"})->front().yaml, test_service("s", "10.0.0.1"));
}

TEST(ObjectFileName, FitsFileSystems) {
    EXPECT_EQ(object_file_name(ObjectKind::network_policy, {"shop", "a.b"}),
              "networkpolicy.shop.a.b.yaml");
    EXPECT_EQ(object_file_name(ObjectKind::namespace_, {"", "shop"}), "namespace.shop.yaml");
    const std::string head(252, 'a');
    const auto one =
        object_file_name(ObjectKind::endpoint_slice, {std::string(63, 'n'), head + "1"});
    const auto two =
        object_file_name(ObjectKind::endpoint_slice, {std::string(63, 'n'), head + "2"});
    EXPECT_EQ(one.size(), 240U);
    EXPECT_NE(one, two);
    EXPECT_TRUE(is_manifest_file_name(one));
}

} // namespace
} // namespace beeline::source
