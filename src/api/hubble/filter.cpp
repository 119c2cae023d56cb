#include "api/hubble/filter.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <re2/re2.h>

#include "api/hubble/selector.h"
#include "net/address.h"

namespace beeline::hubble {
namespace {

using ::flow::Flow;
using google::protobuf::RepeatedField;
using google::protobuf::RepeatedPtrField;
using Texts = RepeatedPtrField<std::string>;
using Pattern = std::shared_ptr<const re2::RE2>;

constexpr int kL7Event = 129;
constexpr std::int64_t kPatternMemory = 1 << 20;

template <typename Values, typename Test>
bool any(const Values& values, Test test) {
    return std::any_of(std::begin(values), std::end(values), test);
}

Result<Pattern> pattern(const std::string& text) {
    re2::RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(kPatternMemory);
    auto compiled = std::make_shared<const re2::RE2>(text, options);
    if (!compiled->ok()) return fail(Code::invalid, "{}", compiled->error());
    return compiled;
}

std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

// --- one value of a field, compiled ---

struct Network {
    std::optional<net::Prefix> prefix;
    std::string address; // canonical

    static Result<Network> parse(const std::string& text) {
        Network out;
        if (text.find('/') == std::string::npos) {
            out.address = TRY(net::Ip::parse(text)).to_string();
        } else {
            out.prefix = TRY(net::Prefix::parse(text));
        }
        return out;
    }
    [[nodiscard]] bool matches(const std::string& text) const {
        if (text.empty()) return false;
        if (!prefix) return text == address;
        const auto ip = net::Ip::parse(text);
        return ip && prefix->contains(*ip);
    }
};

// "ns/prefix", "ns/", "/prefix", "prefix" (of the namespace default)
struct Object {
    std::string space;
    std::string prefix;

    static Result<Object> parse(const std::string& text) {
        if (text.empty()) return fail(Code::invalid, "is empty");
        const auto slash = text.find('/');
        if (slash == std::string::npos) return Object{"default", text};
        if (text.find('/', slash + 1) != std::string::npos)
            return fail(Code::invalid, "expected NAMESPACE/NAME");
        return Object{text.substr(0, slash), text.substr(slash + 1)};
    }
    [[nodiscard]] bool matches(const std::string& of, const std::string& name) const {
        if (of.empty() && name.empty()) return false;
        return (space.empty() || space == of) && name.starts_with(prefix);
    }
};

// A name with '*', which crosses dots.
Result<Pattern> domain(const std::string& text) {
    std::string name = lower(text);
    if (!name.empty() && name.back() == '.') name.pop_back();
    if (name.empty()) return fail(Code::invalid, "is empty");
    std::string expression = "^";
    for (const char c : name) {
        if (c == '*') {
            expression += "[-.0-9a-z]*";
        } else if (c == '.') {
            expression += "[.]";
        } else if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_') {
            expression += c;
        } else {
            return fail(Code::invalid, "only letters, digits, '-', '_', '.' and '*' are legal");
        }
    }
    return pattern(expression + "$");
}

// "node", "cluster/node", "cluster/", with '*' that does not cross the slash.
Result<Pattern> node_name(const std::string& text) {
    if (text.empty()) return fail(Code::invalid, "is empty");
    std::string full = text;
    if (text.find('/') == std::string::npos) full = "*/" + text;
    if (full.back() == '/') full += '*';
    std::string expression = "^";
    for (const char c : full) {
        if (c == '*') {
            expression += "[^/]*";
        } else if (c == '.') {
            expression += "[.]";
        } else if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' ||
                   c == '/') {
            expression += c;
        } else {
            return fail(Code::invalid,
                        "only letters, digits, '-', '_', '.', '*' and one '/' are legal");
        }
    }
    if (std::count(full.begin(), full.end(), '/') != 1)
        return fail(Code::invalid, "expected at most one '/'");
    return pattern(expression + "$");
}

// "404", or the beginning of a status: "4+", "40+"
struct Status {
    std::string digits;
    bool prefix = false;

