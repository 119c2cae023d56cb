#include "api/hubble/mask.h"

#include <google/protobuf/util/field_mask_util.h>

namespace beeline::hubble {

using google::protobuf::util::FieldMaskUtil;

namespace {
constexpr int kMaxPaths = 1000;
}

Result<FieldMask> FieldMask::compile(const google::protobuf::FieldMask& mask) {
    FieldMask out;
    if (mask.paths_size() > kMaxPaths)
        return fail(Code::invalid, "field_mask: more than {} paths", kMaxPaths);
    for (const auto& path : mask.paths()) {
        if (!FieldMaskUtil::IsValidPath<::flow::Flow>(path))
            return fail(Code::invalid, "field_mask: '{}' is no field of flow.Flow",
                        path.substr(0, 200));
    }
    FieldMaskUtil::ToCanonicalForm(mask, &out.mask_);
    out.extension_ = out.all();
    for (const auto& path : out.mask_.paths())
        out.extension_ = out.extension_ || path.starts_with("extensions");
    return out;
}

void FieldMask::apply(::flow::Flow& flow) const {
    if (!all()) FieldMaskUtil::TrimMessage(mask_, &flow);
}

} // namespace beeline::hubble
