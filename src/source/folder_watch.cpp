#include "source/folder_watch.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>

#include "base/log.h"
#include "source/manifest_set.h"

namespace beeline::source {
namespace {

constexpr std::uint64_t kLongestWaitMs = 1000;
constexpr std::uint64_t kFolderRetryMs = 200;
constexpr std::uint32_t kEvents = IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE |
                                  IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF |
                                  IN_MOVE_SELF | IN_ONLYDIR;

std::uint64_t now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 +
           static_cast<std::uint64_t>(now.tv_nsec) / 1000000;
}

} // namespace

FolderWatch::FolderWatch(loop::Loop& loop, std::string folder, unsigned settle_ms,
                         std::function<void()> changed)
    : loop_(loop), folder_(std::move(folder)), settle_ms_(settle_ms), changed_(std::move(changed)) {
}

Result<std::unique_ptr<FolderWatch>> FolderWatch::create(loop::Loop& loop, std::string folder,
                                                         unsigned settle_ms,
                                                         std::function<void()> changed) {
    std::unique_ptr<FolderWatch> out(
        new FolderWatch(loop, std::move(folder), settle_ms, std::move(changed)));
    out->inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!out->inotify_) return fail_errno(errno, "inotify_init1");
    TRY(loop.watch(out->inotify_.get(), EPOLLIN,
                   [self = out.get()](std::uint32_t) { self->read_events(); }));
    if (!out->add_watch()) out->look_for_folder();
    return out;
}

FolderWatch::~FolderWatch() {
    loop_.unwatch(inotify_.get());
    if (settle_timer_) loop_.cancel(*settle_timer_);
    if (folder_timer_) loop_.cancel(*folder_timer_);
}

bool FolderWatch::add_watch() {
    watch_ = inotify_add_watch(inotify_.get(), folder_.c_str(), kEvents);
    if (watch_ < 0 && errno != ENOENT && errno != ENOTDIR) {
        log_warn("cannot watch the manifest folder", kv("folder", folder_),
                 kv("error", std::strerror(errno)));
    }
    return watch_ >= 0;
}

void FolderWatch::look_for_folder() {
    folder_timer_ = loop_.after(kFolderRetryMs, [this] {
        folder_timer_.reset();
        if (add_watch()) {
            note_change();
        } else {
            look_for_folder();
        }
    });
}

void FolderWatch::read_events() {
    bool changed = false;
    alignas(inotify_event) std::array<char, 65536> buffer; // filled by read
    for (;;) {
        const auto size = ::read(inotify_.get(), buffer.data(), buffer.size());
        if (size <= 0) break;
        for (std::size_t at = 0; at + sizeof(inotify_event) <= static_cast<std::size_t>(size);) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof(event));
            // The kernel pads the name with NULs.
            const std::string name = event.len == 0 ? "" : buffer.data() + at + sizeof(event);
            const bool lost = (event.mask & IN_Q_OVERFLOW) != 0;
            if (lost || event.wd == watch_) changed |= take(event.mask, name);
            at += sizeof(event) + event.len;
        }
    }
    if (changed) note_change();
}

bool FolderWatch::take(std::uint32_t mask, const std::string& name) {
    if ((mask & IN_Q_OVERFLOW) != 0) {
        being_written_.clear();
        return true;
    }
    if ((mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)) != 0) {
        if ((mask & IN_MOVE_SELF) != 0) inotify_rm_watch(inotify_.get(), watch_);
        watch_ = -1; // whatever else comes of this watch is of no interest
        being_written_.clear();
        if (!folder_timer_) look_for_folder();
        return true;
    }
    if (!is_manifest_file_name(name)) return false;
    if ((mask & IN_MODIFY) != 0) being_written_.insert(name);
    if ((mask & (IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE)) != 0)
        being_written_.erase(name);
    return true;
}

void FolderWatch::note_change() {
    last_change_ms_ = now_ms();
    if (settle_timer_) return;
    first_change_ms_ = last_change_ms_;
    settle_timer_ = loop_.after(settle_ms_, [this] { settle(); });
}

void FolderWatch::settle() {
    const auto now = now_ms();
    const bool moving = now - last_change_ms_ < settle_ms_ || !being_written_.empty();
    if (moving && now - first_change_ms_ < kLongestWaitMs) {
        settle_timer_ = loop_.after(std::max(settle_ms_, 1U), [this] { settle(); });
        return;
    }
    settle_timer_.reset();
    changed_();
}

} // namespace beeline::source
