// The half of FilesSource that changes the folder.
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "source/apply_journal.h"
#include "source/files.h"

namespace beeline::source {
namespace {

// Whether a file is one that apply() keeps this object, and nothing else, in.
bool holds_only(const ManifestFile& file, ObjectKind kind, const model::ObjectName& name) {
    return file.manifests.size() == 1 && file.manifests.front().kind == kind &&
           file.manifests.front().name == name;
}

} // namespace

Result<ApplyAction> FilesSource::plan(const Manifest& manifest, const std::string& file) const {
    const auto place = merged_.places.find({manifest.kind, manifest.name});
    if (place != merged_.places.end() && place->second.file != file) {
        return fail(Code::exists, "{} is defined in {}: change it there", manifest.title(),
                    path_of(place->second.file));
    }
    const auto known = files_.find(file);
    if (known == files_.end() || !known->second.good) return ApplyAction::created;
    if (!holds_only(*known->second.good, manifest.kind, manifest.name)) {
        return fail(Code::exists, "{} holds other objects than {}: rename that file", path_of(file),
                    manifest.title());
    }
    const bool same = known->second.error.empty() && known->second.good->text == manifest.yaml;
    return same ? ApplyAction::unchanged : ApplyAction::changed;
}

Result<> FilesSource::check_conflicts(const MergedFiles& merged) const {
    for (const auto& conflict : merged.conflicts) {
        const auto& known = merged_.conflicts;
        if (std::find(known.begin(), known.end(), conflict) == known.end()) {
            return fail(Code::exists, "{}", conflict.message);
        }
    }
    return {};
}

Result<ApplyReport> FilesSource::apply(std::string_view yaml, bool dry_run) {
    auto manifests = TRY(read_manifests(yaml, "input"));
    if (manifests.empty()) return fail(Code::invalid, "input: there is no object in it");
    rescan();
    if (!folder_error_.empty()) return fail(Code::unavailable, "{}", folder_error_);

    ApplyReport report;
    std::vector<Change> changes;
    ManifestFiles files = good_files();
    for (auto& manifest : manifests) {
        const auto name = object_file_name(manifest.kind, manifest.name);
        const auto action = TRY(plan(manifest, name));
        report.objects.push_back({manifest.kind, manifest.name, action});
        report.warnings.insert(report.warnings.end(), manifest.warnings.begin(),
                               manifest.warnings.end());
        if (action == ApplyAction::unchanged) continue;
        auto content = std::make_shared<ManifestFile>();
        content->text = manifest.yaml;
        content->manifests.push_back(std::move(manifest));
        content->manifests.front().line = 1; // of the new file
        files[name] = content;
        changes.push_back({name, std::move(content)});
    }
    auto merged = merge(files);
    TRY(check_conflicts(merged));
    if (dry_run || changes.empty()) return report;
    TRY(write(changes));
    settle_on(std::move(merged));
    save_copies();
    return report;
}

Result<> FilesSource::write(const std::vector<Change>& changes) {
    FileTexts texts;
    for (const auto& change : changes)
        texts.emplace_back(change.file, change.content->text);
    TRY(replace_files(options_.folder, journal_, texts));
    for (const auto& change : changes) {
        File& file = files_[change.file];
        file.good = change.content;
        file.error.clear();
        // Left fresh: someone else may write it within the same tick.
        file.fresh = true;
        unsaved_.insert(change.file);
    }
    log_info("objects applied", kv("files", changes.size()));
    return {};
}

Result<> FilesSource::remove(std::string_view kind, const model::ObjectName& name) {
    const auto known = parse_kind(kind);
    if (!known)
        return fail(Code::invalid, "'{}' is no kind of object that is known here",
                    yaml::shown(kind));
    rescan();
    if (!folder_error_.empty()) return fail(Code::unavailable, "{}", folder_error_);
    const auto place = merged_.places.find({*known, name});
    if (place == merged_.places.end()) {
        return fail(Code::not_found, "{} {} does not exist", kind_name(*known), name.to_string());
    }
    const auto file = place->second.file;
    if (file != object_file_name(*known, name) ||
        !holds_only(*files_.at(file).good, *known, name)) {
        return fail(Code::denied, "{} is defined in {}, a file written by hand: remove it there",
                    place->second.manifest->title(), path_of(file));
    }
    const auto path = path_of(file);
    if (::unlink(path.c_str()) != 0 && errno != ENOENT)
        return fail_errno(errno, fmt::format("remove '{}'", path));
    log_info("object removed", kv("file", path));
    rescan();
    return {};
}

} // namespace beeline::source
