// Flows as messages of a Kafka topic: one JSON line each.
#pragma once

#include <memory>

#include "api/export/exporter.h"
#include "api/export/options.h"
#include "api/export/selection.h"
#include "base/result.h"
#include "observe/store.h"

namespace beeline::exporting {

// Connects in the background: a broker that is away is an error of the statistics, not of the start.
Result<std::unique_ptr<Exporter>> start_kafka(const KafkaOptions& options, hubble::Origin origin,
                                              const observe::Store& store);

} // namespace beeline::exporting