    static Result<Status> parse(const std::string& text) {
        Status out{text, false};
        if (text.ends_with('+')) {
            out.prefix = true;
            out.digits.pop_back();
        }
        const bool legal = !out.digits.empty() && out.digits[0] >= '1' && out.digits[0] <= '5' &&
                           std::all_of(out.digits.begin(), out.digits.end(),
                                       [](char c) { return c >= '0' && c <= '9'; }) &&
                           (out.prefix ? out.digits.size() <= 2 : out.digits.size() == 3);
        if (!legal)
            return fail(Code::invalid, "expected a status such as 404, or a beginning such as 4+");
        return out;
    }
    [[nodiscard]] bool matches(const std::string& code) const {
        return prefix ? code.starts_with(digits) : code == digits;
    }
};

Result<std::uint32_t> port(const std::string& text) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value > 65535)
        return fail(Code::invalid, "expected a port from 0 to 65535");
    return value;
}

// --- what is looked at in a flow ---

std::optional<std::pair<std::uint32_t, std::uint32_t>> ports(const Flow& flow) {
    const auto& l4 = flow.l4();
    switch (l4.protocol_case()) {
    case ::flow::Layer4::kTCP: return {{l4.tcp().source_port(), l4.tcp().destination_port()}};
    case ::flow::Layer4::kUDP: return {{l4.udp().source_port(), l4.udp().destination_port()}};
    case ::flow::Layer4::kSCTP: return {{l4.sctp().source_port(), l4.sctp().destination_port()}};
    default: return std::nullopt;
    }
}

// Path of a URL, or of a target that begins with it.
std::string_view path_of(std::string_view url) {
    if (const auto scheme = url.find("://"); scheme != std::string_view::npos) {
        url.remove_prefix(scheme + 3);
        const auto slash = url.find_first_of("/?#");
        url = slash == std::string_view::npos ? std::string_view{} : url.substr(slash);
    }
    return url.substr(0, url.find_first_of("?#"));
}

const ::flow::HTTP* http_of(const Flow& flow) {
    return flow.l7().has_http() ? &flow.l7().http() : nullptr;
}

bool is_protocol(const Flow& flow, const std::string& name) {
    const auto& l4 = flow.l4();
    if (name == "tcp") return l4.has_tcp();
    if (name == "udp") return l4.has_udp();
    if (name == "sctp") return l4.has_sctp();
    if (name == "icmp") return l4.has_icmpv4() || l4.has_icmpv6();
    if (name == "icmpv4") return l4.has_icmpv4();
    if (name == "icmpv6") return l4.has_icmpv6();
    if (name == "vrrp") return l4.has_vrrp();
    if (name == "igmp") return l4.has_igmp();
    if (name == "dns") return flow.l7().has_dns();
    if (name == "http") return flow.l7().has_http();
    if (name == "kafka") return flow.l7().has_kafka();
    return false;
}

constexpr std::string_view kProtocols[] = {"icmp", "icmpv4", "icmpv6", "tcp",  "udp",  "sctp",
                                           "vrrp", "igmp",   "dns",    "http", "kafka"};

bool has_flags(const ::flow::TCPFlags& flags, const ::flow::TCPFlags& wanted) {
    return (!wanted.fin() || flags.fin()) && (!wanted.syn() || flags.syn()) &&
           (!wanted.rst() || flags.rst()) && (!wanted.psh() || flags.psh()) &&
           (!wanted.ack() || flags.ack()) && (!wanted.urg() || flags.urg()) &&
           (!wanted.ece() || flags.ece()) && (!wanted.cwr() || flags.cwr()) &&
           (!wanted.ns() || flags.ns());
}

std::string without_dot(std::string name) {
    name = lower(name);
    if (!name.empty() && name.back() == '.') name.pop_back();
    return name;
}

enum class Side { source, destination };
const ::flow::Endpoint& end_of(const Flow& flow, Side side) {
    return side == Side::source ? flow.source() : flow.destination();
}
bool has_end(const Flow& flow, Side side) {
    return side == Side::source ? flow.has_source() : flow.has_destination();
}

} // namespace

class Filter::Compiler {
public:
    Compiler(const ::flow::FlowFilter& filter, std::string_view where, std::vector<Test>& tests)
        : filter_(filter), where_(where), tests_(tests) {}

    Result<> all() {
        TRY(side(Side::source));
        TRY(side(Side::destination));
        TRY(numbers());
        TRY(http());
        TRY(rest());
        return {};
    }

private:
    [[nodiscard]] Failure bad(std::string_view field, std::string_view value,
                              const Error& error) const {
        return fail(Code::invalid, "{}.{}: '{}': {}", where_, field, value.substr(0, 200),
                    error.message);
    }
    template <typename Values>
    Result<> bounded(std::string_view field, const Values& values) const {
        if (values.size() > kMaxValues)
            return fail(Code::invalid, "{}.{}: more than {} values", where_, field, kMaxValues);
        return {};
    }

