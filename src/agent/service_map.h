// The service map of the flow store, kept up only while somebody looks: without a viewer it costs nothing.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "api/server/backend.h"
#include "model/directory.h"
#include "observe/graph.h"
#include "observe/store.h"

namespace beeline::agent {

// Any thread.
class ServiceMap {
public:
    using Directory = std::shared_ptr<const model::Directory>;

    // `store` must outlive this.
    ServiceMap(const observe::Store& store, std::string node);

    // What changed since `cursor`; reads the flows of the last five minutes when nobody looked before.
    std::string changes(std::string_view cursor, const Directory& directory);
    Result<std::string> series(const api::MapSeriesQuery& query, const Directory& directory);
    std::string peers(std::string_view id, const Directory& directory);

    // Lets go of everything when nobody has asked for a while.
    void release_idle();

    // The answer of GET /v1/map; when following, one line a second. `directory` is asked for each.
    std::unique_ptr<api::LineStream> lines(const api::MapQuery& query,
                                           std::function<Directory()> directory);

private:
    observe::Graph& current(const Directory& directory); // under mutex_

    const observe::Store& store_;
    const std::string node_;
    std::mutex mutex_;
    std::unique_ptr<observe::Graph> graph_;
    std::optional<observe::Reader> reader_;
    std::chrono::steady_clock::time_point looked_{}; // when somebody last asked
    std::int64_t advanced_ns_ = 0;
};

} // namespace beeline::agent
