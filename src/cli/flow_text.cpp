#include "cli/flow_text.h"

#include <algorithm>
#include <ctime>

#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/table.h"
#include "cli/time_text.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kRed = "31";
constexpr std::string_view kYellow = "33";
// Lines come one by one, so that columns have a least width instead of a common one.
constexpr std::size_t kEndWidth = 26;
constexpr std::size_t kProtocolWidth = 9;

std::string labels_text(const json& end, bool all) {
    const json& labels = member(end, "labels");
    if (!labels.is_object()) return {};
    if (!all) return text(labels, "app");
    std::vector<std::string> pairs;
    for (const auto& [key, value] : labels.items())
        pairs.push_back(key + "=" + text(value));
    return joined(pairs, ",");
}

std::string end_text(const json& end, bool wide) {
    const std::string name = object_name(end);
    const std::string kind = text(end, "kind");
    const std::string address = text(end, "address");
    std::string out = !name.empty() ? name : kind == "host" || address.empty() ? kind : address;
    std::string detail = labels_text(end, wide);
    if (wide) {
        const std::string place = address_port(address, number(end, "port"));
        if (out != address) detail += (detail.empty() ? "" : " ") + place;
        const std::string identity = text(end, "identity");
        if (!identity.empty()) detail += (detail.empty() ? "id " : " id ") + identity;
    }
    if (!detail.empty()) out += "(" + detail + ")";
    return out;
}

std::string protocol_text(const json& flow) {
    const std::string protocol = text(flow, "protocol");
    if (const json& icmp = member(flow, "icmp"); icmp.is_object())
        return fmt::format("{}:{}/{}", protocol, text(icmp, "type"), text(icmp, "code"));
    if (const json& l7 = member(flow, "l7"); l7.is_object())
        return text(l7, "protocol") + (number(l7, "tls") != 0 ? "+tls" : "");
    const auto port = number(member(flow, "destination"), "port");
    return port == 0 ? protocol : fmt::format("{}:{}", protocol, port);
}

std::string process_text(const json& process, bool wide) {
    if (!process.is_object()) return {};
    std::string binary = text(process, "binary");
    if (!wide) binary = binary.substr(binary.rfind('/') + 1);
    if (binary.empty()) binary = text(process, "comm");
    if (!wide) return fmt::format("{}[{}]", binary, text(process, "pid"));
    const std::string user = text(process, "user");
    std::string out = fmt::format("{}[{},{}", binary, text(process, "pid"),
                                  user.empty() ? "uid " + text(process, "uid") : user);
    if (const auto container = text(process, "container"); !container.empty())
        out += ",container " + container.substr(0, 12);
    out += "]";
    const auto ancestry = texts(process, "ancestry");
    return ancestry.empty() ? out : out + " by " + joined(ancestry, "<");
}

std::string processes_text(const json& flow, bool wide) {
    const auto source = process_text(member(member(flow, "source"), "process"), wide);
    const auto destination = process_text(member(member(flow, "destination"), "process"), wide);
    if (destination.empty()) return source;
    return fmt::format("{}{}-> {}", source, source.empty() ? "" : " ", destination);
}

std::string bytes_text(std::uint64_t bytes) {
    static constexpr std::string_view kUnits = "KMGTP";
    if (bytes < 1024) return fmt::format("{}B", bytes);
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit)
        value /= 1024;
    return fmt::format("{:.1f}{}", value, kUnits[unit]);
}

// "12 packets 1.2K out, 10 packets 5.0K back, 350ms"
std::string counters_text(const json& flow) {
    std::string out;
    const auto side = [&](std::string_view end, std::string_view direction) {
        const auto packets = number(member(flow, "packets"), end);
        out += fmt::format("{} packets {} {}, ", packets,
                           bytes_text(number(member(flow, "bytes"), end)), direction);
    };
    side("source", "out");
    side("destination", "back");
    return out + duration_text(number(flow, "duration_ms"));
}

std::string rules_text(const json& flow) {
    std::vector<std::string> rules;
    for (const auto* key : {"egress_rule", "ingress_rule"}) {
        auto rule = text(flow, key);
        if (!rule.empty()) rules.push_back(std::move(rule));
    }
    return joined(rules, " + ");
}

