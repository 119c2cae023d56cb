// What the agent tells other systems by itself: metrics to who scrapes them, and exports.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <prometheus/registry.h>

#include "agent/node.h"
#include "api/export/exporter.h"
#include "api/server/server.h"
#include "base/fd.h"
#include "loop/loop.h"
#include "observe/metrics/follower.h"

namespace beeline::agent {

class Telemetry {
public:
    // On the loop's thread, as everything without a remark. What cannot start is logged and told by the status; the
    // agent goes on without. Both must outlive it.
    static std::unique_ptr<Telemetry> start(Node& node, loop::Loop& loop);
    ~Telemetry();
    Telemetry(const Telemetry&) = delete;
    Telemetry& operator=(const Telemetry&) = delete;

    // Any thread but the loop's, which must still run: ends what may wait for the loop.
    void stop();

    // Any thread but the loop's: all metrics as they are now.
    std::vector<prometheus::MetricFamily> collect();

private:
    Telemetry(Node& node, loop::Loop& loop);
    Result<> serve();
    void start_exports();
    [[nodiscard]] nlohmann::json exports_status() const;
    Result<api::Reply> scrape();
    void look();
    [[nodiscard]] nlohmann::json status() const;

    Node& node_;
    loop::Loop& loop_;
    loop::Loop::TimerId timer_ = 0;

    prometheus::Registry registry_;
    prometheus::Family<prometheus::Counter>& scrapes_;
    prometheus::Family<prometheus::Histogram>& scrape_seconds_;
    std::unique_ptr<observe::metrics::Follower> follower_;
    std::unique_ptr<api::Server> server_;
    Fd run_stats_; // the kernel times programs while it is open
    std::string error_;
    std::vector<std::unique_ptr<exporting::Exporter>> exporters_;
    std::vector<std::pair<std::string, std::string>> refused_; // exports that could not start, why
    std::atomic<std::uint64_t> scraped_{0};

    std::shared_ptr<const model::Directory> directory_; // as last seen
    std::shared_ptr<const model::Objects> objects_;
    std::array<std::uint64_t, 3> service_events_{};
};

} // namespace beeline::agent
