#include "cni/invocation.h"

#include <algorithm>
#include <iterator>
#include <optional>

namespace beeline::cni {
namespace {

using net::CniError;
namespace code = net::cni_code;

constexpr unsigned kDeepest = 64;
constexpr std::string_view kNewest = net::kCniVersions.back();

struct VerbRules {
    std::string_view command;
    std::string_view since;
    Verb verb;
    bool attachment; // container and interface
    bool netns;
    bool path;
};
constexpr VerbRules kRules[] = {
    {"ADD", "0.3.1", Verb::add, true, true, false},
    {"DEL", "0.3.1", Verb::del, true, false, false},
    {"CHECK", "0.4.0", Verb::check, true, true, false},
    {"GC", "1.1.0", Verb::gc, false, false, true},
    {"STATUS", "1.1.0", Verb::status, false, false, false},
    {"VERSION", "0.3.1", Verb::version, false, false, false},
};

tl::unexpected<CniError> refuse(int number, std::string message, std::string details = {}) {
    return tl::unexpected(CniError{number, std::move(message), std::move(details)});
}

std::string missing_variables(const VerbRules& rules, const Environment& environment) {
    std::string names;
    const auto need = [&](bool needed, const std::string& value, const char* name) {
        if (needed && value.empty()) names += (names.empty() ? "" : ", ") + std::string(name);
    };
    need(rules.attachment, environment.container, "CNI_CONTAINERID");
    need(rules.netns, environment.netns, "CNI_NETNS");
    need(rules.attachment, environment.interface, "CNI_IFNAME");
    need(rules.path, environment.path, "CNI_PATH");
    return names;
}

std::optional<CniError> check_environment(const VerbRules& rules, const Environment& environment) {
    const auto wrong = [](std::string message) {
        return CniError{code::kEnvironment, std::move(message), {}};
    };
    if (const auto names = missing_variables(rules, environment); !names.empty()) {
        return wrong(fmt::format("{} needs the environment variables {}", rules.command, names));
    }
    if (!rules.attachment) return {};
    if (!net::is_cni_name(environment.container)) {
        return wrong(fmt::format(
            "CNI_CONTAINERID is '{}', expected a letter or digit, then letters, digits, '_', '.' "
            "and '-'",
            environment.container));
    }
    if (!net::is_interface_name(environment.interface)) {
        return wrong(fmt::format(
            "CNI_IFNAME is '{}', expected 1 to 15 characters without '/', ':' and white space, not "
            "'.' or '..'",
            environment.interface));
    }
    // DEL succeeds whatever it is told beside the names.
    if (rules.verb == Verb::del) return {};
    if (const auto args = net::parse_cni_args(environment.args); !args)
        return wrong(args.error().message);
    return {};
}

std::optional<std::string> text_member(const nlohmann::json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_string()) return {};
    return found->get<std::string>();
}

std::optional<CniError> check_config(const VerbRules& rules, Invocation& out) {
    const auto version = text_member(out.config, "cniVersion");
    if (!version || !net::cni_speaks(*version)) {
        return CniError{code::kVersion,
                        version ? fmt::format("CNI version '{}' is not spoken", *version)
                                : "'cniVersion' is missing",
                        "spoken are 0.3.1, 0.4.0, 1.0.0 and 1.1.0"};
    }
    out.version = *version;
    if (!net::cni_at_least(*version, rules.since)) {
        return CniError{code::kVersion,
                        fmt::format("{} came with CNI {}, the configuration is of {}",
                                    rules.command, rules.since, *version),
                        {}};
    }
    const auto name = text_member(out.config, "name");
    if (!name || !net::is_cni_name(*name)) {
        return CniError{code::kConfig,
                        name ? fmt::format("'name' is '{}', expected a letter or digit, then "
                                           "letters, digits, '_', '.' and "
                                           "'-'",
                                           *name)
                             : "'name' is missing: the network configuration needs one",
                        {}};
    }
    if (out.config.contains("instance")) {
        const auto instance = text_member(out.config, "instance");
        if (!instance) return CniError{code::kConfig, "'instance' must be a string", {}};
        out.instance = *instance;
    }
    return {};
}

} // namespace

std::string_view verb_name(Verb verb) {
    switch (verb) {
    case Verb::add: return "add";
    case Verb::del: return "del";
    case Verb::check: return "check";
    case Verb::gc: return "gc";
    case Verb::status: return "status";
    case Verb::version: return "version";
    }
    return "version";
}

Environment read_environment(const std::function<const char*(const char*)>& get) {
    const auto text = [&](const char* name) {
        const char* value = get(name);
        return std::string(value != nullptr ? value : "");
    };
    const std::string override_text = text("CNI_NETNS_OVERRIDE");
    return {.command = text("CNI_COMMAND"),
            .container = text("CNI_CONTAINERID"),
            .netns = text("CNI_NETNS"),
            .interface = text("CNI_IFNAME"),
            .args = text("CNI_ARGS"),
            .path = text("CNI_PATH"),
            .netns_override =
                override_text == "1" || override_text == "true" || override_text == "TRUE"};
}

tl::expected<Invocation, CniError> parse_invocation(const Environment& environment,
                                                    std::string_view input) {
    const auto* rules =
        std::find_if(std::begin(kRules), std::end(kRules),
                     [&](const VerbRules& row) { return row.command == environment.command; });
    if (rules == std::end(kRules)) {
        return refuse(
            code::kEnvironment,
            fmt::format("CNI_COMMAND is '{}', expected ADD, DEL, CHECK, GC, STATUS or VERSION",
                        environment.command));
    }
    if (auto wrong = check_environment(*rules, environment))
        return tl::unexpected(std::move(*wrong));

    Invocation out;
    out.verb = rules->verb;
    out.environment = environment;
    out.version = kNewest;
    const bool blank = input.find_first_not_of(" \t\r\n") == std::string_view::npos;
    if (out.verb == Verb::version && blank) return out;
    if (blank)
        return refuse(code::kDecode, "standard input is empty, expected the network configuration");
    if (input.size() > kMaxInput) {
        return refuse(code::kDecode,
                      fmt::format("the network configuration is larger than {} bytes", kMaxInput));
    }
    if (net::json_deeper_than(input, kDeepest)) {
        return refuse(code::kDecode,
                      fmt::format("the network configuration nests deeper than {}", kDeepest));
    }
    // The library's own message has the position, so the exception is asked for.
    try {
        out.config = nlohmann::json::parse(input);
    } catch (const nlohmann::json::exception& error) {
        return refuse(code::kDecode, "the network configuration is not JSON", error.what());
    }
    if (!out.config.is_object())
        return refuse(code::kDecode, "the network configuration is not a JSON object");
    if (out.verb == Verb::version) {
        out.version = text_member(out.config, "cniVersion").value_or(std::string(kNewest));
        return out;
    }
    if (auto wrong = check_config(*rules, out)) return tl::unexpected(std::move(*wrong));
    return out;
}

std::string error_json(const CniError& error, std::string_view version) {
    nlohmann::json object{{"cniVersion", net::cni_speaks(version) ? version : kNewest},
                          {"code", error.code},
                          {"msg", error.message}};
    if (!error.details.empty()) object["details"] = error.details;
    // Messages quote what came from outside, which need not be UTF-8.
    return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace beeline::cni
