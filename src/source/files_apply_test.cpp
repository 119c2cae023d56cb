#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <random>

#include "source/apply_journal.h"
#include "source/test_folder.h"

namespace beeline::source {
namespace {

std::string text_of_report(const Result<ApplyReport>& report) {
    if (!report) return std::string(code_name(report.error().code)) + ": " + report.error().message;
    std::string out;
    for (const auto& entry : report->objects) {
        out += fmt::format("{} {} {};", kind_name(entry.kind), entry.name.to_string(),
                           action_name(entry.action));
    }
    return out;
}

TEST_F(FilesTest, ApplyWritesOneFileForEachObject) {
    const auto source = create();
    source->rescan();
    const auto both = "# one\n" + test_policy("a") +
                      "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";
    EXPECT_EQ(text_of_report(source->apply(both, false)),
              "NetworkPolicy default/a created;Namespace shop created;");
    EXPECT_EQ(text_of("networkpolicy.default.a.yaml"), "# one\n" + test_policy("a"));
    EXPECT_EQ(text_of("namespace.shop.yaml"),
              "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    EXPECT_EQ(publications(), 2U);
    EXPECT_EQ(policies(), "a");

    // Nothing new on disk, nothing new for anyone.
    source->rescan();
    EXPECT_EQ(text_of_report(source->apply(both, false)),
              "NetworkPolicy default/a unchanged;Namespace shop unchanged;");
    EXPECT_EQ(publications(), 2U);

    EXPECT_EQ(text_of_report(source->apply(test_policy("a", "db"), false)),
              "NetworkPolicy default/a changed;");
    EXPECT_EQ(publications(), 3U);
    EXPECT_EQ(last()->policies.begin()->second.subject.to_string(), "app=db");
    EXPECT_FALSE(std::filesystem::exists(options_.state_folder + "/manifests-apply"));
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, ApplyTakesListsAndSurvivesARestart) {
    const std::string list =
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: "
        "web, labels: "
        "{version: \"1.20\"}}\n- {apiVersion: v1, kind: Pod, metadata: {name: db}}\n";
    {
        const auto source = create();
        EXPECT_EQ(text_of_report(source->apply(list, false)),
                  "Pod default/web created;Pod default/db created;");
    }
    const auto before = last();
    const auto source = create();
    source->rescan();
    EXPECT_TRUE(*last() == *before);
    EXPECT_EQ(text_of_report(source->apply(list, false)),
              "Pod default/web unchanged;Pod default/db unchanged;");
}

TEST_F(FilesTest, ApplyIsAllOrNothing) {
    const auto source = create();
    source->rescan();
    EXPECT_EQ(
        text_of_report(source->apply(test_policy("a") + "---\n" + test_policy("b", "-x"), false)),
        "invalid: input:25:12: spec.podSelector.matchLabels.app: '-x' must be empty, or letters, "
        "digits, '-', '_' and "
        "'.', beginning and ending with a letter or digit");
    EXPECT_EQ(text_of_report(source->apply(test_policy("a") + "---\n" + test_policy("a"), false)),
              "invalid: input:18:1: NetworkPolicy default/a is already on line 1");
    EXPECT_EQ(text_of_report(source->apply("# nothing\n", false)),
              "invalid: input: there is no object in it");
    EXPECT_TRUE(std::filesystem::is_empty(options_.folder));
    EXPECT_EQ(publications(), 1U);
}

TEST_F(FilesTest, ApplyRestoresFilesWhenTheDiskRefuses) {
    const auto source = create();
    ASSERT_TRUE(source->apply(test_policy("a"), false));
    std::filesystem::create_directories(path("networkpolicy.default.c.yaml/in-the-way"));
    const auto refused = source->apply(
        test_policy("a", "new") + "---\n" + test_policy("b") + "---\n" + test_policy("c"), false);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::system);
    EXPECT_EQ(text_of("networkpolicy.default.a.yaml"), test_policy("a"));
    EXPECT_FALSE(exists("networkpolicy.default.b.yaml"));
    EXPECT_FALSE(std::filesystem::exists(options_.state_folder + "/manifests-apply"));
    EXPECT_EQ(publications(), 2U);
    source->rescan();
    EXPECT_EQ(publications(), 2U);
    EXPECT_EQ(policies(), "a");
}

TEST_F(FilesTest, LargeApplyRestoresFilesToo) {
    const auto source = create();
    ASSERT_TRUE(source->apply(test_policy("p000"), false));
    std::filesystem::create_directories(path("networkpolicy.default.p150.yaml/in-the-way"));
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += test_policy(fmt::format("p{:03}", i), "new") + "---\n";
    EXPECT_EQ(source->apply(text, false).error().code, Code::system);
    std::filesystem::remove_all(path("networkpolicy.default.p150.yaml"));
    source->rescan();
    EXPECT_EQ(policies(), "p000");
    EXPECT_EQ(last()->policies.begin()->second.subject.to_string(), "app=web");
    ASSERT_TRUE(source->apply(text, false));
    EXPECT_EQ(last()->policies.size(), 200U);
    EXPECT_EQ(text_of("networkpolicy.default.p199.yaml"), test_policy("p199", "new"));
}

TEST_F(FilesTest, ApplyLeavesFilesWrittenByHandAlone) {
    const auto source = create();
    write("hand.yaml", test_policy("a") + "---\n" + test_service("s", "10.97.0.1"));
    write("networkpolicy.default.c.yaml", test_policy("d") + "---\n" + test_policy("e"));
    source->rescan();
    EXPECT_EQ(
        text_of_report(source->apply(test_policy("b") + "---\n" + test_policy("a", "x"), false)),
        fmt::format("exists: NetworkPolicy default/a is defined in {}: change it there",
                    path("hand.yaml")));
    EXPECT_EQ(
        text_of_report(source->apply(test_policy("c"), false)),
        fmt::format("exists: {} holds other objects than NetworkPolicy default/c: rename that file",
                    path("networkpolicy.default.c.yaml")));
    EXPECT_EQ(text_of_report(source->apply(test_service("other", "10.97.0.1"), false)),
              "exists: Service default/other has the cluster address 10.97.0.1 of Service "
              "default/s in hand.yaml, which "
              "stays in force");
    EXPECT_EQ(publications(), 1U);
    EXPECT_EQ(policies(), "a d e");
}

TEST_F(FilesTest, ApplyRepairsItsOwnFile) {
    const auto source = create();
    ASSERT_TRUE(source->apply(test_policy("a"), false));
    write("networkpolicy.default.a.yaml", "kind: [");
    EXPECT_EQ(text_of_report(source->apply(test_policy("a"), false)),
              "NetworkPolicy default/a changed;");
    EXPECT_EQ(text_of("networkpolicy.default.a.yaml"), test_policy("a"));
    EXPECT_EQ(errors(*source), "");
}

TEST_F(FilesTest, DryRunChangesNothing) {
    const auto source = create();
    source->rescan();
    EXPECT_EQ(text_of_report(source->apply(test_policy("a"), true)),
              "NetworkPolicy default/a created;");
    EXPECT_TRUE(std::filesystem::is_empty(options_.folder));
    EXPECT_EQ(publications(), 1U);
    write("hand.yaml", test_policy("b"));
    EXPECT_EQ(source->apply(test_policy("b"), true).error().code, Code::exists);
}

TEST_F(FilesTest, ApplyReportsWarnings) {
    const auto source = create();
    const auto report = source->apply(test_service("s", "10.0.0.1") + "  type: NodePort\n", false);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->warnings,
              std::vector<std::string>{
                  "input:7:3: spec.type: node ports are not opened yet: works as ClusterIP"});
}

TEST_F(FilesTest, RemoveTakesOnlyWhatApplyMade) {
    const auto source = create();
    write("hand.yaml", test_policy("h"));
    ASSERT_TRUE(source->apply(test_policy("a") +
                                  "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
                              false));
    EXPECT_EQ(policies(), "a h");
    const auto count = publications();
    ASSERT_TRUE(source->remove("networkpolicy", {"default", "a"}));
    EXPECT_EQ(policies(), "h");
    EXPECT_EQ(publications(), count + 1);
    EXPECT_FALSE(exists("networkpolicy.default.a.yaml"));
    ASSERT_TRUE(source->remove("Namespace", {"", "shop"}));

    const auto again = source->remove("netpol", {"default", "a"});
    EXPECT_EQ(again.error().code, Code::not_found);
    EXPECT_EQ(again.error().message, "NetworkPolicy default/a does not exist");
    const auto hand = source->remove("NetworkPolicy", {"default", "h"});
    EXPECT_EQ(hand.error().code, Code::denied);
    EXPECT_EQ(hand.error().message,
              fmt::format("NetworkPolicy default/h is defined in {}, a file written by hand: "
                          "remove it there",
                          path("hand.yaml")));
    EXPECT_EQ(source->remove("thing", {"default", "h"}).error().code, Code::invalid);
    EXPECT_EQ(policies(), "h");
}

TEST_F(FilesTest, InterruptedApplyIsCompleted) {
    const auto journal = options_.state_folder + "/manifests-apply";
    const auto a = test_policy("a");
    const auto b = test_policy("b");
    const auto whole =
        fmt::format("beeline apply 1\n{} a.yaml\n{}{} b.yaml\n{}end\n", a.size(), a, b.size(), b);
    std::filesystem::create_directories(options_.state_folder);
    ASSERT_TRUE(replace_file(journal, whole));
    {
        const auto source = create();
        source->rescan();
        EXPECT_EQ(policies(), "a b");
        EXPECT_FALSE(std::filesystem::exists(journal));
    }
    // One that was cut short is from a change that had not begun.
    std::filesystem::remove(path("b.yaml"));
    std::vector<std::string> damaged{"",
                                     "beeline",
                                     whole + "x",
                                     "beeline apply 1\n3 ../x.yaml\nabcend\n",
                                     "beeline apply 1\n3 .x.yaml\nabcend\n",
                                     "beeline apply 1\n3 a/../x.yaml\nabcend\n",
                                     "beeline apply 1\n99999999999999999999 x.yaml\nend\n",
                                     "beeline apply 1\n-1 x.yaml\nend\n"};
    for (std::size_t size = 1; size < whole.size(); size += 37)
        damaged.push_back(whole.substr(0, size));
    for (const auto& text : damaged) {
        ASSERT_TRUE(replace_file(journal, text));
        const auto source = create();
        source->rescan();
        ASSERT_EQ(policies(), "a") << text;
        ASSERT_FALSE(std::filesystem::exists(journal)) << text;
    }
}

TEST_F(FilesTest, KilledApplyLeavesAllOrNothing) {
    constexpr int kObjects = 20;
    const auto generation = [](int number) {
        std::string text;
        for (int i = 0; i < kObjects; ++i)
            text += test_policy(fmt::format("p{:02}", i), fmt::format("g{}", number)) + "---\n";
        return text;
    };
    ASSERT_TRUE(create()->apply(generation(0), false));
    std::minstd_rand random(7);
    for (int round = 0; round < 25; ++round) {
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            auto source = create();
            for (int i = 1; i < 1000; ++i)
                (void)source->apply(generation(round * 1000 + i), false);
            _exit(0);
        }
        usleep(2000 + random() % 20000);
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        const auto source = create();
        source->rescan();
        ASSERT_EQ(last()->policies.size(), static_cast<std::size_t>(kObjects));
        std::set<std::string> seen;
        for (const auto& [name, policy] : last()->policies)
            seen.insert(policy.subject.to_string());
        ASSERT_EQ(seen.size(), 1U) << "round " << round;
        ASSERT_EQ(errors(*source), "");
    }
}

