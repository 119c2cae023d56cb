// For the tests of this folder: a folder for manifests and one for state, gone at the end.
#pragma once

#include <gtest/gtest.h>

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "source/files.h"

namespace beeline::source {

inline std::string test_policy(const std::string& name, const std::string& app = "web") {
    return fmt::format(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {}\nspec:\n"
        "  podSelector:\n    matchLabels:\n      app: {}\n  ingress:\n  - from:\n    - "
        "podSelector:\n"
        "        matchLabels:\n          app: client\n    ports:\n    - protocol: TCP\n      port: "
        "http\n",
        name, app);
}

inline std::string test_service(const std::string& name, const std::string& address) {
    return fmt::format(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec:\n  clusterIP: {}\n"
        "  ports: [{{port: 80}}]\n",
        name, address);
}

class FilesTest : public testing::Test {
protected:
    FilesTest() {
        set_log_level(LogLevel::error);
        // In memory where possible: a busy disk makes thousands of small files slow.
        const std::filesystem::path memory = "/dev/shm";
        const bool usable = ::access(memory.c_str(), W_OK) == 0;
        std::string name =
            ((usable ? memory : std::filesystem::temp_directory_path()) / "beeline-files-XXXXXX")
                .string();
        base_ = mkdtemp(name.data());
        options_ = {base_ + "/manifests", base_ + "/state", 20};
    }
    ~FilesTest() override { std::filesystem::remove_all(base_); }

    std::unique_ptr<FilesSource> create() {
        auto source =
            FilesSource::create(options_, [this](std::shared_ptr<const model::Objects> objects) {
                const std::lock_guard lock(mutex_);
                published_.push_back(std::move(objects));
            });
        EXPECT_TRUE(source) << source.error().message;
        return source ? std::move(*source) : nullptr;
    }

    [[nodiscard]] std::string path(const std::string& file) const {
        return options_.folder + "/" + file;
    }
    void write(const std::string& file, const std::string& text) const {
        std::ofstream(path(file)) << text;
    }
    [[nodiscard]] std::string text_of(const std::string& file) const {
        return read_file(path(file)).value_or("(absent)");
    }
    [[nodiscard]] bool exists(const std::string& file) const {
        return std::filesystem::exists(path(file));
    }

    std::size_t publications() {
        const std::lock_guard lock(mutex_);
        return published_.size();
    }
    std::shared_ptr<const model::Objects> last() {
        const std::lock_guard lock(mutex_);
        return published_.empty() ? nullptr : published_.back();
    }
    // "a b": the names of the policies in force.
    std::string policies() {
        std::string names;
        if (const auto objects = last()) {
            for (const auto& [name, policy] : objects->policies)
                names += (names.empty() ? "" : " ") + name.name;
        }
        return names;
    }
    static std::string errors(const FilesSource& source) {
        std::string text;
        for (const auto& error : source.errors())
            text += error.file + "|" + error.message + "\n";
        return text;
    }

    std::string base_;
    FilesOptions options_;
    std::mutex mutex_;
    std::vector<std::shared_ptr<const model::Objects>> published_;
};

} // namespace beeline::source
