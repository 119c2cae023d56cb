// Which source of desired state the configuration asks for.
#pragma once

#include <memory>

#include "agent/config.h"
#include "api/client/paths.h"
#include "source/source.h"

namespace beeline::agent {

Result<std::unique_ptr<source::Source>> make_source(const Config& config, const api::Paths& paths,
                                                    source::Source::Publish publish);

} // namespace beeline::agent
