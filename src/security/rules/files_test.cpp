#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "security/rules/rule_set.h"
#include "security/rules/test_catalog.h"

namespace beeline::security::rules {
namespace {

class RuleFiles : public testing::Test {
protected:
    void SetUp() override {
        std::string path = testing::TempDir() + "rules_XXXXXX";
        ASSERT_NE(mkdtemp(path.data()), nullptr);
        folder_ = path;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string write(const std::string& name, const std::string& text) {
        const std::string path = folder_ + "/" + name;
        std::filesystem::create_directories(std::filesystem::path(path).parent_path());
        std::ofstream(path) << text;
        return path;
    }

    std::string folder_;
};

TEST_F(RuleFiles, AreReadInOrder) {
    const std::string first = write("z.yaml", "first");
    write("rules.d/20.yml", "twenty");
    write("rules.d/10.yaml", "ten");
    write("rules.d/3.yaml", "three");
    write("rules.d/notes.txt", "no rules");
    write("rules.d/sub.yaml/x.yaml", "a folder");
    const auto files = read_files({first, folder_ + "/rules.d"});
    ASSERT_TRUE(files.has_value());
    std::string order;
    for (const File& file : *files)
        order += file.text + " " + file.read_error;
    EXPECT_EQ(order, "first ten twenty three ");
    EXPECT_EQ(files->front().name, first);
    EXPECT_EQ(files->at(1).name, folder_ + "/rules.d/10.yaml");
}

TEST_F(RuleFiles, ThatCannotBeReadAreErrorsOfTheLoad) {
    const auto files = read_files({folder_ + "/none.yaml", write("a.yaml", "")});
    ASSERT_TRUE(files.has_value());
    ASSERT_EQ(files->size(), 2U);
    const LoadResult result = load(*files, TestCatalog());
    EXPECT_FALSE(result.successful());
    ASSERT_EQ(result.files.size(), 1U);
    const Problem& problem = result.files.front().errors.at(0);
    EXPECT_EQ(problem.code, "LOAD_ERR_FILE_READ");
    EXPECT_EQ(problem.file, folder_ + "/none.yaml");
    EXPECT_FALSE(problem.message.empty());
    EXPECT_NE(to_text(result).find("[LOAD_ERR_FILE_READ]"), std::string::npos);
}

TEST_F(RuleFiles, MayBeNone) {
    const auto files = read_files({folder_});
    ASSERT_TRUE(files.has_value());
    const LoadResult result = load(*files, TestCatalog());
    EXPECT_TRUE(result.successful());
    EXPECT_TRUE(result.set.rules.empty());
}

} // namespace
} // namespace beeline::security::rules
