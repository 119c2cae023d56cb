#include "api/export/selection.h"

#include <utility>

#include <google/protobuf/util/json_util.h>

namespace beeline::exporting {
namespace {

Result<hubble::FlowFilters> read_filters(const std::vector<std::string>& texts, const char* where) {
    hubble::FlowFilters out;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto status = google::protobuf::util::JsonStringToMessage(texts[i], out.Add());
        if (!status.ok())
            return fail(Code::invalid, "{}[{}]: {}", where, i, std::string(status.message()));
    }
    return out;
}

} // namespace

Result<Selector> Selector::compile(const Selection& selection, hubble::Origin origin) {
    Selector out;
    out.origin_ = std::move(origin);
    const auto allow = TRY(read_filters(selection.allow, "allow"));
    const auto deny = TRY(read_filters(selection.deny, "deny"));
    out.filters_ = TRY(hubble::FilterLists::compile(allow, deny));
    google::protobuf::FieldMask mask;
    for (const auto& path : selection.fields)
        mask.add_paths(path);
    out.mask_ = TRY(hubble::FieldMask::compile(mask));
    out.extension_ = selection.extension;
    return out;
}

bool Selector::make(const model::Flow& flow, observer::ExportEvent& out) const {
    out.Clear();
    if (flow.kind == model::Flow::Kind::lost) {
        hubble::convert_lost(flow, *out.mutable_lost_events());
    } else {
        hubble::convert(flow, origin_, *out.mutable_flow(), extension_);
        if (!filters_.keeps(out.flow())) return false;
        if (!mask_.all()) mask_.apply(*out.mutable_flow());
    }
    out.set_node_name(origin_.node);
    hubble::set_time(flow.time_ns, *out.mutable_time());
    return true;
}

std::string json_line(const observer::ExportEvent& event) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    std::string out;
    if (!google::protobuf::util::MessageToJsonString(event, &out, options).ok()) out.clear();
    return out;
}

} // namespace beeline::exporting
