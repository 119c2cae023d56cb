#include "cli/runtime_record.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/runtime_files.h"

namespace beeline::cli {
namespace {

class RuntimeRecord : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/beeline-record-XXXXXX";
        paths_.state = ::mkdtemp(name);
        std::filesystem::create_directories(RunFiles(paths_).records);
    }
    void TearDown() override { std::filesystem::remove_all(paths_.state); }

    static RunRecord sample() {
        RunRecord record;
        record.space = "shop";
        record.name = "web";
        record.labels = {{"app", "web"}};
        record.command = {"/bin/server", "--bytes", "\xff\xfe"};
        record.status = RunRecord::Status::running;
        record.boot = boot_id();
        record.supervisor = ::getpid();
        record.supervisor_start = process_start(::getpid()).value_or(0);
        record.pid = 42;
        record.addresses = {"10.0.0.1", "fd00::1"};
        record.attachment = {{"container", "abc"}};
        return record;
    }

    api::Paths paths_;
};

TEST_F(RuntimeRecord, SurvivesItsFile) {
    const RunFiles files(paths_);
    ASSERT_TRUE(save_record(files, sample()));
    const auto loaded = load_record(files, "shop_web");
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->labels, sample().labels);
    EXPECT_EQ(loaded->command[0], "/bin/server");
    EXPECT_EQ(loaded->pid, 42);
    EXPECT_EQ(loaded->addresses, sample().addresses);
    EXPECT_EQ(loaded->attachment, sample().attachment);
    EXPECT_TRUE(loaded->supervised());
    remove_record(files, "shop_web");
    EXPECT_EQ(load_record(files, "shop_web").error().code, Code::not_found);
}

TEST_F(RuntimeRecord, OneBadFileDoesNotHideTheOthers) {
    const RunFiles files(paths_);
    ASSERT_TRUE(save_record(files, sample()));
    std::ofstream(files.record("a_bad")) << "{\"namespace\": 3}";
    std::ofstream(files.record("a_empty"));
    std::ofstream(files.records + "/.shop_x.json.new") << "half";
    const auto all = load_records(files);
    ASSERT_EQ(all.records.size(), 1U);
    EXPECT_EQ(all.records[0].title(), "shop/web");
    EXPECT_EQ(all.problems.size(), 2U);
}

TEST_F(RuntimeRecord, ASupervisorIsKnownByItsStartNotByItsNumberAlone) {
    auto record = sample();
    EXPECT_TRUE(record.supervised());
    record.supervisor_start += 1;
    EXPECT_FALSE(record.supervised());
    record = sample();
    record.boot = "another boot";
    EXPECT_FALSE(record.supervised());
}

TEST_F(RuntimeRecord, ProcessesAreOpenedOnlyWithTheRightStart) {
    const auto start = process_start(::getpid()).value_or(0);
    EXPECT_TRUE(open_process(::getpid(), start));
    EXPECT_FALSE(open_process(::getpid(), start + 1));
    EXPECT_FALSE(open_process(0, 0));
    EXPECT_FALSE(signal_process(Fd(), 0));
}

} // namespace
} // namespace beeline::cli
