#include "observe/drop_reason.h"

#include "abi/drop.h"

namespace beeline::observe {

std::string_view drop_reason_name(unsigned reason) {
    switch (reason) {
#define X(name, number, text)                                                                      \
    case number: return #name;
        BL_DROP_REASONS(X)
#undef X
    default: return "";
    }
}

std::string_view drop_reason_text(unsigned reason) {
    switch (reason) {
#define X(name, number, text)                                                                      \
    case number: return text;
        BL_DROP_REASONS(X)
#undef X
    default: return "";
    }
}

} // namespace beeline::observe
