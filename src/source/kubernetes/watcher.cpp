#include "source/kubernetes/watcher.h"

#include <algorithm>

#include "base/log.h"

namespace beeline::source {
namespace {

constexpr long kGone = 410;
constexpr unsigned kGraceS = 30;

} // namespace

Watcher::Watcher(kube::Session& session, ObjectState& state, WatchedKind kind, Limits limits,
                 std::function<void()> changed)
    : session_(session), state_(state), kind_(std::move(kind)), limits_(limits),
      changed_(std::move(changed)), reader_({limits.largest_page, 64, 20'000'000}),
      lines_(limits.largest_object) {}

void Watcher::list() {
    ++lists_;
    listed_.clear();
    version_.clear();
    if (streams_) {
        stream("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", true);
    } else {
        list_page({});
    }
}

void Watcher::list_page(const std::string& next) {
    kube::Request request;
    request.path = fmt::format("{}?limit={}", kind_.path, limits_.page);
    if (!next.empty()) request.path += "&continue=" + kube::escaped(next);
    page_.clear();
    kube::Session::Handler handler;
    handler.data = [this](std::string_view bytes) {
        if (page_.size() + bytes.size() > limits_.largest_page) return false;
        page_ += bytes;
        return true;
    };
    handler.done = [this](const auto& outcome) { page_ended(outcome); };
    session_.start(std::move(request), std::move(handler));
}

void Watcher::page_ended(const kube::Session::Outcome& outcome) {
    if (!outcome.good()) {
        retry(outcome.problem(), true);
        return;
    }
    auto page = read_page(reader_, kind_.kind, page_);
    page_ = {};
    if (!page) {
        retry(page.error().message, true);
        return;
    }
    for (auto& item : page->items)
        take(std::move(item), true);
    if (!page->next.empty()) {
        changed_();
        list_page(page->next);
        return;
    }
    version_ = page->version;
    list_is_complete();
    watch();
}

void Watcher::watch() { stream("watch=1&resourceVersion=" + kube::escaped(version_), false); }

void Watcher::stream(const std::string& query, bool listing) {
    lines_ = LineCutter(limits_.largest_object);
    bad_line_.clear();
    gone_ = false;
    // Not all watches of a cluster shall end at once.
    const unsigned seconds =
        limits_.watch_s + static_cast<unsigned>(random_() % (limits_.watch_s + 1));
    kube::Request request;
    request.path =
        fmt::format("{}?{}&allowWatchBookmarks=true&timeoutSeconds={}", kind_.path, query, seconds);
    request.timeout_ms = (seconds + kGraceS) * 1000;
    kube::Session::Handler handler;
    listing_ = listing;
    handler.data = [this](std::string_view bytes) {
        const bool good = lines_.add(bytes, [&](std::string_view line) { return read(line); });
        if (!good && bad_line_.empty() && !gone_)
            bad_line_ = fmt::format("an object of more than {} bytes", limits_.largest_object);
        changed_();
        return good;
    };
    handler.done = [this](const auto& outcome) { stream_ended(outcome); };
    session_.start(std::move(request), std::move(handler));
}

bool Watcher::read(std::string_view line) {
    auto event = read_event(reader_, kind_.kind, line);
    if (!event) {
        bad_line_ = event.error().message;
        return false;
    }
    if (event->type == WatchEvent::Type::error) {
        gone_ = event->code == kGone;
        bad_line_ = fmt::format("status {}: {}", event->code, event->problem);
        return false;
    }
    ++events_;
    switch (event->type) {
    case WatchEvent::Type::put: take(std::move(event->arrival), listing_); break;
    case WatchEvent::Type::erase:
        state_.erase(kind_.kind, event->arrival.name);
        listed_.erase(event->arrival.name);
        break;
    default: break;
    }
    // While a list is streamed its objects come in no order that a watch could go on from.
    if (!listing_ && !event->version.empty()) version_ = event->version;
    if (listing_ && event->list_ends) {
        version_ = event->version;
        list_is_complete();
    } else if (!listing_) {
        works();
    }
    return true;
}

void Watcher::take(Arrival arrival, bool listing) {
    if (listing) listed_.insert(arrival.name);
    state_.put(kind_.kind, std::move(arrival));
}

void Watcher::list_is_complete() {
    listing_ = false;
    state_.keep_only(kind_.kind, listed_);
    listed_.clear();
    synced_ = true;
    works();
    changed_();
}

void Watcher::works() {
    wait_ms_ = 0;
    if (problem_.empty()) return;
    log_info("the API server is watched again", kv("objects", kind_name(kind_.kind)));
    problem_.clear();
}

void Watcher::stream_ended(const kube::Session::Outcome& outcome) {
    if (listing_ && (outcome.status == 400 || outcome.status == 422)) {
        // The server is older than streaming lists, or its own store cannot do them.
        log_info("the API server does not stream lists: they come in pages",
                 kv("objects", kind_name(kind_.kind)), kv("why", outcome.problem()));
        streams_ = false;
        list_page({});
        return;
    }
    if (gone_ || outcome.status == kGone) {
        if (wait_ms_ == 0) {
            wait_ms_ = limits_.first_wait_ms; // again at once, but not over and over
            list();
            return;
        }
        retry("the server's history does not reach back: listing again", true);
        return;
    }
    if (!bad_line_.empty()) {
        // What was sent may have been anything, so nothing of this watch is built upon.
        retry(bad_line_, true);
        return;
    }
    if (outcome.good() && !version_.empty()) {
        watch();
        return;
    }
    retry(outcome.good() ? "the server ended the list" : outcome.problem(), version_.empty());
}

void Watcher::retry(std::string problem, bool list_again) {
    wait_ms_ =
        wait_ms_ == 0 ? limits_.first_wait_ms : std::min(wait_ms_ * 2, limits_.longest_wait_ms);
    if (problem_ != problem) {
        log_warn("the API server cannot be watched, what it said last stays in force",
                 kv("objects", kind_name(kind_.kind)), kv("why", problem));
        problem_ = std::move(problem);
    }
    changed_();
    const auto wait = wait_ms_ / 2 + random_() % (wait_ms_ / 2 + 1);
    session_.after(wait, [this, list_again] { list_again ? list() : watch(); });
}

} // namespace beeline::source
