#include "source/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "source/apply_journal.h"

namespace beeline::source {
namespace {

constexpr std::size_t kLargestFile = yaml::Limits{}.bytes;
constexpr std::size_t kCopiesAtOnce = 64;

// Two changes within this time can leave the same signature: file times move in ticks of the kernel's clock.
constexpr std::int64_t kTickNs = 50'000'000;

std::int64_t nanoseconds(const timespec& time) {
    return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return nanoseconds(now);
}

// Names of the files in a folder that could be manifests.
Result<std::set<std::string>> manifest_names(const std::string& folder) {
    std::set<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator it(folder, error);
    for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
        auto name = it->path().filename().string();
        if (is_manifest_file_name(name)) names.insert(std::move(name));
    }
    if (error) return fail_errno(error.value(), fmt::format("read the folder '{}'", folder));
    return names;
}

} // namespace

FilesSource::FilesSource(FilesOptions options, Publish publish)
    : options_(std::move(options)), publish_(std::move(publish)),
      copies_(options_.state_folder + "/manifests-good"),
      journal_(options_.state_folder + "/manifests-apply") {}

Result<std::unique_ptr<FilesSource>> FilesSource::create(FilesOptions options, Publish publish) {
    std::unique_ptr<FilesSource> out(new FilesSource(std::move(options), std::move(publish)));
    TRY(make_folder(out->options_.folder));
    TRY(make_folder(out->copies_));
    TRY(replay_journal(out->options_.folder, out->journal_));
    return out;
}

FilesSource::~FilesSource() {
    if (copy_timer_) loop_->cancel(*copy_timer_);
    for (const auto& name : unsaved_)
        save_copy(name);
}

Result<> FilesSource::start(loop::Loop& loop) {
    loop_ = &loop;
    // The watch first: a change during the scan is then seen by one or the other.
    watch_ =
        TRY(FolderWatch::create(loop, options_.folder, options_.settle_ms, [this] { rescan(); }));
    rescan();
    return {};
}

SourceState FilesSource::state() const {
    return {"files", options_.folder, published_ != nullptr, folder_error_.empty(), 0, sets_};
}

void FilesSource::rescan() {
    scan();
    settle_on(merge(good_files()));
    save_copies();
}

std::optional<FilesSource::Signature> FilesSource::look(const std::string& path) {
    struct stat info{};
    // What cannot be looked at is there: reading it will say why it cannot be taken.
    if (::stat(path.c_str(), &info) != 0)
        return errno == ENOENT ? std::nullopt : std::optional(Signature{});
    if (!S_ISREG(info.st_mode)) return std::nullopt;
    return Signature{nanoseconds(info.st_mtim), nanoseconds(info.st_ctim), info.st_ino,
                     static_cast<std::uint64_t>(info.st_size)};
}

void FilesSource::scan() {
    const auto names = manifest_names(options_.folder);
    folder_error_ = names ? "" : names.error().message;
    if (!names) return;
    std::set<std::string> present;
    for (const auto& name : *names) {
        const auto signature = look(path_of(name));
        if (!signature) continue;
        present.insert(name);
        File& file = files_[name];
        if (!file.fresh && file.signature == *signature) continue;
        file.signature = *signature;
        file.fresh = signature->inode == 0 ||
                     now_ns() - std::max(signature->modified_ns, signature->changed_ns) < kTickNs;
        read(name, file);
    }
    forget_absent(present);
}

void FilesSource::read(const std::string& name, File& file) {
    auto text = read_file(path_of(name), kLargestFile);
    if (text) {
        accept(name, file, std::move(*text));
    } else {
        file.error = text.error().message;
    }
    if (file.good || file.error.empty()) return;
    // Bad, and nothing known yet: what it last said before a restart.
    const auto copy = read_file(copy_of(name), kLargestFile);
    if (!copy) return;
    if (auto manifests = read_manifests(*copy, name)) {
        file.good = std::make_shared<ManifestFile>(ManifestFile{*copy, std::move(*manifests)});
    }
}

