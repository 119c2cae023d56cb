// The calls of the local API: checks what came over HTTP and asks the backend.
#pragma once

#include <string_view>

#include "api/server/backend.h"
#include "api/server/router.h"

namespace beeline::api {

// `backend` must outlive the router.
Router v1_routes(Backend& backend);

// src/api/server/openapi.yaml
std::string_view openapi_document();

} // namespace beeline::api
