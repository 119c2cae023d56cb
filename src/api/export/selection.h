// Flows as Hubble's messages, as far as they were asked for.
#pragma once

#include <string>

#include <observer/observer.pb.h>

#include "api/export/options.h"
#include "api/hubble/convert.h"
#include "api/hubble/filter.h"
#include "api/hubble/mask.h"
#include "base/result.h"
#include "model/flow.h"

namespace beeline::exporting {

class Selector {
public:
    // Filters are JSON texts of flow.FlowFilter.
    static Result<Selector> compile(const Selection& selection, hubble::Origin origin);

    // Fills the event, and says whether it is wanted. Losses always are.
    bool make(const model::Flow& flow, observer::ExportEvent& out) const;
    [[nodiscard]] const hubble::Origin& origin() const { return origin_; }

private:
    hubble::Origin origin_;
    hubble::FilterLists filters_;
    hubble::FieldMask mask_;
    bool extension_ = false;
};

// One line without its end: names as in the .proto files, numbers of 64 bits as strings, as Hubble exports them.
// Empty when the message cannot be written.
std::string json_line(const observer::ExportEvent& event);

} // namespace beeline::exporting
