#include "cli/sysdump/archive.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>

namespace beeline::cli {
namespace {

std::string unzip(const std::string& path) {
    std::string out;
    auto* file = ::gzopen(path.c_str(), "rb");
    std::array<char, 4096> buffer;
    for (int size = 0; (size = ::gzread(file, buffer.data(), buffer.size())) > 0;)
        out.append(buffer.data(), static_cast<std::size_t>(size));
    ::gzclose(file);
    return out;
}

TEST(Archive, FilesInBlocks) {
    const std::string path = testing::TempDir() + "archive_test.tar.gz";
    ::unlink(path.c_str());
    auto archive = Archive::create(path);
    ASSERT_TRUE(archive);
    ASSERT_TRUE(archive->add("d/a.txt", "hello"));
    ASSERT_TRUE(archive->add("d/empty", ""));
    ASSERT_TRUE(archive->finish());
    const auto bytes = unzip(path);
    ASSERT_EQ(bytes.size(), 512U * 5);
    EXPECT_STREQ(bytes.c_str(), "d/a.txt");
    EXPECT_EQ(bytes.substr(124, 11), "00000000005");
    EXPECT_EQ(bytes.substr(257, 5), "ustar");
    EXPECT_STREQ(bytes.c_str() + 512, "hello");
    EXPECT_STREQ(bytes.c_str() + 1024, "d/empty");
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
    EXPECT_FALSE(Archive::create(path)); // never over another file
    ::unlink(path.c_str());
}

TEST(Archive, LongNames) {
    EXPECT_TRUE(tar_header("a/" + std::string(100, 'x'), 1, 0));
    EXPECT_TRUE(tar_header(std::string(100, 'd') + "/" + std::string(90, 'x'), 1, 0));
    EXPECT_FALSE(tar_header(std::string(101, 'x'), 1, 0));
}

} // namespace
} // namespace beeline::cli
