// The verbs over prepared records; what they start and stop is tested in runtime_test.cpp.
#include "cli/run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "cli/app.h"
#include "cli/runtime_files.h"
#include "cli/runtime_log.h"
#include "cli/runtime_record.h"

namespace beeline::cli {
namespace {

class RunVerbs : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/beeline-verbs-XXXXXX";
        paths_.state = ::mkdtemp(name);
        paths_.run = paths_.state + "/run";
        paths_.cgroup = "beeline/none";
        std::filesystem::create_directories(files().records);
        std::filesystem::create_directories(files().logs);
        context_.find_paths = [this](std::string_view) { return Result<api::Paths>(paths_); };
    }
    void TearDown() override { std::filesystem::remove_all(paths_.state); }

    [[nodiscard]] RunFiles files() const { return RunFiles(paths_); }

    int verb(std::vector<std::string> arguments) {
        out_.str("");
        err_.str("");
        return run(std::move(arguments), context_);
    }

    void add(const std::string& space, const std::string& name, bool exited) {
        RunRecord record;
        record.space = space;
        record.name = name;
        record.command = {"/bin/server"};
        record.detached = true;
        record.boot = boot_id();
        record.supervisor = ::getpid();
        record.supervisor_start = process_start(::getpid()).value_or(0);
        record.status = exited ? RunRecord::Status::exited : RunRecord::Status::running;
        record.exit_code = exited ? 3 : 0;
        record.cgroup = paths_.cgroup + "/workloads/" + record.key();
        record.container = record.key();
        record.addresses = {"10.0.0.1"};
        ASSERT_TRUE(save_record(files(), record));
        auto log = LogWriter::create(files().log(record.key()));
        ASSERT_TRUE(log) << log.error().message;
        log->write("stdout", "one\ntwo\n");
        log->write("stderr", "bad\n");
    }

    api::Paths paths_;
    std::ostringstream out_;
    std::ostringstream err_;
    Context context_{.out = out_, .err = err_};
};

#define NEEDS_ROOT()                                                                               \
    if (::geteuid() != 0) GTEST_SKIP() << "needs root"

TEST_F(RunVerbs, WrongUsageIsToldWithoutRoot) {
    EXPECT_EQ(verb({"run", "--name", "Web", "--", "true"}), kWrongUsage);
    EXPECT_NE(err_.str().find("--name: 'Web' is not a DNS label"), std::string::npos) << err_.str();
    EXPECT_EQ(verb({"run", "--", "true"}), kWrongUsage);
    EXPECT_EQ(verb({"run", "--name", "web"}), kWrongUsage);
    EXPECT_NE(err_.str().find("after --"), std::string::npos) << err_.str();
    EXPECT_EQ(verb({"run", "--name", "web", "--colour", "red", "--", "true"}), kWrongUsage);
    EXPECT_EQ(verb({"run", "--name", "web", "--label", "x", "--", "true"}), kWrongUsage);
    EXPECT_EQ(verb({"stop"}), kWrongUsage);
    EXPECT_EQ(verb({"stop", "web", "--all"}), kWrongUsage);
    EXPECT_EQ(verb({"stop", "web", "--timeout", "-1"}), kWrongUsage);
    EXPECT_EQ(verb({"logs"}), kWrongUsage);
    EXPECT_EQ(verb({"ps", "-o", "xml"}), kWrongUsage);
}

TEST_F(RunVerbs, RootIsAskedFor) {
    if (::geteuid() == 0) GTEST_SKIP() << "is root";
    EXPECT_EQ(verb({"run", "--name", "web", "--", "true"}), kFailed);
    EXPECT_NE(err_.str().find("sudo"), std::string::npos) << err_.str();
}

TEST_F(RunVerbs, PsShowsRecordsWithoutAnAgent) {
    NEEDS_ROOT();
    add("shop", "web", false);
    add("shop", "job", true);
    ASSERT_EQ(verb({"ps"}), kDone) << err_.str();
    EXPECT_NE(err_.str().find("beelined is not running"), std::string::npos);
    EXPECT_NE(out_.str().find("shop       web   -    running"), std::string::npos) << out_.str();
    EXPECT_EQ(out_.str().find("job"), std::string::npos);
    ASSERT_EQ(verb({"ps", "-a", "-o", "json"}), kDone);
    const auto rows = nlohmann::json::parse(out_.str(), nullptr, false);
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0]["exit_code"], 3);
    EXPECT_EQ(rows[1]["command"][0], "/bin/server");
    ASSERT_EQ(verb({"ps", "-a", "-n", "other"}), kDone);
    EXPECT_EQ(out_.str(), "");
}

TEST_F(RunVerbs, LogsSplitStreams) {
    NEEDS_ROOT();
    add("shop", "web", true);
    ASSERT_EQ(verb({"logs", "web", "-n", "shop"}), kDone);
    EXPECT_EQ(out_.str(), "one\ntwo\n");
    EXPECT_EQ(err_.str(), "bad\n");
    ASSERT_EQ(verb({"logs", "web", "-n", "shop", "-f", "--tail", "2"}), kDone) << "it has ended";
    EXPECT_EQ(out_.str(), "two\n");
    ASSERT_EQ(verb({"logs", "web", "-n", "shop", "-t", "--tail", "2"}), kDone);
    EXPECT_EQ(out_.str().find("20"), 0U) << out_.str();
    EXPECT_EQ(verb({"logs", "web"}), kFailed);
    EXPECT_NE(err_.str().find("no workload default/web"), std::string::npos) << err_.str();
    EXPECT_EQ(verb({"logs", "../web", "-n", "shop"}), kFailed);
}

TEST_F(RunVerbs, StopOfWhatHasEnded) {
    NEEDS_ROOT();
    add("shop", "job", true);
    ASSERT_EQ(verb({"stop", "job", "-n", "shop"}), kDone);
    EXPECT_NE(err_.str().find("has ended already (exited 3)"), std::string::npos) << err_.str();
    ASSERT_EQ(verb({"stop", "job", "-n", "shop", "--rm"}), kDone);
    EXPECT_FALSE(std::filesystem::exists(files().record("shop_job")));
    EXPECT_FALSE(std::filesystem::exists(files().log("shop_job")));
    EXPECT_EQ(verb({"stop", "job", "-n", "shop"}), kFailed);
}

TEST_F(RunVerbs, CommandsMayLookLikeOurs) {
    NEEDS_ROOT();
    paths_.cgroup = "beeline/unit-verbs";
    // Reaches the agent, which is not there, so everything before was understood.
    EXPECT_EQ(verb({"run", "--name", "web", "--label", "a=b", "--label", "c=d", "--", "stop",
                    "--all", "--", "-x"}),
              kFailed);
    EXPECT_NE(err_.str().find("beelined is not running"), std::string::npos) << err_.str();
}

} // namespace
} // namespace beeline::cli
