#include "model/l7_choice.h"

#include <string>

namespace beeline::model {
namespace {

std::string_view trimmed(std::string_view text) {
    while (text.starts_with(' '))
        text.remove_prefix(1);
    while (text.ends_with(' '))
        text.remove_suffix(1);
    return text;
}

L7Protocols protocol_called(std::string_view name) {
    using P = L7::Protocol;
    if (name == "http") return l7_bit(P::http) | l7_bit(P::http2) | l7_bit(P::grpc);
    for (unsigned i = 0; i < static_cast<unsigned>(P::count); ++i) {
        if (to_string(static_cast<P>(i)) == name) return l7_bit(static_cast<P>(i));
    }
    return 0;
}

} // namespace

Result<L7Protocols> parse_l7_protocols(std::string_view text) {
    const std::string_view whole = trimmed(text);
    if (whole == "true") return kAllL7;
    if (whole == "false") return L7Protocols{0};
    L7Protocols out = 0;
    for (std::string_view rest = whole;;) {
        const auto comma = rest.find(',');
        const std::string_view name = trimmed(rest.substr(0, comma));
        const L7Protocols bits = protocol_called(name);
        if (bits == 0) {
            std::string known;
            for (unsigned i = 0; i < static_cast<unsigned>(L7::Protocol::count); ++i)
                known.append(", ").append(to_string(static_cast<L7::Protocol>(i)));
            return fail(Code::invalid,
                        "expected true, false or names of protocols ({}), found '{}'",
                        known.substr(2), name);
        }
        out |= bits;
        if (comma == std::string_view::npos) return out;
        rest.remove_prefix(comma + 1);
    }
}

L7Protocols L7Choice::of(const Labels& labels, std::optional<L7Protocols> annotation) const {
    if (mode == Mode::off) return 0;
    // One that says no more than "true" gets what the configuration reads.
    if (annotation) return *annotation == kAllL7 ? protocols : *annotation;
    if (mode == Mode::all) return protocols;
    return selector && selector->matches(labels) ? protocols : 0;
}

} // namespace beeline::model
