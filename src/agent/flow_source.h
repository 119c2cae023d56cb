// Memory and history behind Hubble's API.
#pragma once

#include <memory>

#include "api/hubble/flow_source.h"
#include "observe/history/history.h"
#include "observe/store.h"

namespace beeline::agent {

// Both must outlive it.
std::shared_ptr<const hubble::FlowSource> flow_source(const observe::Store& store,
                                                      const observe::history::History& history);

} // namespace beeline::agent
