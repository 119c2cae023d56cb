#include "api/export/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace beeline::exporting {
namespace {

namespace fs = std::filesystem;

class RotatingFileTest : public testing::Test {
protected:
    RotatingFileTest() {
        std::string pattern = testing::TempDir() + "/beeline-export-XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
        options_.path = folder_ + "/flows.log";
    }
    ~RotatingFileTest() override { fs::remove_all(folder_); }

    std::string read(const std::string& suffix = "") const {
        std::ifstream file(options_.path + suffix);
        return std::string((std::istreambuf_iterator<char>(file)), {});
    }
    bool exists(const std::string& suffix) const { return fs::exists(options_.path + suffix); }

    std::string folder_;
    FileOptions options_;
};

TEST_F(RotatingFileTest, TurnsWhenFullAndKeepsSoMany) {
    options_.max_bytes = 10;
    options_.keep = 2;
    RotatingFile file(options_);
    for (const char* line : {"one\n", "two\n", "three\n", "four\n", "five\n", "six\n", "seven\n"})
        ASSERT_TRUE(file.write(line).has_value());
    EXPECT_EQ(read(), "six\nseven\n");
    EXPECT_EQ(read(".1"), "four\nfive\n");
    EXPECT_EQ(read(".2"), "three\n");
    EXPECT_FALSE(exists(".3"));
    struct stat file_stat{};
    ASSERT_EQ(::stat(options_.path.c_str(), &file_stat), 0);
    EXPECT_EQ(file_stat.st_mode & 0777U, 0600U);
}

TEST_F(RotatingFileTest, CompressesTheOlderOnes) {
    options_.max_bytes = 4;
    options_.compress = true;
    RotatingFile file(options_);
    for (const char* line : {"one\n", "two\n", "six\n"})
        ASSERT_TRUE(file.write(line).has_value());
    EXPECT_EQ(read(), "six\n");
    EXPECT_EQ(read(".1.gz").substr(0, 2), "\x1f\x8b");
    EXPECT_TRUE(exists(".2.gz"));
    EXPECT_FALSE(exists(".1"));
}

TEST_F(RotatingFileTest, KeepsNoneWhenToldSo) {
    options_.max_bytes = 4;
    options_.keep = 0;
    RotatingFile file(options_);
    for (const char* line : {"one\n", "two\n"})
        ASSERT_TRUE(file.write(line).has_value());
    EXPECT_EQ(read(), "two\n");
    EXPECT_FALSE(exists(".1"));
}

TEST_F(RotatingFileTest, GoesOnAfterAnEarlierRunAndEndsItsCutLine) {
    std::ofstream(options_.path) << "{\"half";
    RotatingFile file(options_);
    ASSERT_TRUE(file.write("one\n").has_value());
    EXPECT_EQ(read(), "{\"half\none\n");
}

TEST_F(RotatingFileTest, NeverFollowsALink) {
    fs::create_symlink(folder_ + "/elsewhere", options_.path);
    RotatingFile file(options_);
    EXPECT_FALSE(file.write("one\n").has_value());
    EXPECT_FALSE(fs::exists(folder_ + "/elsewhere"));
}

} // namespace
} // namespace beeline::exporting
