#include "api/hubble/backend.h"

#include <google/protobuf/message_lite.h>

namespace beeline::hubble {

Result<std::int64_t> time_ns(const google::protobuf::Timestamp& time, const char* field) {
    // Years 1 to 9999, as protobuf says; what does not fit into 64 bits of nanoseconds is far enough away.
    constexpr std::int64_t kFirst = -62'135'596'800;
    constexpr std::int64_t kLast = 253'402'300'799;
    constexpr std::int64_t kFits = 9'200'000'000;
    if (time.seconds() < kFirst || time.seconds() > kLast || time.nanos() < 0 ||
        time.nanos() > 999'999'999)
        return fail(Code::invalid, "{}: no valid time", field);
    if (time.seconds() > kFits) return kFits * 1'000'000'000;
    if (time.seconds() < -kFits) return -kFits * 1'000'000'000;
    return time.seconds() * 1'000'000'000 + time.nanos();
}

void to_buffer(const google::protobuf::MessageLite& message, grpc::ByteBuffer& out) {
    const std::size_t size = message.ByteSizeLong();
    grpc::Slice slice(size);
    message.SerializeWithCachedSizesToArray(const_cast<std::uint8_t*>(slice.begin()));
    out = grpc::ByteBuffer(&slice, 1);
}

grpc::Status status_of(const Error& error) {
    grpc::StatusCode code = grpc::StatusCode::INTERNAL;
    switch (error.code) {
    case Code::invalid: code = grpc::StatusCode::INVALID_ARGUMENT; break;
    case Code::not_found: code = grpc::StatusCode::NOT_FOUND; break;
    case Code::exists: code = grpc::StatusCode::ALREADY_EXISTS; break;
    case Code::exhausted: code = grpc::StatusCode::RESOURCE_EXHAUSTED; break;
    case Code::unsupported: code = grpc::StatusCode::UNIMPLEMENTED; break;
    case Code::unavailable: code = grpc::StatusCode::UNAVAILABLE; break;
    case Code::denied: code = grpc::StatusCode::PERMISSION_DENIED; break;
    case Code::system:
    case Code::internal: break;
    }
    return {code, error.message};
}

} // namespace beeline::hubble
