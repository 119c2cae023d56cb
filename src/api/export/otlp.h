// OpenTelemetry over HTTP in protobuf: metrics, flows as logs, traced HTTP requests as spans.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <prometheus/metric_family.h>

#include "api/export/exporter.h"
#include "api/export/options.h"
#include "api/export/selection.h"
#include "base/result.h"
#include "observe/store.h"

namespace beeline::exporting {

// Called on a thread of the exporter; empty: no metrics.
using CollectMetrics = std::function<std::vector<prometheus::MetricFamily>()>;

Result<std::unique_ptr<Exporter>> start_otlp(const OtlpOptions& options, hubble::Origin origin,
                                             const observe::Store& store, CollectMetrics collect);

} // namespace beeline::exporting
