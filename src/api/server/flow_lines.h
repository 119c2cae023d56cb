// The stored and live flows of a reader as lines for GET /v1/flows.
#pragma once

#include <memory>
#include <string>

#include "api/server/backend.h"
#include "observe/store.h"

namespace beeline::api {

// `follow`: as in the filter that the reader was made with. `node` goes into each record.
std::unique_ptr<LineStream> flow_lines(observe::Reader reader, bool follow, std::string node);

} // namespace beeline::api
