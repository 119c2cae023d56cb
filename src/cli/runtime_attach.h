// The CNI side of a run: the same calls that container runtimes make through the plugin.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/client/client.h"
#include "api/client/paths.h"
#include "base/result.h"
#include "cli/run_spec.h"
#include "cli/runtime_record.h"

namespace beeline::cli {

// 64 random hexadecimal digits, as container runtimes choose them.
Result<std::string> new_container_id();

// The body of ADD and, unchanged, of DEL.
nlohmann::json attachment_body(const RunSpec& spec, const RunRecord& record);

// CNI ADD with the record's attachment. Returns the addresses.
Result<std::vector<std::string>> attach(const api::Client& client, const RunRecord& record);

// CNI DEL; when the agent does not take it, leaves a note for its next start. Nothing to do before ADD was tried.
Result<> detach(const api::Client& client, const api::Paths& paths, const RunRecord& record);

} // namespace beeline::cli