TEST_F(FilesTest, KilledApplyOfNewObjectsLeavesAllOrNothing) {
    constexpr std::size_t kObjects = 100;
    std::minstd_rand random(7);
    std::size_t expected = 0;
    for (int round = 0; round < 15; ++round) {
        std::string text;
        for (std::size_t i = 0; i < kObjects; ++i)
            text += test_policy(fmt::format("r{}-{}", round, i)) + "---\n";
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            (void)create()->apply(text, false);
            _exit(0);
        }
        // In the middle: when some of the files are there.
        const auto some =
            fmt::format("networkpolicy.default.r{}-{}.yaml", round, random() % kObjects);
        for (int i = 0; i < 100'000 && !exists(some); ++i)
            usleep(10);
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        const auto source = create();
        source->rescan();
        const auto count = last()->policies.size();
        ASSERT_TRUE(count == expected || count == expected + kObjects)
            << count << " in round " << round;
        ASSERT_EQ(errors(*source), "");
        expected = count;
    }
}

TEST_F(FilesTest, ThousandPoliciesInOneCall) {
    std::string text;
    for (int i = 0; i < 1000; ++i)
        text += test_policy(fmt::format("p{}", i)) + "---\n";
    auto loop = loop::Loop::create().value();
    const auto source = create();
    ASSERT_TRUE(source->start(*loop));
    const auto begin = std::chrono::steady_clock::now();
    const auto report = source->apply(text, false);
    const auto end = std::chrono::steady_clock::now();
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(last()->policies.size(), 1000U);
    EXPECT_EQ(publications(), 2U);
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(end - begin).count();
    RecordProperty("apply_ms", static_cast<int>(ms));
    EXPECT_LT(ms,
              3000); // about 150 alone on the machine; sanitizers and neighbours take their share
}

} // namespace
} // namespace beeline::source
