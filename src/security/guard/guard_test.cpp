#include "security/guard/guard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>

#include "security/events/test_records.h"

namespace beeline::security {
namespace {

namespace fs = std::filesystem;
using testing::nul_list;
using testing::RecordBuilder;
using testing::task_facts;

constexpr const char* kShellRule = R"(
- rule: Shell
  desc: d
  condition: evt.type = execve and proc.name = sh
  output: shell %proc.cmdline
  priority: NOTICE
)";
constexpr const char* kFlowRule = R"(
- rule: Denied
  desc: d
  condition: evt.type = flow and flow.verdict = DROPPED and proc.name = sh
  output: denied %proc.pid
  priority: WARNING
)";

testing::Record exec(std::uint32_t pid, const std::string& name) {
    return RecordBuilder(BL_EVENT_execve)
        .process(pid, 1'000'001)
        .text(BL_STR_RESOLVED, "/bin/" + name)
        .text(BL_STR_PATH2, nul_list({name, "-c", "x"}))
        .text(BL_STR_BASE, "/tmp")
        .facts(task_facts(pid, 1'000'001, 1, 5, name))
        .build();
}

// A guard whose kernel is this test.
class GuardTest : public ::testing::Test {
protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("beeline-guard-{}", getpid());
        fs::create_directories(folder_);
    }
    void TearDown() override {
        guard_.reset();
        fs::remove_all(folder_);
    }

    void write_rules(const std::string& text) { std::ofstream(folder_ / "rules.yaml") << text; }

    void start() {
        auto host = std::make_shared<HostFacts>();
        host->hostname = "node";
        Guard::Options options;
        options.rules = {folder_.string(), (folder_ / "nothing.yaml").string()};
        options.host = host;
        options.placement = [](std::uint64_t) { return Placement{}; };
        options.sink = [this](model::Alert&& alert) {
            const std::lock_guard lock(mutex_);
            alerts_.push_back(std::move(alert));
        };
        EventSource source;
        source.consume = [this](const RecordHandler& handler) {
            std::deque<testing::Record> records;
            {
                const std::lock_guard lock(mutex_);
                records.swap(records_);
            }
            for (const auto& record : records)
                handler(record.bytes());
            return records.size();
        };
        source.capture = [this](const Capture& capture) -> Result<> {
            captures_.push_back(capture);
            return {};
        };
        source.lost = [this] { return lost_.load(); };
        source.next_flow = [this]() -> std::optional<model::Flow> {
            const std::lock_guard lock(mutex_);
            if (flows_.empty()) return {};
            auto flow = std::move(flows_.front());
            flows_.pop_front();
            return flow;
        };
        auto guard = Guard::start(std::move(options), std::move(source));
        ASSERT_TRUE(guard) << guard.error().message;
        guard_ = std::move(*guard);
    }

    void feed(testing::Record record) {
        const std::lock_guard lock(mutex_);
        records_.push_back(std::move(record));
    }

    template <typename F>
    bool comes_true(F condition) {
        for (int i = 0; i < 4000; ++i) {
            if (condition()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        return false;
    }
    std::vector<std::string> alerts() {
        const std::lock_guard lock(mutex_);
        std::vector<std::string> out;
        for (const auto& alert : alerts_)
            out.push_back(alert.rule + ": " + alert.message);
        return out;
    }

    fs::path folder_;
    std::mutex mutex_;
    std::deque<testing::Record> records_;
    std::deque<model::Flow> flows_;
    std::vector<model::Alert> alerts_;
    std::vector<Capture> captures_;
    std::atomic<std::uint64_t> lost_{0};
    std::unique_ptr<Guard> guard_;
};

TEST_F(GuardTest, RecordsBecomeAlerts) {
    write_rules(kShellRule);
    start();
    EXPECT_TRUE(guard_->loaded().successful());
    EXPECT_EQ(guard_->rules_in_force(), 1);
    ASSERT_FALSE(captures_.empty());
    EXPECT_NE(captures_.back().kinds[BL_EVENT_execve].want & BL_WANT_ON, 0);
    EXPECT_EQ(captures_.back().kinds[BL_EVENT_openat].want, 0);
    feed(exec(10, "ls"));
    feed(exec(11, "sh"));
    ASSERT_TRUE(comes_true([&] { return !alerts().empty(); }));
    EXPECT_TRUE(alerts()[0].starts_with("Shell: shell sh -c x")) << alerts()[0];
    EXPECT_EQ(guard_->stats().records, 2);
    EXPECT_EQ(guard_->stats().matches, 1);
    EXPECT_GE(guard_->stats().tree.live, 2);
}

TEST_F(GuardTest, FaultyFilesLeaveTheRulesInForce) {
    write_rules(kShellRule);
    start();
    write_rules("- rule: Broken\n  desc: d\n  condition: evt.typo = execve\n  output: x\n"
                "  priority: NOTICE\n");
    ASSERT_TRUE(guard_->load_rules());
    EXPECT_FALSE(guard_->loaded().successful());
    EXPECT_EQ(guard_->rules_in_force(), 1);
    feed(exec(11, "sh"));
    EXPECT_TRUE(comes_true([&] { return alerts().size() == 1; }));
    // Good ones again; what both needed was asked for in between.
    write_rules(std::string(kShellRule) + kFlowRule);
    const auto before = captures_.size();
    ASSERT_TRUE(guard_->load_rules());
    EXPECT_EQ(guard_->rules_in_force(), 2);
    EXPECT_EQ(captures_.size(), before + 2);
}

TEST_F(GuardTest, FlowsAreJudgedWithTheirProcess) {
    write_rules(kFlowRule);
    start();
    feed(exec(12, "sh"));
    ASSERT_TRUE(comes_true([&] { return guard_->stats().records == 1; }));
    model::Flow flow;
    flow.verdict = model::Flow::Verdict::dropped;
    flow.kind = model::Flow::Kind::dropped;
    flow.source.process.pid = 12;
    flow.source.process.start_ns = 1'000'001;
    {
        const std::lock_guard lock(mutex_);
        flows_.push_back(flow);
    }
    ASSERT_TRUE(comes_true([&] { return !alerts().empty(); }));
    EXPECT_TRUE(alerts()[0].starts_with("Denied: denied 12")) << alerts()[0];
}

TEST_F(GuardTest, LossesAreAnAlertOnce) {
    start();
    lost_ = 7;
    ASSERT_TRUE(comes_true([&] { return !alerts().empty(); }));
    EXPECT_NE(alerts()[0].find("7 security events were lost"), std::string::npos);
    EXPECT_EQ(guard_->stats().lost, 7);
}

TEST_F(GuardTest, UnreadableRecordsAreCounted) {
    start();
    auto record = exec(1, "x");
    record.head().size = 1;
    feed(std::move(record));
    EXPECT_TRUE(comes_true([&] { return guard_->stats().refused == 1; }));
}

TEST_F(GuardTest, WatchersGetLinesAndRecordersBytes) {
    start();
    const auto lines = guard_->watch([](const Event& event) { return event.head.pid == 20; });
    Capture wider;
    wider.kinds[BL_EVENT_connect].want = BL_WANT_ON;
    auto bytes = guard_->record(wider);
    ASSERT_TRUE(bytes);
    EXPECT_NE(captures_.back().kinds[BL_EVENT_connect].want, 0);
    feed(exec(21, "ls"));
    feed(exec(20, "cat"));
    std::vector<std::string> got;
    ASSERT_TRUE(comes_true([&] { return lines->take(got, std::chrono::milliseconds(5)) > 0; }));
    EXPECT_NE(got.at(0).find(R"("cmdline":"cat -c x")"), std::string::npos) << got[0];
    EXPECT_EQ(got.size(), 1);
    got.clear();
    ASSERT_TRUE(comes_true([&] {
        (*bytes)->take(got, std::chrono::milliseconds(5));
        return got.size() == 2;
    }));
    const auto original = exec(21, "ls");
    EXPECT_EQ(got[0], std::string(reinterpret_cast<const char*>(original.bytes().data()),
                                  original.bytes().size()));
    bytes->reset();
    guard_->tidy();
    EXPECT_EQ(captures_.back().kinds[BL_EVENT_connect].want, 0);
}

TEST(Capture, UnionNarrowsOnlyWhereBothDo) {
    Capture a;
    Capture b;
    a.kinds[BL_EVENT_openat].want = BL_WANT_ON | BL_WANT_SUCCESS | BL_WANT_PATH | BL_WANT_CONTAINER;
    b.kinds[BL_EVENT_openat].want = BL_WANT_ON | BL_WANT_SUCCESS | BL_WANT_PATH;
    a.kinds[BL_EVENT_openat].path_any = 1;
    b.kinds[BL_EVENT_openat].path_any = 2;
    b.kinds[BL_EVENT_recvfrom].want = BL_WANT_ON | BL_WANT_DATA;
    a.kinds[BL_EVENT_recvfrom].want = BL_WANT_ON | BL_WANT_NOT_TCP;
    a.paths = {{"/etc/", true, false, 1}};
    const auto both = united(a, b);
    EXPECT_EQ(both.kinds[BL_EVENT_openat].want, BL_WANT_ON | BL_WANT_SUCCESS | BL_WANT_PATH);
    EXPECT_EQ(both.kinds[BL_EVENT_openat].path_any, 3);
    EXPECT_EQ(both.kinds[BL_EVENT_recvfrom].want, BL_WANT_ON | BL_WANT_DATA);
    EXPECT_EQ(both.paths.size(), 1);
    EXPECT_EQ(united(b, Capture{}), b);
}

} // namespace
} // namespace beeline::security
