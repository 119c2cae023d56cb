#include "source/apply_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <optional>

#include "base/fd.h"
#include "base/log.h"
#include "source/manifest_set.h"

namespace beeline::source {
namespace {

constexpr std::string_view kHead = "beeline apply 1\n";
constexpr std::string_view kEnd = "end\n";

// Each file is worth a wait for the disk when there are few; a large change would take seconds. What a crash of the
// machine can leave of it then is files that are empty, and those count as damaged.
constexpr std::size_t kMostDurable = 16;

std::string encode(const FileTexts& files) {
    std::string out(kHead);
    for (const auto& [name, text] : files) {
        out += fmt::format("{} {}\n", text.size(), name);
        out += text;
    }
    return out.append(kEnd);
}

std::optional<FileTexts> decode(std::string_view journal) {
    FileTexts files;
    if (!journal.starts_with(kHead)) return std::nullopt;
    journal.remove_prefix(kHead.size());
    while (journal != kEnd) {
        const auto line = journal.find('\n');
        if (line == std::string_view::npos) return std::nullopt;
        std::size_t size = 0;
        const auto [stop, error] = std::from_chars(journal.data(), journal.data() + line, size);
        const auto digits = static_cast<std::size_t>(stop - journal.data());
        if (error != std::errc{} || digits >= line || journal[digits] != ' ') return std::nullopt;
        const std::string name(journal.substr(digits + 1, line - digits - 1));
        journal.remove_prefix(line + 1);
        const bool plain = is_manifest_file_name(name) && name.find('/') == std::string::npos;
        if (!plain || size > journal.size()) return std::nullopt;
        files.emplace_back(name, journal.substr(0, size));
        journal.remove_prefix(size);
    }
    return files;
}

// Name -> text before the change, nothing if there was no file.
using OldTexts = std::vector<std::pair<std::string, std::optional<std::string>>>;

void roll_back(const std::string& folder, const OldTexts& old) {
    for (const auto& [name, text] : old) {
        const auto path = folder + "/" + name;
        if (!text) {
            ::unlink(path.c_str());
        } else if (const auto done = replace_file(path, *text, Durable::no); !done) {
            log_error("cannot restore a manifest", kv("file", path),
                      kv("error", done.error().message));
        }
    }
}

// False if there is such a file. Half of a new file does no harm while the journal has the whole, so the detour by a
// temporary name is spared: it is half the cost of a thousand files.
Result<bool> create_file(const std::string& path, std::string_view text) {
    const Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!fd && errno == EEXIST) return false;
    if (!fd) return fail_errno(errno, fmt::format("create '{}'", path));
    while (!text.empty()) {
        const auto written = ::write(fd.get(), text.data(), text.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) {
            const auto failure = fail_errno(errno, fmt::format("write '{}'", path));
            ::unlink(path.c_str());
            return failure;
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

Result<> write_each(const std::string& folder, const FileTexts& files, OldTexts& old) {
    const auto durable = files.size() <= kMostDurable ? Durable::yes : Durable::no;
    for (const auto& [name, text] : files) {
        const auto path = folder + "/" + name;
        if (durable == Durable::no && TRY(create_file(path, text))) {
            old.emplace_back(name, std::nullopt);
            continue;
        }
        auto before = read_file(path);
        if (!before && before.error().code != Code::not_found) {
            return tl::unexpected(std::move(before).error());
        }
        old.emplace_back(name, before ? std::optional(std::move(*before)) : std::nullopt);
        TRY(replace_file(path, text, durable));
    }
    return {};
}

} // namespace

Result<> replace_files(const std::string& folder, const std::string& journal,
                       const FileTexts& files) {
    if (files.size() > 1) {
        TRY(replace_file(journal, encode(files),
                         files.size() <= kMostDurable ? Durable::yes : Durable::no));
    }
    OldTexts old;
    const auto done = write_each(folder, files, old);
    if (!done) roll_back(folder, old);
    if (files.size() > 1) ::unlink(journal.c_str());
    return done;
}

Result<> replay_journal(const std::string& folder, const std::string& journal) {
    const auto text = read_file(journal);
    if (!text && text.error().code == Code::not_found) return {};
    if (!text) return tl::unexpected(text.error());
    const auto files = decode(*text);
    if (files) {
        const auto durable = files->size() <= kMostDurable ? Durable::yes : Durable::no;
        for (const auto& [name, content] : *files)
            TRY(replace_file(folder + "/" + name, content, durable));
        log_info("completed an interrupted apply", kv("files", files->size()));
    } else {
        log_warn("dropped a damaged record of an apply", kv("file", journal));
    }
    ::unlink(journal.c_str());
    return {};
}

} // namespace beeline::source
