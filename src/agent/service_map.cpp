#include "agent/service_map.h"

#include <thread>
#include <utility>

namespace beeline::agent {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kIdle = 60s;
constexpr auto kPeriod = 1s;                         // between lines
constexpr std::int64_t kRound = 400'000'000;         // ns: viewers within it share a round
constexpr std::int64_t kJump = 10LL * 1'000'000'000; // ns: a clock that went back this far
constexpr std::int64_t kWindowNs = observe::Graph::kWindow * 1'000'000'000;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

class MapLines : public api::LineStream {
public:
    using Source = std::function<std::string(const std::string& cursor)>;
    MapLines(Source source, std::string cursor, bool follow)
        : source_(std::move(source)), cursor_(std::move(cursor)), follow_(follow) {}

    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        if (ended_) return {};
        const auto now = Clock::now();
        if (now < due_) {
            if (wait > 0ms)
                std::this_thread::sleep_for(std::min<Clock::duration>(wait, due_ - now));
            if (Clock::now() < due_) return {};
        }
        due_ = Clock::now() + kPeriod;
        ended_ = !follow_;
        std::string line = source_(cursor_);
        // The cursor is the first member.
        constexpr std::string_view kStart = "{\"cursor\":\"";
        if (line.starts_with(kStart))
            cursor_ = line.substr(kStart.size(), line.find('"', kStart.size()) - kStart.size());
        return line;
    }
    [[nodiscard]] bool done() const override { return ended_; }

private:
    Source source_;
    std::string cursor_;
    bool follow_;
    bool ended_ = false;
    Clock::time_point due_{};
};

} // namespace

ServiceMap::ServiceMap(const observe::Store& store, std::string node)
    : store_(store), node_(std::move(node)) {}

observe::Graph& ServiceMap::current(const Directory& directory) {
    looked_ = Clock::now();
    const std::int64_t now = now_ns();
    if (!graph_ || now + kJump < advanced_ns_) {
        graph_ = std::make_unique<observe::Graph>(static_cast<std::uint64_t>(now));
        observe::FlowFilter filter;
        filter.follow = true;
        filter.since_ns = now - kWindowNs;
        reader_.emplace(store_.read(filter));
        graph_->advance(now);
        advanced_ns_ = 0;
    }
    if (now < advanced_ns_ + kRound) return *graph_;
    advanced_ns_ = now;
    graph_->set_directory(directory);
    // As many as there are now: a flood must not keep the viewers waiting.
    for (std::uint64_t left = store_.stats().stored + 1; left > 0; --left) {
        const auto seen = reader_ ? reader_->next_record() : std::nullopt;
        if (!seen) break;
        graph_->add(seen->record);
    }
    graph_->advance(now);
    return *graph_;
}

std::string ServiceMap::changes(std::string_view cursor, const Directory& directory) {
    const std::lock_guard lock(mutex_);
    return current(directory).changes(cursor, node_);
}

Result<std::string> ServiceMap::series(const api::MapSeriesQuery& query,
                                       const Directory& directory) {
    const std::lock_guard lock(mutex_);
    const observe::Graph& graph = current(directory);
    if (!query.node.empty()) return graph.node_series(query.node);
    if (!query.to.empty()) return graph.edge_series(query.from, query.to);
    return graph.total_series();
}

std::string ServiceMap::peers(std::string_view id, const Directory& directory) {
    const std::lock_guard lock(mutex_);
    return current(directory).peers(id);
}

void ServiceMap::release_idle() {
    const std::lock_guard lock(mutex_);
    if (!graph_ || Clock::now() < looked_ + kIdle) return;
    reader_.reset();
    graph_.reset();
}

std::unique_ptr<api::LineStream> ServiceMap::lines(const api::MapQuery& query,
                                                   std::function<Directory()> directory) {
    return std::make_unique<MapLines>(
        [this, directory = std::move(directory)](const std::string& cursor) {
            return changes(cursor, directory());
        },
        query.cursor, query.follow);
}

} // namespace beeline::agent
