#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace beeline {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
protected:
    void SetUp() override {
        folder_ = fs::temp_directory_path() / fmt::format("beeline-file-{}", getpid());
        fs::remove_all(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }
    fs::path folder_;
};

TEST_F(FileTest, FilesAreReplacedAsAWhole) {
    ASSERT_TRUE(make_folder(folder_ / "a" / "b"));
    ASSERT_TRUE(make_folder(folder_ / "a" / "b"));
    const std::string path = folder_ / "a" / "b" / "file";
    EXPECT_EQ(read_file(path).error().code, Code::not_found);
    for (const auto durable : {Durable::yes, Durable::no}) {
        const std::string content(200'000, durable == Durable::yes ? 'x' : 'y');
        ASSERT_TRUE(replace_file(path, content, durable));
        EXPECT_EQ(read_file(path).value(), content);
    }
    // Nothing temporary stays.
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "a" / "b"), fs::directory_iterator()),
              1);
    EXPECT_EQ(read_file(path, 1000).error().code, Code::exhausted);
    EXPECT_FALSE(read_file("/proc/self/cmdline")->empty());
}

TEST_F(FileTest, ErrorsNameTheFile) {
    const auto missing = replace_file(folder_ / "none" / "file", "x");
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().number, ENOENT);
    EXPECT_NE(missing.error().message.find("none/file"), std::string::npos);
    ASSERT_TRUE(make_folder(folder_));
    ASSERT_TRUE(replace_file(folder_ / "file", "x"));
    EXPECT_FALSE(make_folder(folder_ / "file" / "below"));
    EXPECT_FALSE(read_file(folder_));
}

} // namespace
} // namespace beeline
