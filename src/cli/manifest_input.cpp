#include "cli/manifest_input.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iterator>

#include "base/file.h"

namespace beeline::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = 16U << 20; // what the agent takes
constexpr std::string_view kAgentsName = "input:";

bool is_manifest(const fs::path& path) {
    const std::string extension = path.extension().string();
    return (extension == ".yaml" || extension == ".yml" || extension == ".json") &&
           !path.filename().string().starts_with('.');
}

Result<std::vector<std::string>> files_of(const std::string& folder) {
    std::error_code error;
    std::vector<std::string> files;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error))
        if (is_manifest(entry->path())) files.push_back(entry->path().string());
    if (error) return fail_errno(error.value(), folder);
    if (files.empty()) return fail(Code::invalid, "{} holds no *.yaml, *.yml or *.json", folder);
    std::sort(files.begin(), files.end());
    return files;
}

} // namespace

void ManifestInput::append(const std::string& file, const std::string& content) {
    if (!text_.empty()) text_ += (text_.ends_with('\n') ? "---\n" : "\n---\n");
    parts_.push_back(
        {file, static_cast<std::size_t>(std::count(text_.begin(), text_.end(), '\n')) + 1});
    text_ += content;
}

Result<> ManifestInput::add(const std::string& path, std::istream& standard_input) {
    if (path == "-") {
        std::string content{std::istreambuf_iterator<char>(standard_input), {}};
        append("standard input", content);
        return {};
    }
    std::vector<std::string> files{path};
    std::error_code error;
    if (fs::is_directory(path, error)) files = TRY(files_of(path));
    for (const auto& file : files)
        append(file, TRY(read_file(file, kMaxBytes)));
    if (text_.size() > kMaxBytes)
        return fail(Code::invalid,
                    "the manifests are larger than {} MiB together: apply them in parts",
                    kMaxBytes >> 20);
    return {};
}

std::string ManifestInput::relocate(const std::string& message) const {
    std::string out;
    std::string_view rest(message);
    for (;;) {
        const std::size_t at = rest.find(kAgentsName);
        if (at == std::string_view::npos) break;
        out += rest.substr(0, at);
        const bool word_before = !out.empty() && out.back() != ' ' && out.back() != '\n' &&
                                 out.back() != '(' && out.back() != '\'';
        rest.remove_prefix(at + kAgentsName.size());
        std::size_t line = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), line);
        const auto part = std::find_if(parts_.rbegin(), parts_.rend(),
                                       [&](const Part& each) { return each.first_line <= line; });
        if (word_before || error != std::errc{} || part == parts_.rend()) {
            out += kAgentsName;
            continue;
        }
        rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
        out += fmt::format("{}:{}", part->file, line - part->first_line + 1);
    }
    return out.append(rest);
}

} // namespace beeline::cli