std::string denial_text(const json& flow) {
    const json& reason = member(flow, "drop_reason");
    std::string out = text(reason, "text");
    if (out.empty()) out = text(reason, "name");
    const std::string direction = text(flow, "denied_direction");
    if (!direction.empty()) out += " (" + direction + ")";
    const auto policies = texts(flow, "denied_by");
    if (!policies.empty()) return out + ": no rule allows; isolated by " + joined(policies, ", ");
    const std::string rule = direction.empty() ? rules_text(flow) : text(flow, direction + "_rule");
    return rule.empty() ? out : out + " by " + rule;
}

std::string details_text(const json& flow, bool denied) {
    std::vector<std::string> parts;
    if (denied) {
        parts.push_back(denial_text(flow));
    } else {
        if (auto rules = rules_text(flow); !rules.empty()) parts.push_back(std::move(rules));
        if (text(flow, "kind") == "closed") parts.push_back(counters_text(flow));
    }
    const json& service = member(flow, "service");
    if (service.is_object())
        parts.push_back("via " + address_port(text(service, "name"), number(service, "port")));
    return joined(parts, "; ");
}

std::string latency_text(std::uint64_t ns) {
    if (ns < 1'000'000) return fmt::format("{}us", ns / 1000);
    if (ns < 10'000'000'000) return fmt::format("{:.1f}ms", static_cast<double>(ns) / 1e6);
    return duration_text(ns / 1'000'000);
}

// "GET shop.example/cart -> 503 12.3ms", "A web.shop -> 10.0.0.7"
std::string l7_text(const json& l7, bool wide) {
    const std::string protocol = text(l7, "protocol");
    std::string target = wide ? text(l7, "url") : std::string();
    if (target.empty()) target = text(l7, "resource");
    if (const auto host = text(l7, "host"); !host.empty() && target.starts_with('/'))
        target = host + target;
    std::string out = text(l7, "method");
    if (!target.empty()) out += (out.empty() ? "" : " ") + target;
    if (text(l7, "type") != "response") return out;
    const std::string status = text(l7, "status");
    const std::string code = text(l7, "code");
    out += " -> " + (!code.empty() ? code : status.empty() ? "answered" : status);
    if (const auto error = text(l7, "error"); !error.empty()) out += " " + error;
    if (const auto found = texts(l7, "addresses"); !found.empty()) out += " " + joined(found, ",");
    if (const auto latency = number(l7, "latency_ns"); latency != 0)
        out += " " + latency_text(latency);
    return out;
}

std::string lost_text(const json& flow, const std::string& time) {
    const json& lost = member(flow, "lost");
    return fmt::format("{} LOST {} flows are missing here ({})", time, text(lost, "count"),
                       text(lost, "where"));
}

std::string padded(std::string value, std::size_t width) {
    if (value.size() < width) value.resize(width, ' ');
    return value;
}

} // namespace

std::string flow_text(const Context& context, const json& flow) {
    const bool wide = context.format == Format::wide;
    const std::string kind = text(flow, "kind");
    const std::string time = short_time(text(flow, "time"), wide);
    if (kind == "lost") return context.styled(printable(lost_text(flow, time)), kYellow);

    const bool denied = text(flow, "verdict") == "DROPPED";
    const json& l7 = member(flow, "l7");
    const bool failed = text(l7, "status") == "error";
    std::string line = fmt::format(
        "{} {} -> {} {} {} {}", time, padded(end_text(member(flow, "source"), wide), kEndWidth),
        padded(end_text(member(flow, "destination"), wide), kEndWidth),
        padded(protocol_text(flow), kProtocolWidth), padded(text(flow, "verdict"), 9),
        padded(l7.is_object() ? text(l7, "type") : kind, 7));
    const auto add = [&](const std::string& part) {
        if (!part.empty()) line += "  " + part;
    };
    if (l7.is_object()) add(l7_text(l7, wide));
    add(details_text(flow, denied));
    add(processes_text(flow, wide));
    if (wide) {
        add(joined(texts(flow, "tcp_flags"), ","));
        add(text(flow, "interface"));
    }
    line = printable(line);
    line.erase(line.find_last_not_of(' ') + 1);
    return denied ? context.styled(line, kRed) : failed ? context.styled(line, kYellow) : line;
}

} // namespace beeline::cli
