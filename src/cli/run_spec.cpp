#include "cli/run_spec.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>

namespace beeline::cli {
namespace {

constexpr std::uint64_t kLeastMemory = 1 << 20;
constexpr std::uint64_t kMostMemory = 1ULL << 50;
constexpr std::uint32_t kLeastCpuMillis =
    10; // the kernel's smallest quota is 1 ms in a period of 100 ms
constexpr std::uint32_t kMostCpuMillis = 1'000'000;

bool lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool alphanumeric(char c) { return lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

template <typename T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size())
        return std::nullopt;
    return value;
}

// Digits with an optional fraction; no sign, exponent, "inf" or "nan", which from_chars would take.
std::optional<double> decimal(std::string_view text) {
    const bool plain = std::all_of(text.begin(), text.end(),
                                   [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
    return plain ? number<double>(text) : std::nullopt;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const auto at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return parts;
        text.remove_prefix(at + 1);
    }
}

// The name part of a label key and a label's value share their syntax.
bool is_qualified(std::string_view text) {
    return !text.empty() && text.size() <= 63 && alphanumeric(text.front()) &&
           alphanumeric(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
               return alphanumeric(c) || c == '-' || c == '_' || c == '.';
           });
}

bool is_dns_label(std::string_view text) {
    return !text.empty() && text.size() <= 63 && lower_or_digit(text.front()) &&
           lower_or_digit(text.back()) && std::all_of(text.begin(), text.end(), [](char c) {
               return lower_or_digit(c) || c == '-';
           });
}

bool is_dns_name(std::string_view text) {
    const auto labels = split(text, '.');
    return text.size() <= 253 && std::all_of(labels.begin(), labels.end(), is_dns_label);
}

// Kubernetes' rule for names of ports: at most 15 of a-z, 0-9 and '-', one letter, no "--", no '-' at an end.
bool is_port_name(std::string_view text) {
    return text.size() <= 15 && is_dns_label(text) && text.find("--") == std::string_view::npos &&
           std::any_of(text.begin(), text.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

Result<gid_t> find_group(std::string_view text) {
    if (const auto gid = number<gid_t>(text); gid && *gid != static_cast<gid_t>(-1)) return *gid;
    const group* entry = ::getgrnam(std::string(text).c_str());
    if (entry == nullptr)
        return fail(Code::invalid, "there is no group '{}' on this machine", text);
    return entry->gr_gid;
}

std::vector<gid_t> groups_of(const passwd& entry) {
    std::vector<gid_t> groups(32);
    for (;;) {
        int count = static_cast<int>(groups.size());
        if (::getgrouplist(entry.pw_name, entry.pw_gid, groups.data(), &count) >= 0) {
            groups.resize(static_cast<std::size_t>(count));
            return groups;
        }
        groups.resize(std::max(static_cast<std::size_t>(count), groups.size() * 2));
    }
}

Result<std::string> existing(std::string_view path, std::string_view role) {
    char* real = ::realpath(std::string(path).c_str(), nullptr);
    if (real == nullptr) return fail_errno(errno, fmt::format("the volume's {} {}", role, path));
    std::string result(real);
    std::free(real);
    return result;
}

std::string caller_or(const char* key, const char* fallback) {
    const char* value = std::getenv(key);
    return value != nullptr && *value != '\0' ? value : fallback;
}

template <typename T>
Result<T> named(std::string_view flag, Result<T> result) {
    if (!result) return Failure(std::move(result).error().with(flag));
    return result;
}

// A workload starts with a small environment: what root's shell holds is not its business.
Result<std::vector<std::string>> complete_environment(const RunFlags& flags, const User& user) {
    std::map<std::string, std::string> all = {
        {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        {"HOME", user.home},
        {"USER", user.name},
        {"LOGNAME", user.name},
        {"LANG", caller_or("LANG", "C.UTF-8")},
    };
    if (const auto term = caller_or("TERM", ""); !term.empty()) all["TERM"] = term;
    for (const auto& file : flags.environment_files) {
        std::ifstream stream(file);
        if (!stream) return fail_errno(errno, fmt::format("--env-file: {}", file));
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        const auto variables = TRY(parse_environment_lines(text, file));
        for (const auto& [key, value] : variables)
            all[key] = value;
    }
    for (const auto& given : flags.environment) {
        const auto variables = TRY(named("--env", parse_environment(given)));
        for (const auto& [key, value] : variables)
            all[key] = value;
    }
    std::vector<std::string> result;
    result.reserve(all.size());
    for (const auto& [key, value] : all)
        result.push_back(fmt::format("{}={}", key, value));
    return result;
}

Result<> check_ports(const std::vector<model::NamedPort>& ports) {
    std::set<std::string> names;
    for (const auto& port : ports) {
        if (!port.name.empty() && !names.insert(port.name).second)
            return fail(Code::invalid, "--port: the name '{}' is given twice", port.name);
    }
    return {};
}

} // namespace

Result<> check_dns_label(std::string_view what, std::string_view text) {
    if (is_dns_label(text)) return {};
    return fail(
        Code::invalid,
        "{}: '{}' is not a DNS label: use at most 63 of a-z, 0-9 and '-', not '-' at an end", what,
        text);
}

Result<std::uint64_t> parse_size(std::string_view text) {
    std::string_view digits = text;
    if (digits.ends_with("B") || digits.ends_with("b")) digits.remove_suffix(1);
    if (digits.ends_with("i")) digits.remove_suffix(1);
    double factor = 1;
    if (!digits.empty() && !(digits.back() >= '0' && digits.back() <= '9')) {
        switch (digits.back()) {
        case 'k':
        case 'K': factor = 1ULL << 10; break;
        case 'm':
        case 'M': factor = 1ULL << 20; break;
        case 'g':
        case 'G': factor = 1ULL << 30; break;
        case 't':
        case 'T': factor = 1ULL << 40; break;
        default: factor = 0; break;
        }
        digits.remove_suffix(1);
    }
    const auto value = decimal(digits);
    if (!value || factor == 0)
        return fail(Code::invalid, "'{}' is not a size: write bytes as 1048576, 64K, 256M or 2G",
                    text);
    const double bytes = *value * factor;
    if (bytes < static_cast<double>(kLeastMemory) || bytes > static_cast<double>(kMostMemory))
        return fail(Code::invalid, "'{}' is out of range: at least 1M, at most 1024T", text);
    return static_cast<std::uint64_t>(bytes);
}

Result<std::uint32_t> parse_cpu(std::string_view text) {
    std::optional<double> millis;
    if (text.ends_with("m")) {
        millis = decimal(text.substr(0, text.size() - 1));
    } else if (const auto cpus = decimal(text)) {
        millis = *cpus * 1000;
    }
    if (!millis)
        return fail(Code::invalid, "'{}' is not a number of CPUs: write 0.5, 2 or 250m", text);
    if (*millis < kLeastCpuMillis || *millis > kMostCpuMillis)
        return fail(Code::invalid, "'{}' is out of range: at least 0.01, at most 1000 CPUs", text);
    return static_cast<std::uint32_t>(std::lround(*millis));
}

Result<Volume> parse_volume(std::string_view text) {
    const auto parts = split(text, ':');
    const bool options = parts.size() == 3 && (parts[2] == "ro" || parts[2] == "rw");
    if ((parts.size() != 2 && !options) || parts[0].empty() || parts[1].empty())
        return fail(Code::invalid, "'{}' is not a volume: write SOURCE:TARGET or SOURCE:TARGET:ro",
                    text);
    if (!parts[1].starts_with("/"))
        return fail(Code::invalid, "the target '{}' must be an absolute path", parts[1]);
    if (parts[1].find_first_not_of('/') == std::string_view::npos)
        return fail(Code::invalid, "the target of a volume cannot be /");
    Volume volume;
    volume.source = TRY(existing(parts[0], "source"));
    volume.target = TRY(
        existing(parts[1], "target (it must exist on the host, for example as an empty folder)"));
    volume.read_only = options && parts[2] == "ro";
    struct stat source{};
    struct stat target{};
    if (::stat(volume.source.c_str(), &source) != 0) return fail_errno(errno, volume.source);
    if (::stat(volume.target.c_str(), &target) != 0) return fail_errno(errno, volume.target);
    if (S_ISDIR(source.st_mode) != S_ISDIR(target.st_mode))
        return fail(Code::invalid, "'{}': source and target must both be folders or both be files",
                    text);
    return volume;
}

Result<User> parse_user(std::string_view text) {
    const auto colon = text.find(':');
    const auto who = text.substr(0, colon);
    if (who.empty())
        return fail(Code::invalid, "'{}' is not a user: write USER or USER:GROUP", text);
    const passwd* entry = nullptr;
    User user;
    if (const auto uid = number<uid_t>(who)) {
        if (*uid == static_cast<uid_t>(-1))
            return fail(Code::invalid, "'{}' cannot be the number of a user", who);
        user.uid = *uid;
        user.gid = static_cast<gid_t>(*uid);
        user.name = std::string(who);
        entry = ::getpwuid(*uid);
    } else {
        entry = ::getpwnam(std::string(who).c_str());
        if (entry == nullptr)
            return fail(Code::invalid, "there is no user '{}' on this machine", who);
    }
    if (entry != nullptr) {
        user.uid = entry->pw_uid;
        user.gid = entry->pw_gid;
        user.name = entry->pw_name;
        user.home = entry->pw_dir;
        if (colon == std::string_view::npos) user.groups = groups_of(*entry);
    }
    if (colon != std::string_view::npos) user.gid = TRY(find_group(text.substr(colon + 1)));
    if (user.groups.empty()) user.groups = {user.gid};
    return user;
}

Result<model::NamedPort> parse_port(std::string_view text) {
    model::NamedPort port;
    port.protocol = model::Protocol::tcp;
    for (const auto part : split(text, ',')) {
        const auto equals = part.find('=');
        const auto key = part.substr(0, equals);
        const auto value =
            equals == std::string_view::npos ? std::string_view() : part.substr(equals + 1);
        if (key == "name") {
            if (!is_port_name(value))
                return fail(
                    Code::invalid,
                    "'{}' cannot name a port: at most 15 of a-z, 0-9 and '-', with one letter",
                    value);
            port.name = std::string(value);
        } else if (key == "protocol") {
            if (value == "tcp" || value == "TCP") {
                port.protocol = model::Protocol::tcp;
            } else if (value == "udp" || value == "UDP") {
                port.protocol = model::Protocol::udp;
            } else if (value == "sctp" || value == "SCTP") {
                port.protocol = model::Protocol::sctp;
            } else {
                return fail(Code::invalid, "protocol '{}': use tcp, udp or sctp", value);
            }
        } else if (key == "port") {
            const auto given = number<std::uint16_t>(value);
            if (!given || *given == 0)
                return fail(Code::invalid, "port '{}': use a number from 1 to 65535", value);
            port.port = *given;
        } else {
            return fail(Code::invalid, "'{}' in '{}': write name=http,protocol=tcp,port=8080", part,
                        text);
        }
    }
    if (port.port == 0)
        return fail(Code::invalid, "'{}' has no port: write name=http,protocol=tcp,port=8080",
                    text);
    return port;
}

Result<std::pair<std::string, std::string>> parse_label(std::string_view text) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos)
        return fail(Code::invalid, "'{}' is not a label: write KEY=VALUE", text);
    const auto key = text.substr(0, equals);
    const auto value = text.substr(equals + 1);
    const auto slash = key.find('/');
    const auto prefix = slash == std::string_view::npos ? std::string_view() : key.substr(0, slash);
    const auto name = slash == std::string_view::npos ? key : key.substr(slash + 1);
    if (!is_qualified(name) || (slash != std::string_view::npos && !is_dns_name(prefix)))
        return fail(Code::invalid,
                    "'{}' cannot be the key of a label: write name or domain.example/name", key);
    if (!value.empty() && !is_qualified(value)) {
        return fail(Code::invalid,
                    "'{}' cannot be the value of a label: at most 63 letters, digits, '-', '_' and "
                    "'.', with a letter or "
                    "digit at both ends",
                    value);
    }
    return std::pair(std::string(key), std::string(value));
}

Result<Variables> parse_environment(std::string_view text) {
    const auto equals = text.find('=');
    const std::string key(text.substr(0, equals));
    if (key.empty() || key.find_first_of(" \t\n") != std::string::npos)
        return fail(Code::invalid,
                    "'{}' is not an environment variable: write KEY=VALUE, or KEY to pass yours on",
                    text);
    if (text.find('\0') != std::string_view::npos)
        return fail(Code::invalid, "the value of {} has a zero byte", key);
    if (equals != std::string_view::npos)
        return Variables{{key, std::string(text.substr(equals + 1))}};
    const char* own = std::getenv(key.c_str());
    return own == nullptr ? Variables{} : Variables{{key, own}};
}

Result<Variables> parse_environment_lines(std::string_view text, std::string_view file) {
    Variables result;
    int line = 0;
    for (auto part : split(text, '\n')) {
        ++line;
        if (part.ends_with('\r')) part.remove_suffix(1);
        if (part.empty() || part.front() == '#') continue;
        const auto variables =
            TRY(named(fmt::format("{}:{}", file, line), parse_environment(part)));
        result.insert(result.end(), variables.begin(), variables.end());
    }
    return result;
}

Result<RunSpec> parse_run(const RunFlags& flags) {
    RunSpec spec;
    TRY(check_dns_label("--name", flags.name));
    TRY(check_dns_label("--namespace", flags.space));
    spec.name = flags.name;
    spec.space = flags.space;
    for (const auto& text : flags.labels) {
        auto [key, value] = TRY(named("--label", parse_label(text)));
        spec.labels[key] = value;
    }
    for (const auto& text : flags.ports)
        spec.ports.push_back(TRY(named("--port", parse_port(text))));
    TRY(check_ports(spec.ports));
    spec.user = TRY(named("--user", parse_user(flags.user.empty() ? "0" : flags.user)));
    for (const auto& text : flags.volumes)
        spec.volumes.push_back(TRY(named("--volume", parse_volume(text))));
    if (!flags.memory.empty()) spec.memory_bytes = TRY(named("--memory", parse_size(flags.memory)));
    if (!flags.cpu.empty()) spec.cpu_millis = TRY(named("--cpu", parse_cpu(flags.cpu)));
    if (!flags.workdir.empty() && !flags.workdir.starts_with("/"))
        return fail(Code::invalid, "--workdir: '{}' must be an absolute path", flags.workdir);
    spec.workdir = flags.workdir;
    spec.hostname = flags.hostname.empty() ? flags.name : flags.hostname;
    if (!is_dns_name(spec.hostname) || spec.hostname.size() > 64)
        return fail(Code::invalid, "--hostname: '{}' is not a DNS name of at most 64 characters",
                    spec.hostname);
    if (!flags.pid.empty() && flags.pid != "host")
        return fail(Code::invalid, "--pid: '{}': the only choice is host", flags.pid);
    spec.host_pid = flags.pid == "host";
    spec.privileged = flags.privileged;
    spec.environment = TRY(complete_environment(flags, spec.user));
    if (flags.command.empty() || flags.command.front().empty())
        return fail(
            Code::invalid,
            "no command: write it after --, as in: beeline run --name web -- /usr/bin/server");
    spec.command = flags.command;
    return spec;
}

} // namespace beeline::cli
