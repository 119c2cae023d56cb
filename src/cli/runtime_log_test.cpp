#include "cli/runtime_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace beeline::cli {
namespace {

class RuntimeLog : public testing::Test {
protected:
    void SetUp() override {
        char name[] = "/tmp/beeline-log-XXXXXX";
        folder_ = ::mkdtemp(name);
        path_ = folder_ + "/shop_web.log";
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    // "stream:text", with a '+' after the stream of a piece.
    static std::string shown(std::string_view line) {
        const auto parsed = parse_log_line(line);
        return fmt::format("{}{}:{}", parsed.stream, parsed.full ? "" : "+", parsed.text);
    }
    std::vector<std::string> tail(long count) {
        LogReader reader(path_);
        std::vector<std::string> lines;
        EXPECT_TRUE(reader.tail(count, [&](std::string_view line) {
            lines.push_back(shown(line));
            return true;
        }));
        return lines;
    }

    std::string folder_;
    std::string path_;
};

using Lines = std::vector<std::string>;

TEST_F(RuntimeLog, LinesOfBothStreamsKeepTheirOwnUnfinishedText) {
    auto log = LogWriter::create(path_).value();
    log.write("stdout", "one\ntw");
    log.write("stderr", "bad\n");
    log.write("stdout", "o\n\nrest");
    log.note("said by the supervisor");
    EXPECT_EQ(tail(-1), (Lines{"stdout:one", "stderr:bad", "stdout:two",
                               "stdout:", "beeline:said by the supervisor"}));
    log.flush();
    EXPECT_EQ(tail(1), Lines{"stdout:rest"});
    EXPECT_EQ(tail(2), (Lines{"beeline:said by the supervisor", "stdout:rest"}));
    EXPECT_EQ(tail(0), Lines{});
}

TEST_F(RuntimeLog, TimesAreRfc3339) {
    auto log = LogWriter::create(path_).value();
    log.write("stdout", "x\n");
    LogReader reader(path_);
    (void)reader.tail(-1, [&](std::string_view line) {
        const auto time = parse_log_line(line).time;
        EXPECT_EQ(time.size(), std::string("2026-11-25T09:00:00.123456Z").size()) << time;
        EXPECT_EQ(time[10], 'T');
        EXPECT_EQ(time.back(), 'Z');
        return true;
    });
}

TEST_F(RuntimeLog, LongLinesBecomePieces) {
    auto log = LogWriter::create(path_).value();
    const std::string text =
        std::string(LogWriter::kMostLine, 'a') + std::string(LogWriter::kMostLine, 'b') + "c";
    log.write("stdout", text.substr(0, 20'000));
    log.write("stdout", text.substr(20'000) + "\n");
    const auto lines = tail(-1);
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_EQ(lines[0], "stdout+:" + std::string(LogWriter::kMostLine, 'a'));
    EXPECT_EQ(lines[1], "stdout+:" + std::string(LogWriter::kMostLine, 'b'));
    EXPECT_EQ(lines[2], "stdout:c");
}

TEST_F(RuntimeLog, RotationKeepsTwoOldFiles) {
    auto log = LogWriter::create(path_, 1000).value();
    for (int i = 0; i < 200; ++i)
        log.write("stdout", fmt::format("line {}\n", i));
    for (const auto* suffix : {"", ".1", ".2"}) {
        struct stat info{};
        ASSERT_EQ(::stat((path_ + suffix).c_str(), &info), 0) << suffix;
        EXPECT_LE(info.st_size, 1000);
    }
    EXPECT_NE(::access((path_ + ".3").c_str(), F_OK), 0);
    const auto lines = tail(-1);
    ASSERT_GT(lines.size(), 40U) << "about 22 lines fit a file";
    EXPECT_EQ(lines.back(), "stdout:line 199");
    for (std::size_t i = 0; i < lines.size(); ++i)
        EXPECT_EQ(lines[i], fmt::format("stdout:line {}", 200 - lines.size() + i));
    EXPECT_EQ(tail(30).size(), 30U) << "the tail spans files";
}

TEST_F(RuntimeLog, FollowingGoesThroughARotation) {
    auto log = LogWriter::create(path_, 1000).value();
    log.write("stdout", "before\n");
    LogReader reader(path_);
    Lines lines;
    const auto keep = [&](std::string_view line) {
        lines.push_back(shown(line));
        return true;
    };
    ASSERT_TRUE(reader.tail(0, keep));
    Lines expected;
    for (int i = 0; i < 100; ++i) {
        log.write("stdout", fmt::format("line {}\n", i));
        expected.push_back(fmt::format("stdout:line {}", i));
        if (i % 10 == 0) {
            ASSERT_TRUE(reader.more(keep));
        }
    }
    ASSERT_TRUE(reader.more(keep));
    EXPECT_EQ(lines, expected);
}

TEST_F(RuntimeLog, ANewRunStartsANewLog) {
    {
        auto log = LogWriter::create(path_, 200).value();
        for (int i = 0; i < 50; ++i)
            log.write("stdout", "old\n");
    }
    auto log = LogWriter::create(path_).value();
    log.write("stdout", "new\n");
    EXPECT_EQ(tail(-1), Lines{"stdout:new"});
}

TEST_F(RuntimeLog, WhatIsNoLogLineIsShownWhole) {
    EXPECT_EQ(shown("garbage"), "beeline:garbage");
    EXPECT_EQ(shown(""), "beeline:");
    EXPECT_EQ(shown("a b X c"), "beeline:a b X c");
    EXPECT_EQ(shown("t stdout F "), "stdout:");
    LogReader reader(folder_ + "/none.log");
    const auto result = reader.tail(1, [](std::string_view) { return true; });
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, Code::not_found);
}

} // namespace
} // namespace beeline::cli
