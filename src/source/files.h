// Desired state from a folder of manifests: read, watched, and changed through apply() and remove().
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "loop/loop.h"
#include "model/objects.h"
#include "source/folder_watch.h"
#include "source/manifest.h"
#include "source/manifest_set.h"
#include "source/source.h"

namespace beeline::source {

struct FilesOptions {
    std::string folder;       // *.yaml, *.yml and *.json directly in it
    std::string state_folder; // the last good text of each file is kept below it
    unsigned settle_ms = 20;  // a burst of changes counts as one
};

// Level-triggered: what counts is the content of the folder, events only say when to look. A file that cannot be taken
// leaves what it last said in force, also over a restart, and is listed in errors(); so does a folder that is gone.
// An empty file is such a file: a writer may be about to fill it. Everything runs on the loop's thread.
class FilesSource final : public Source {
public:
    // Makes the folders and completes an apply() that a crash interrupted. `publish` gets every new set, as a whole; it
    // must not call apply(), remove() or rescan().
    static Result<std::unique_ptr<FilesSource>> create(FilesOptions options, Publish publish);
    ~FilesSource() override;
    FilesSource(const FilesSource&) = delete;
    FilesSource& operator=(const FilesSource&) = delete;

    // Reads the folder, publishes (also an empty set) and watches from now on.
    Result<> start(loop::Loop& loop) override;

    // Compares the folder with what is known; publishes if the objects differ from the last set.
    void rescan();

    // Takes all objects of the text or none. Each goes to a file of its own; an object that a file written by hand
    // defines is refused. The new set has been published when this returns.
    Result<ApplyReport> apply(std::string_view yaml, bool dry_run) override;

    // Only objects that apply() made can be removed. Published when this returns.
    Result<> remove(std::string_view kind, const model::ObjectName& name) override;

    [[nodiscard]] Result<std::vector<StoredObject>> list(const ObjectFilter& filter) const override;
    [[nodiscard]] std::vector<SourceError> errors() const override { return errors_; }
    [[nodiscard]] SourceState state() const override;
    [[nodiscard]] std::shared_ptr<const model::Objects> objects() const override {
        return published_;
    }

private:
    // When a file last changed, as far as a look without reading it tells.
    struct Signature {
        std::int64_t modified_ns = 0;
        std::int64_t changed_ns = 0;
        std::uint64_t inode = 0;
        std::uint64_t size = 0;
        bool operator==(const Signature&) const = default;
    };
    struct File {
        Signature signature;
        bool fresh =
            true; // read so soon after a change that another one could have the same signature
        std::string error; // of the newest text; empty: `good` is the newest
        std::shared_ptr<const ManifestFile> good;
    };
    struct Change {
        std::string file;
        std::shared_ptr<const ManifestFile> content;
    };

    FilesSource(FilesOptions options, Publish publish);

    [[nodiscard]] std::string path_of(const std::string& file) const {
        return options_.folder + "/" + file;
    }
    [[nodiscard]] std::string copy_of(const std::string& file) const {
        return copies_ + "/" + file;
    }
    static std::optional<Signature> look(const std::string& path);

    void scan();
    void read(const std::string& name, File& file);
    void accept(const std::string& name, File& file, std::string text);
    void forget_absent(const std::set<std::string>& present);
    [[nodiscard]] ManifestFiles good_files() const;
    void settle_on(MergedFiles merged);
    void save_copies();
    void save_copy(const std::string& name);

    [[nodiscard]] Result<ApplyAction> plan(const Manifest& manifest, const std::string& file) const;
    [[nodiscard]] Result<> check_conflicts(const MergedFiles& merged) const;
    Result<> write(const std::vector<Change>& changes);

    FilesOptions options_;
    Publish publish_;
    std::string copies_;  // folder
    std::string journal_; // file: an apply() under way
    std::map<std::string, File> files_;
    std::string folder_error_;
    MergedFiles merged_;
    std::vector<SourceError> errors_;
    std::shared_ptr<const model::Objects> published_;
    std::set<std::string> unsaved_; // files whose good copy is to be written
    bool copies_checked_ = false;

    loop::Loop* loop_ = nullptr;
    std::unique_ptr<FolderWatch> watch_;
    std::uint64_t sets_ = 0; // published
    std::optional<loop::Loop::TimerId> copy_timer_;
};

} // namespace beeline::source
