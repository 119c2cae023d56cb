// The web page's port: its own server with its own limits, so that nothing on it can hold up the unix socket.
#pragma once

#include <memory>
#include <string>

#include <nlohmann/json.hpp>

#include "api/server/backend.h"
#include "api/server/server.h"
#include "api/server/web.h"

namespace beeline::agent {

struct WebPage {
    std::unique_ptr<api::Server> server; // null when it is off or could not start
    std::string url;
    std::string token;
    std::string error;

    // For GET /v1/status.
    [[nodiscard]] nlohmann::json status() const;
};

// A page that cannot start is no reason not to run: the error is logged and kept. `backend` must outlive it.
WebPage start_web(const api::WebConfig& config, const std::string& state_folder,
                  api::Backend& backend);

} // namespace beeline::agent