void FilesSource::accept(const std::string& name, File& file, std::string text) {
    if (file.good && file.good->text == text) {
        file.error.clear();
        return;
    }
    if (text.empty()) {
        file.error =
            fmt::format("{}: the file is empty: remove it, or write a comment into it", name);
        return;
    }
    auto manifests = read_manifests(text, name);
    if (!manifests) {
        file.error = manifests.error().message;
        return;
    }
    for (const auto& manifest : *manifests) {
        for (const auto& warning : manifest.warnings)
            log_warn("manifest", kv("warning", warning));
    }
    log_info("manifest file read", kv("file", path_of(name)), kv("objects", manifests->size()));
    file.error.clear();
    file.good =
        std::make_shared<ManifestFile>(ManifestFile{std::move(text), std::move(*manifests)});
    unsaved_.insert(name);
}

void FilesSource::forget_absent(const std::set<std::string>& present) {
    for (auto it = files_.begin(); it != files_.end();) {
        if (present.contains(it->first)) {
            ++it;
            continue;
        }
        ::unlink(copy_of(it->first).c_str());
        unsaved_.erase(it->first);
        it = files_.erase(it);
    }
    if (copies_checked_) return;
    // Copies of files that went away while nobody was looking.
    if (const auto copies = manifest_names(copies_)) {
        copies_checked_ = true;
        for (const auto& name : *copies) {
            if (!present.contains(name)) ::unlink(copy_of(name).c_str());
        }
    }
}

ManifestFiles FilesSource::good_files() const {
    ManifestFiles out;
    for (const auto& [name, file] : files_) {
        if (file.good) out.emplace(name, file.good);
    }
    return out;
}

void FilesSource::settle_on(MergedFiles merged) {
    merged_ = std::move(merged);
    std::vector<SourceError> errors;
    if (!folder_error_.empty()) errors.push_back({"", folder_error_});
    for (const auto& [name, file] : files_) {
        if (!file.error.empty()) errors.push_back({name, file.error});
    }
    for (const auto& each : merged_.conflicts) {
        errors.push_back({each.file, fmt::format("{}:{}: {}", each.file, each.line, each.message)});
    }
    for (const auto& error : errors) {
        if (std::find(errors_.begin(), errors_.end(), error) != errors_.end()) continue;
        log_error("manifest not taken", kv("folder", options_.folder), kv("error", error.message));
    }
    errors_ = std::move(errors);
    auto objects = std::exchange(merged_.objects, {});
    if (published_ && *published_ == objects) return;
    published_ = std::make_shared<const model::Objects>(std::move(objects));
    ++sets_;
    publish_(published_);
}

// Many copies are written in pieces, so that an apply() of a thousand objects does not wait for them.
void FilesSource::save_copies() {
    for (std::size_t i = 0; !unsaved_.empty() && (loop_ == nullptr || i < kCopiesAtOnce); ++i) {
        const auto name = std::move(unsaved_.extract(unsaved_.begin()).value());
        save_copy(name);
    }
    if (unsaved_.empty() || copy_timer_) return;
    copy_timer_ = loop_->after(10, [this] {
        copy_timer_.reset();
        save_copies();
    });
}

void FilesSource::save_copy(const std::string& name) {
    const auto file = files_.find(name);
    if (file == files_.end() || !file->second.good) return;
    const auto path = copy_of(name);
    const auto& text = file->second.good->text;
    if (const auto copy = read_file(path, kLargestFile); copy && *copy == text) return;
    if (const auto done = replace_file(path, text, Durable::no); !done) {
        log_warn("cannot keep the good state of a manifest", kv("error", done.error().message));
    }
}

Result<std::vector<StoredObject>> FilesSource::list(const ObjectFilter& filter) const {
    std::optional<ObjectKind> kind;
    if (!filter.kind.empty()) {
        kind = parse_kind(filter.kind);
        if (!kind)
            return fail(Code::invalid, "'{}' is no kind of object that is known here",
                        yaml::shown(filter.kind));
    }
    std::vector<StoredObject> out;
    for (const auto& [key, place] : merged_.places) {
        const auto& [object_kind, name] = key;
        if (kind && *kind != object_kind) continue;
        if (filter.space && *filter.space != name.space) continue;
        if (!filter.name.empty() && filter.name != name.name) continue;
        out.push_back({object_kind, name, place.file, place.manifest->yaml});
    }
    return out;
}

} // namespace beeline::source