    // Every value by `parse`; of the compiled values any must hold.
    template <typename Parse, typename Matches>
    Result<> texts(std::string_view field, const Texts& values, Parse parse, Matches matches) {
        if (values.empty()) return {};
        TRY(bounded(field, values));
        std::vector<typename decltype(parse(std::string()))::value_type> compiled;
        compiled.reserve(static_cast<std::size_t>(values.size()));
        for (const auto& value : values) {
            if (value.size() > kMaxText)
                return fail(Code::invalid, "{}.{}: a value is longer than {} bytes", where_, field,
                            kMaxText);
            auto one = parse(value);
            if (!one) return bad(field, value, one.error());
            compiled.push_back(std::move(*one));
        }
        tests_.push_back([compiled = std::move(compiled), matches](const Flow& flow) {
            return any(compiled, [&](const auto& one) { return matches(flow, one); });
        });
        return {};
    }
    template <typename Values, typename Matches>
    Result<> values(std::string_view field, const Values& values, Matches matches) {
        if (values.empty()) return {};
        TRY(bounded(field, values));
        tests_.push_back([values, matches](const Flow& flow) {
            return any(values, [&](const auto& one) { return matches(flow, one); });
        });
        return {};
    }

    static Result<std::string> as_is(const std::string& text) { return text; }
    static Result<std::string> not_empty(const std::string& text) {
        if (text.empty()) return fail(Code::invalid, "is empty");
        return text;
    }

    Result<> side(Side side) {
        const bool source = side == Side::source;
        const auto name = [source](const char* of_source, const char* of_destination) {
            return source ? of_source : of_destination;
        };
        TRY(texts(name("source_ip", "destination_ip"),
                  source ? filter_.source_ip() : filter_.destination_ip(), Network::parse,
                  [source](const Flow& flow, const Network& network) {
                      return network.matches(source ? flow.ip().source() : flow.ip().destination());
                  }));
        TRY(texts(name("source_pod", "destination_pod"),
                  source ? filter_.source_pod() : filter_.destination_pod(), Object::parse,
                  [side](const Flow& flow, const Object& pod) {
                      const auto& end = end_of(flow, side);
                      return pod.matches(end.namespace_(), end.pod_name());
                  }));
        TRY(texts(name("source_service", "destination_service"),
                  source ? filter_.source_service() : filter_.destination_service(), Object::parse,
                  [source](const Flow& flow, const Object& wanted) {
                      const auto& service =
                          source ? flow.source_service() : flow.destination_service();
                      return wanted.matches(service.namespace_(), service.name());
                  }));
        TRY(texts(name("source_fqdn", "destination_fqdn"),
                  source ? filter_.source_fqdn() : filter_.destination_fqdn(), domain,
                  [source](const Flow& flow, const Pattern& wanted) {
                      return any(source ? flow.source_names() : flow.destination_names(),
                                 [&](const auto& one) {
                                     return re2::RE2::FullMatch(without_dot(one), *wanted);
                                 });
                  }));
        TRY(texts(name("source_label", "destination_label"),
                  source ? filter_.source_label() : filter_.destination_label(), Selector::parse,
                  [side](const Flow& flow, const Selector& wanted) {
                      return wanted.matches(end_of(flow, side).labels());
                  }));
        TRY(texts(name("source_port", "destination_port"),
                  source ? filter_.source_port() : filter_.destination_port(), port,
                  [source](const Flow& flow, std::uint32_t wanted) {
                      const auto both = ports(flow);
                      return both && (source ? both->first : both->second) == wanted;
                  }));
        TRY(values(name("source_identity", "destination_identity"),
                   source ? filter_.source_identity() : filter_.destination_identity(),
                   [side](const Flow& flow, std::uint32_t wanted) {
                       return has_end(flow, side) && end_of(flow, side).identity() == wanted;
                   }));
        TRY(values(name("source_workload", "destination_workload"),
                   source ? filter_.source_workload() : filter_.destination_workload(),
                   [side](const Flow& flow, const ::flow::Workload& wanted) {
                       return any(end_of(flow, side).workloads(), [&](const auto& one) {
                           return (wanted.name().empty() || wanted.name() == one.name()) &&
                                  (wanted.kind().empty() || wanted.kind() == one.kind());
                       });
                   }));
        return texts(name("source_cluster_name", "destination_cluster_name"),
                     source ? filter_.source_cluster_name() : filter_.destination_cluster_name(),
                     not_empty, [side](const Flow& flow, const std::string& wanted) {
                         return end_of(flow, side).cluster_name() == wanted;
                     });
    }

