#include <algorithm>
#include <filesystem>
#include <system_error>

#include "base/file.h"
#include "security/rules/rule_set.h"

namespace beeline::security::rules {
namespace {

constexpr std::size_t kMostBytes = 16U << 20;

File read_one(const std::string& path) {
    File file;
    file.name = path;
    auto text = read_file(path, kMostBytes);
    if (text) {
        file.text = std::move(*text);
    } else {
        file.read_error = text.error().message;
    }
    return file;
}

// Its rule files in alphabetical order.
Result<std::vector<std::string>> files_of(const std::string& folder) {
    std::vector<std::string> paths;
    std::error_code error;
    std::filesystem::directory_iterator entries(folder, error);
    for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
        const auto& path = entries->path();
        const std::string extension = path.extension().string();
        std::error_code ignored;
        if ((extension == ".yaml" || extension == ".yml") && !entries->is_directory(ignored))
            paths.push_back(path.string());
    }
    if (error) return fail_errno(error.value(), folder);
    std::sort(paths.begin(), paths.end());
    return paths;
}

} // namespace

Result<std::vector<File>> read_files(const std::vector<std::string>& paths) {
    std::vector<File> files;
    for (const std::string& path : paths) {
        std::error_code ignored;
        if (!std::filesystem::is_directory(path, ignored)) {
            files.push_back(read_one(path));
            continue;
        }
        for (const std::string& each : TRY(files_of(path)))
            files.push_back(read_one(each));
    }
    return files;
}

} // namespace beeline::security::rules
