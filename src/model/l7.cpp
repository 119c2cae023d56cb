#include "model/l7.h"

namespace beeline::model {

std::string_view to_string(L7::Protocol protocol) {
    switch (protocol) {
#define X(name, text)                                                                              \
    case L7::Protocol::name: return text;
        BEELINE_L7_PROTOCOLS(X)
#undef X
    case L7::Protocol::count: break;
    }
    return "";
}

} // namespace beeline::model
