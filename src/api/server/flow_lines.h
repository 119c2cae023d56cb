// The stored and live flows of a query as lines for GET /v1/flows.
#pragma once

#include <memory>
#include <string>

#include "api/server/backend.h"
#include "observe/history/flow_query.h"

namespace beeline::api {

// `follow`: as in the filter that the query was made with. `node` goes into each record.
std::unique_ptr<LineStream> flow_lines(observe::history::FlowQuery query, bool follow,
                                       std::string node);

} // namespace beeline::api
