// Tells when the manifests of a folder have changed, by inotify on the control loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "loop/loop.h"

namespace beeline::source {

// Calls `changed` once for a burst of changes, when nothing more came for `settle_ms` and no file of the folder is being
// written (but a second after the first change at the latest). Also when events were lost, when the folder disappears, and
// when one of its name is there again: it need not exist at the start.
class FolderWatch {
public:
    static Result<std::unique_ptr<FolderWatch>>
    create(loop::Loop& loop, std::string folder, unsigned settle_ms, std::function<void()> changed);
    ~FolderWatch();
    FolderWatch(const FolderWatch&) = delete;
    FolderWatch& operator=(const FolderWatch&) = delete;

private:
    FolderWatch(loop::Loop& loop, std::string folder, unsigned settle_ms,
                std::function<void()> changed);
    bool add_watch();
    void look_for_folder();
    void read_events();
    bool take(std::uint32_t mask, const std::string& name); // whether the folder may have changed
    void note_change();
    void settle();

    loop::Loop& loop_;
    std::string folder_;
    unsigned settle_ms_;
    std::function<void()> changed_;
    Fd inotify_;
    int watch_ = -1;
    std::set<std::string> being_written_;
    std::uint64_t first_change_ms_ = 0;
    std::uint64_t last_change_ms_ = 0;
    std::optional<loop::Loop::TimerId> settle_timer_;
    std::optional<loop::Loop::TimerId> folder_timer_;
};

} // namespace beeline::source
