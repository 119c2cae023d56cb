// The flow history as the APIs show it. Any thread.
#pragma once

#include <memory>

#include <nlohmann/json.hpp>

#include "api/hubble/flow_source.h"
#include "observe/history/history.h"

namespace beeline::agent {

nlohmann::json history_document(const observe::history::History& history);
nlohmann::json edges_document(const observe::history::EdgeList& list);
// Hubble's API reaches into the history too. Both must outlive it.
std::unique_ptr<hubble::FlowSource> history_source(const observe::history::History& history,
                                                   const observe::Store& store);

} // namespace beeline::agent
