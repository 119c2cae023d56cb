// Which source of desired state the configuration asks for.
#pragma once

#include <memory>

#include <nlohmann/json.hpp>

#include "agent/config.h"
#include "api/client/paths.h"
#include "source/source.h"

namespace beeline::agent {

Result<std::unique_ptr<source::Source>> make_source(const Config& config, const api::Paths& paths,
                                                    source::Source::Publish publish);

// What the status says of etcd; null for other sources.
nlohmann::json etcd_document(const source::Source& source);

} // namespace beeline::agent
