#include "base/result.h"

#include <cstring>

namespace beeline {

std::string_view code_name(Code code) {
    switch (code) {
    case Code::invalid: return "invalid";
    case Code::not_found: return "not-found";
    case Code::exists: return "exists";
    case Code::exhausted: return "exhausted";
    case Code::unsupported: return "unsupported";
    case Code::unavailable: return "unavailable";
    case Code::denied: return "denied";
    case Code::system: return "system";
    case Code::internal: return "internal";
    }
    return "internal";
}

Error Error::with(std::string_view context) const {
    return Error{code, number, fmt::format("{}: {}", context, message)};
}

Failure fail_errno(int number, std::string_view what) {
    return Failure(Error{Code::system, number, fmt::format("{}: {}", what, std::strerror(number))});
}

} // namespace beeline