    Result<> numbers() {
        TRY(values("verdict", filter_.verdict(),
                   [](const Flow& flow, int wanted) { return flow.verdict() == wanted; }));
        TRY(values("event_type", filter_.event_type(),
                   [](const Flow& flow, const ::flow::EventTypeFilter& wanted) {
                       if (!flow.has_event_type()) return false;
                       const auto& type = flow.event_type();
                       return (wanted.type() == 0 || wanted.type() == type.type()) &&
                              (!wanted.match_sub_type() || wanted.sub_type() == type.sub_type());
                   }));
        TRY(values("reply", filter_.reply(), [](const Flow& flow, bool wanted) {
            // Nobody answers a packet that was dropped.
            if (flow.verdict() == ::flow::DROPPED && !flow.has_is_reply()) return !wanted;
            return flow.has_is_reply() && flow.is_reply().value() == wanted;
        }));
        TRY(values("ip_version", filter_.ip_version(),
                   [](const Flow& flow, int wanted) { return flow.ip().ipversion() == wanted; }));
        TRY(values(
            "traffic_direction", filter_.traffic_direction(),
            [](const Flow& flow, int wanted) { return flow.traffic_direction() == wanted; }));
        TRY(values(
            "drop_reason_desc", filter_.drop_reason_desc(), [](const Flow& flow, int wanted) {
                return flow.verdict() == ::flow::DROPPED && flow.drop_reason_desc() == wanted;
            }));
        TRY(values("encrypted", filter_.encrypted(), [](const Flow& flow, bool wanted) {
            return flow.has_ip() && flow.ip().encrypted() == wanted;
        }));
        return values("ip_trace_id", filter_.ip_trace_id(),
                      [](const Flow& flow, std::uint64_t wanted) {
                          return flow.has_ip_trace_id() && flow.ip_trace_id().trace_id() == wanted;
                      });
    }

    // Only events of L7 have these.
    Result<> needs_l7(const char* field) const {
        const auto& types = filter_.event_type();
        if (types.empty() ||
            any(types, [](const auto& one) { return one.type() == kL7Event || one.type() == 0; }))
            return {};
        return fail(Code::invalid, "{}.{}: needs the event type {} (l7) in event_type", where_,
                    field, kL7Event);
    }

    template <typename Parse, typename Matches>
    Result<> http_texts(const char* field, const Texts& values, Parse parse, Matches matches) {
        if (values.empty()) return {};
        TRY(needs_l7(field));
        return texts(field, values, parse, [matches](const Flow& flow, const auto& one) {
            const ::flow::HTTP* http = http_of(flow);
            return http != nullptr && matches(*http, one);
        });
    }

    Result<> http() {
        TRY(http_texts("http_status_code", filter_.http_status_code(), Status::parse,
                       [](const ::flow::HTTP& http, const Status& wanted) {
                           return http.code() != 0 && wanted.matches(std::to_string(http.code()));
                       }));
        TRY(http_texts(
            "http_method", filter_.http_method(),
            [](const std::string& text) -> Result<std::string> { return lower(text); },
            [](const ::flow::HTTP& http, const std::string& wanted) {
                return lower(http.method()) == wanted;
            }));
        TRY(http_texts("http_path", filter_.http_path(), pattern,
                       [](const ::flow::HTTP& http, const Pattern& wanted) {
                           const auto path = path_of(http.url());
                           return re2::RE2::PartialMatch(re2::StringPiece(path.data(), path.size()),
                                                         *wanted);
                       }));
        TRY(http_texts("http_url", filter_.http_url(), pattern,
                       [](const ::flow::HTTP& http, const Pattern& wanted) {
                           return re2::RE2::PartialMatch(http.url(), *wanted);
                       }));
        if (filter_.http_header().empty()) return {};
        TRY(needs_l7("http_header"));
        return values("http_header", filter_.http_header(),
                      [](const Flow& flow, const ::flow::HTTPHeader& wanted) {
                          const ::flow::HTTP* http = http_of(flow);
                          return http != nullptr && any(http->headers(), [&](const auto& one) {
                                     return one.key() == wanted.key() &&
                                            one.value() == wanted.value();
                                 });
                      });
    }

