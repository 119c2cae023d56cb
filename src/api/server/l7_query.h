// The parameters of GET /v1/flows that are about application protocols.
#pragma once

#include "api/server/query.h"
#include "base/result.h"
#include "observe/filter.h"

namespace beeline::api {

// protocol (transports too), l7, status, method, path.
Result<> read_l7(const Query& query, observe::FlowFilter& filter);

// "404", "5xx", "500-599", "ok", "error".
Result<observe::StatusRange> parse_status(std::string_view text);

} // namespace beeline::api
