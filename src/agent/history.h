// The flow history as the local API shows it. Any thread.
#pragma once

#include <nlohmann/json.hpp>

#include "observe/history/history.h"

namespace beeline::agent {

nlohmann::json history_document(const observe::history::History& history);
nlohmann::json edges_document(const observe::history::EdgeList& list);

} // namespace beeline::agent
