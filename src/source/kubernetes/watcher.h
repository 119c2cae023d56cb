// Keeps one kind of objects equal to what the API server has: a streaming list that goes on as a watch, a paged list where
// the server cannot do that, a new list after 410 Gone, and waits that double with jitter while nothing works.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "kube/session.h"
#include "source/kubernetes/event.h"
#include "source/kubernetes/object_state.h"

namespace beeline::source {

struct WatchedKind {
    ObjectKind kind;
    std::string path; // "/api/v1/pods"
};

// Belongs to the session's thread.
class Watcher {
public:
    struct Limits {
        std::uint64_t first_wait_ms = 100;
        std::uint64_t longest_wait_ms = 30'000;
        unsigned watch_s = 300; // the server ends a watch after this long, and some more
        unsigned page = 500;
        std::size_t largest_object = 16U << 20;
        std::size_t largest_page = 256U << 20;
    };
    // `changed` is called after anything of this watcher or of the state has changed.
    Watcher(kube::Session& session, ObjectState& state, WatchedKind kind, Limits limits,
            std::function<void()> changed);

    void start() { list(); }

    [[nodiscard]] bool synced() const { return synced_; }
    [[nodiscard]] bool connected() const { return problem_.empty() && synced_; }
    [[nodiscard]] const std::string& problem() const { return problem_; }
    [[nodiscard]] const WatchedKind& kind() const { return kind_; }
    [[nodiscard]] std::uint64_t events() const { return events_; }
    [[nodiscard]] std::uint64_t lists() const { return lists_; }

private:
    void list();
    void list_page(const std::string& next);
    void watch();
    void stream(const std::string& query, bool listing);
    bool read(std::string_view line);
    void take(Arrival arrival, bool listing);
    void list_is_complete();
    void stream_ended(const kube::Session::Outcome& outcome);
    void page_ended(const kube::Session::Outcome& outcome);
    void works();
    void retry(std::string problem, bool list_again);

    kube::Session& session_;
    ObjectState& state_;
    WatchedKind kind_;
    Limits limits_;
    std::function<void()> changed_;
    JsonReader reader_;
    LineCutter lines_;
    std::string page_;
    std::set<model::ObjectName> listed_;
    std::string version_;
    std::string bad_line_;
    bool listing_ = false; // the stream is still one of the list
    bool gone_ = false;    // 410: the version is too old
    bool streams_ = true;  // the server can stream lists, as far as is known
    bool synced_ = false;
    std::string problem_;
    std::uint64_t wait_ms_ = 0;
    std::uint64_t events_ = 0;
    std::uint64_t lists_ = 0;
    std::minstd_rand random_{std::random_device{}()};
};

} // namespace beeline::source
