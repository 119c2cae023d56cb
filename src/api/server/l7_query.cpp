#include "api/server/l7_query.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

namespace beeline::api {
namespace {

std::optional<std::uint32_t> number(std::string_view text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
    return value;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : static_cast<char>(c);
    });
    return out;
}

bool add_l7_protocol(const std::string& name, std::vector<model::L7::Protocol>& out) {
    using Protocol = model::L7::Protocol;
    for (std::size_t i = 0; i < static_cast<std::size_t>(Protocol::count); ++i) {
        const auto protocol = static_cast<Protocol>(i);
        if (model::to_string(protocol) != name) continue;
        out.push_back(protocol);
        // Whichever version was spoken.
        if (protocol == Protocol::http) out.push_back(Protocol::http2);
        return true;
    }
    return false;
}

} // namespace

Result<observe::StatusRange> parse_status(std::string_view given) {
    const std::string text = lower(given);
    observe::StatusRange range;
    if (text == "ok" || text == "error") {
        range.status = text == "ok" ? model::L7::Status::ok : model::L7::Status::error;
        return range;
    }
    if (text.size() == 3 && text[0] >= '1' && text[0] <= '9' && text.ends_with("xx")) {
        range.first = static_cast<std::uint32_t>(text[0] - '0') * 100;
        range.last = range.first + 99;
        return range;
    }
    const auto dash = text.find('-');
    const auto first = number(std::string_view(text).substr(0, dash));
    const auto last = dash == text.npos ? first : number(std::string_view(text).substr(dash + 1));
    if (!first || !last || *first > *last) {
        return fail(
            Code::invalid,
            "parameter 'status': '{}' is not a code (404), a class (5xx), a range (500-599), "
            "ok or error",
            given.substr(0, 80));
    }
    range.first = *first;
    range.last = *last;
    return range;
}

Result<> read_l7(const Query& query, observe::FlowFilter& filter) {
    for (const auto& given : query.all("protocol")) {
        const std::string name = lower(given);
        const auto transport = model::parse_protocol(name);
        if (transport && *transport != model::Protocol::any) {
            filter.protocols.push_back(*transport);
        } else if (!add_l7_protocol(name, filter.l7_protocols)) {
            std::string known;
#define X(name, text) known += ", " text;
            BEELINE_L7_PROTOCOLS(X)
#undef X
            return fail(Code::invalid,
                        "parameter 'protocol': '{}' is not one of tcp, udp, sctp, icmp, icmpv6{}",
                        given.substr(0, 80), known);
        }
    }
    filter.l7 = TRY(query.flag("l7"));
    for (const auto& text : query.all("status"))
        filter.statuses.push_back(TRY(parse_status(text)));
    filter.methods = query.all("method");
    filter.paths = query.all("path");
    return {};
}

} // namespace beeline::api
