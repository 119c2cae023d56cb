#include "source/source.h"

namespace beeline::source {

std::string_view action_name(ApplyAction action) {
    switch (action) {
    case ApplyAction::created: return "created";
    case ApplyAction::changed: return "changed";
    case ApplyAction::unchanged: return "unchanged";
    }
    return "";
}

} // namespace beeline::source