    Result<> rest() {
        TRY(texts(
            "protocol", filter_.protocol(),
            [](const std::string& text) -> Result<std::string> {
                std::string name = lower(text);
                if (!any(kProtocols, [&](std::string_view one) { return one == name; }))
                    return fail(Code::invalid, "unknown protocol");
                return name;
            },
            is_protocol));
        TRY(values(
            "tcp_flags", filter_.tcp_flags(), [](const Flow& flow, const ::flow::TCPFlags& wanted) {
                return flow.l4().tcp().has_flags() && has_flags(flow.l4().tcp().flags(), wanted);
            }));
        TRY(texts("dns_query", filter_.dns_query(), pattern,
                  [](const Flow& flow, const Pattern& wanted) {
                      return flow.l7().has_dns() &&
                             re2::RE2::PartialMatch(flow.l7().dns().query(), *wanted);
                  }));
        TRY(texts("node_name", filter_.node_name(), node_name,
                  [](const Flow& flow, const Pattern& wanted) {
                      const std::string& name = flow.node_name();
                      const bool full = name.find('/') != std::string::npos;
                      return re2::RE2::FullMatch(full ? name : "default/" + name, *wanted);
                  }));
        TRY(texts("node_labels", filter_.node_labels(), Selector::parse,
                  [](const Flow& flow, const Selector& wanted) {
                      return wanted.matches(flow.node_labels());
                  }));
        TRY(texts("trace_id", filter_.trace_id(), as_is,
                  [](const Flow& flow, const std::string& wanted) {
                      return flow.trace_context().parent().trace_id() == wanted;
                  }));
        TRY(texts("uuid", filter_.uuid(), as_is, [](const Flow& flow, const std::string& wanted) {
            return flow.uuid() == wanted;
        }));
        TRY(texts("source_ip_xlated", filter_.source_ip_xlated(), Network::parse,
                  [](const Flow& flow, const Network& wanted) {
                      return wanted.matches(flow.ip().source_xlated());
                  }));
        TRY(values("interface", filter_.interface(),
                   [](const Flow& flow, const ::flow::NetworkInterface& wanted) {
                       return flow.has_interface() &&
                              (wanted.index() == 0 || wanted.index() == flow.interface().index()) &&
                              (wanted.name().empty() || wanted.name() == flow.interface().name());
                   }));
        if (filter_.experimental().cel_expression_size() > 0)
            return fail(Code::invalid, "{}.experimental.cel_expression: not supported", where_);
        return {};
    }

    const ::flow::FlowFilter& filter_;
    std::string_view where_;
    std::vector<Test>& tests_;
};

Result<Filter> Filter::compile(const ::flow::FlowFilter& filter, std::string_view where) {
    Filter out;
    TRY(Compiler(filter, where, out.tests_).all());
    return out;
}

bool Filter::matches(const Flow& flow) const {
    return std::all_of(tests_.begin(), tests_.end(), [&](const Test& test) { return test(flow); });
}

Result<FilterLists> FilterLists::compile(const FlowFilters& whitelist,
                                         const FlowFilters& blacklist) {
    FilterLists out;
    const auto all = [](const FlowFilters& filters, const char* name,
                        std::vector<Filter>& to) -> Result<> {
        if (filters.size() > kMaxFilters)
            return fail(Code::invalid, "{}: more than {} filters", name, kMaxFilters);
        for (int i = 0; i < filters.size(); ++i)
            to.push_back(TRY(Filter::compile(filters[i], fmt::format("{}[{}]", name, i))));
        return {};
    };
    TRY(all(whitelist, "whitelist", out.whitelist_));
    TRY(all(blacklist, "blacklist", out.blacklist_));
    return out;
}

bool FilterLists::keeps(const Flow& flow) const {
    const auto matches = [&](const Filter& filter) { return filter.matches(flow); };
    return (whitelist_.empty() || any(whitelist_, matches)) && !any(blacklist_, matches);
}

} // namespace beeline::hubble
