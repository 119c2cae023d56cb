#include "source/folder_watch.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

#include "source/test_folder.h"

namespace beeline::source {
namespace {

using std::chrono::milliseconds;

// A source at work on a loop of its own.
class WatchedFilesTest : public FilesTest {
protected:
    void SetUp() override {
        loop_ = loop::Loop::create().value();
        source_ = create();
        ASSERT_TRUE(source_->start(*loop_));
        thread_ = std::thread([this] { loop_->run(); });
    }
    void TearDown() override {
        loop_->call([this] { source_.reset(); });
        loop_->stop();
        thread_.join();
    }

    template <typename Condition>
    bool eventually(Condition condition) {
        for (int i = 0; i < 1000; ++i) {
            if (condition()) return true;
            std::this_thread::sleep_for(milliseconds(5));
        }
        return false;
    }
    bool becomes(const std::string& names) {
        return eventually([&] { return policies() == names; });
    }
    std::string current_errors() {
        return loop_->call([this] { return errors(*source_); });
    }

    std::unique_ptr<loop::Loop> loop_;
    std::unique_ptr<FilesSource> source_;
    std::thread thread_;
};

TEST_F(WatchedFilesTest, FollowsTheFolder) {
    EXPECT_EQ(publications(), 1U);
    write("a.yaml", test_policy("a"));
    EXPECT_TRUE(becomes("a"));
    // As editors save: a new file beside it, then a rename over it.
    write(".a.yaml.tmp", test_policy("b"));
    std::filesystem::rename(path(".a.yaml.tmp"), path("a.yaml"));
    EXPECT_TRUE(becomes("b"));
    // Or the old one aside, then a new one.
    std::filesystem::rename(path("a.yaml"), path("a.yaml~"));
    write("a.yaml", test_policy("c"));
    EXPECT_TRUE(becomes("c"));
    std::filesystem::rename(path("a.yaml"), path("a.off"));
    EXPECT_TRUE(becomes(""));
    write("a.yaml", "kind: [");
    EXPECT_TRUE(eventually([&] { return !current_errors().empty(); }));
    std::filesystem::remove(path("a.yaml"));
    EXPECT_TRUE(eventually([&] { return current_errors().empty(); }));
}

TEST_F(WatchedFilesTest, HiddenFilesAreNoReasonToLook) {
    write("a.yaml", test_policy("a"));
    EXPECT_TRUE(becomes("a"));
    const auto count = publications();
    for (int i = 0; i < 10; ++i)
        write(".hidden.yaml", test_policy("h"));
    std::this_thread::sleep_for(milliseconds(100));
    EXPECT_EQ(publications(), count);
}

TEST_F(WatchedFilesTest, NeverTakesAFileThatIsBeingWritten) {
    write("a.yaml", test_policy("a") + "---\n" + test_policy("b"));
    EXPECT_TRUE(becomes("a b"));
    const int fd = ::open(path("a.yaml").c_str(), O_WRONLY | O_TRUNC);
    ASSERT_GE(fd, 0);
    const auto put = [&](const std::string& text) {
        EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    };
    put(test_policy("a") + "---\n");
    std::this_thread::sleep_for(milliseconds(150));
    EXPECT_EQ(policies(), "a b"); // half of it would be a good file with one policy
    put(test_policy("c"));
    ::close(fd);
    EXPECT_TRUE(becomes("a c"));
    const std::lock_guard lock(mutex_);
    for (const auto& objects : published_)
        EXPECT_NE(objects->policies.size(), 1U);
}

TEST_F(WatchedFilesTest, WriterThatNeverClosesIsReadInTheEnd) {
    const int fd = ::open(path("a.yaml").c_str(), O_WRONLY | O_CREAT, 0644);
    ASSERT_GE(fd, 0);
    const auto text = test_policy("a");
    EXPECT_EQ(::write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    EXPECT_TRUE(becomes("a"));
    ::close(fd);
}

TEST_F(WatchedFilesTest, FolderMayGoAndComeBack) {
    write("a.yaml", test_policy("a"));
    EXPECT_TRUE(becomes("a"));
    std::filesystem::rename(options_.folder, base_ + "/aside");
    EXPECT_TRUE(eventually([&] { return !current_errors().empty(); }));
    EXPECT_EQ(policies(), "a");
    std::filesystem::create_directory(options_.folder);
    write("b.yaml", test_policy("b"));
    EXPECT_TRUE(becomes("b"));
    write("c.yaml", test_policy("c"));
    EXPECT_TRUE(becomes("b c"));
    std::filesystem::remove_all(options_.folder);
    EXPECT_TRUE(eventually([&] { return !current_errors().empty(); }));
    std::filesystem::rename(base_ + "/aside", options_.folder);
    EXPECT_TRUE(becomes("a"));
    EXPECT_TRUE(eventually([&] { return current_errors().empty(); }));
    // The old folder's events are of no interest any more, the new one's are.
    write("d.yaml", test_policy("d"));
    EXPECT_TRUE(becomes("a d"));
}

TEST_F(WatchedFilesTest, LooksAgainWhenEventsWereLost) {
    std::promise<void> flooded;
    loop_->post([waiting = flooded.get_future().share()] { waiting.wait(); });
    // More than the queue of an inotify instance holds; the file below has no event of its own.
    const auto hidden = path(".flood");
    for (int i = 0; i < 9000; ++i) {
        const int fd = ::open(hidden.c_str(), O_WRONLY | O_CREAT, 0644);
        ASSERT_GE(fd, 0);
        ::close(fd);
        ::unlink(hidden.c_str());
    }
    write("a.yaml", test_policy("a"));
    flooded.set_value();
    EXPECT_TRUE(becomes("a"));
}

TEST_F(WatchedFilesTest, ApplyIsPublishedOnce) {
    const auto report = loop_->call(
        [this] { return source_->apply(test_policy("a") + "---\n" + test_policy("b"), false); });
    ASSERT_TRUE(report);
    EXPECT_EQ(policies(), "a b"); // at once
    EXPECT_EQ(publications(), 2U);
    std::this_thread::sleep_for(milliseconds(150));
    EXPECT_EQ(publications(), 2U);
    ASSERT_TRUE(loop_->call([this] { return source_->remove("NetworkPolicy", {"default", "a"}); }));
    EXPECT_EQ(policies(), "b");
    std::this_thread::sleep_for(milliseconds(150));
    EXPECT_EQ(publications(), 3U);
}

TEST_F(WatchedFilesTest, GoodStateOfALargeApplyIsKeptInTheBackground) {
    std::string text;
    for (int i = 0; i < 200; ++i)
        text += test_policy(fmt::format("p{}", i)) + "---\n";
    ASSERT_TRUE(loop_->call([&] { return source_->apply(text, false); }));
    const auto copies = options_.state_folder + "/manifests-good";
    const auto count = [&] {
        return std::distance(std::filesystem::directory_iterator(copies),
                             std::filesystem::directory_iterator());
    };
    EXPECT_TRUE(eventually([&] { return count() == 200; }));
}

class SlowWatchTest : public WatchedFilesTest {
protected:
    SlowWatchTest() { options_.settle_ms = 150; }
};

TEST_F(SlowWatchTest, BurstIsOneChange) {
    for (int i = 0; i < 50; ++i)
        write(fmt::format("f{}.yaml", i), test_policy(fmt::format("p{}", i)));
    EXPECT_TRUE(eventually([&] { return last()->policies.size() == 50; }));
    EXPECT_LE(publications(), 3U);
}

} // namespace
} // namespace beeline::source
