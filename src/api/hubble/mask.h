// Which fields of a flow a client wants.
#pragma once

#include <google/protobuf/field_mask.pb.h>

#include <flow/flow.pb.h>

#include "base/result.h"

namespace beeline::hubble {

class FieldMask {
public:
    FieldMask() = default; // everything
    // Paths are those of flow.Flow; an unknown one is an error that names it.
    static Result<FieldMask> compile(const google::protobuf::FieldMask& mask);
    // Clears what is not wanted.
    void apply(::flow::Flow& flow) const;
    [[nodiscard]] bool all() const { return mask_.paths().empty(); }
    [[nodiscard]] bool extension() const { return extension_; } // is it wanted?

private:
    google::protobuf::FieldMask mask_;
    bool extension_ = true;
};

} // namespace beeline::hubble
