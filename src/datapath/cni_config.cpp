#include "datapath/cni_config.h"

#include <strings.h>

#include <algorithm>

#include "net/cni_protocol.h"

namespace beeline::datapath {
namespace {

using nlohmann::json;

const json kNothing;

// Of one workload.
constexpr std::size_t kMostHostPorts = 1024;
// Below it not even name lookups would work; Kubernetes refuses the same.
constexpr std::uint64_t kLeastRate = 1000;
constexpr std::uint64_t kMostBits = 1'000'000'000'000'000;

// The member, or null when it is absent or null. Any case will do, as for the decoders of the reference plugins:
// containerd sends "IngressRate" and "Servers".
const json& member(const json& object, const char* key) {
    if (!object.is_object()) return kNothing;
    const auto found = object.find(key);
    if (found != object.end()) return *found;
    for (const auto& [name, value] : object.items()) {
        if (::strcasecmp(name.c_str(), key) == 0) return value;
    }
    return kNothing;
}

bool says_something(const json& value) {
    return !value.is_null() && !((value.is_array() || value.is_object()) && value.empty()) &&
           value != "";
}

std::string shown(const json& value) {
    auto text = value.dump(-1, ' ', false, json::error_handler_t::replace);
    if (text.size() > 80) text = text.substr(0, 77) + "...";
    return text;
}

Result<const json*> object_at(const json& parent, const char* key, const char* path) {
    const json& value = member(parent, key);
    if (!value.is_null() && !value.is_object())
        return fail(Code::invalid, "'{}' must be an object", path);
    return &value;
}

Result<const json*> array_at(const json& parent, const char* key, const std::string& path) {
    const json& value = member(parent, key);
    if (!value.is_null() && !value.is_array())
        return fail(Code::invalid, "'{}' must be an array", path);
    return &value;
}

// Empty when absent.
Result<std::string> text_at(const json& parent, const char* key, const std::string& path) {
    const json& value = member(parent, key);
    if (value.is_null()) return std::string();
    if (!value.is_string()) return fail(Code::invalid, "'{}' must be a string", path);
    return value.get<std::string>();
}

Result<std::uint32_t> number_at(const json& parent, const char* key, const std::string& path,
                                std::uint32_t least, std::uint32_t most) {
    const json& value = member(parent, key);
    if (value.is_null()) return 0U;
    if (!value.is_number_integer() || value < least || value > most) {
        return fail(Code::invalid, "'{}' is {}, expected a number from {} to {}", path,
                    shown(value), least, most);
    }
    return value.get<std::uint32_t>();
}

Result<> only_members(const json& object, std::initializer_list<std::string_view> known,
                      const std::string& path) {
    if (!object.is_object()) return {};
    for (const auto& [key, value] : object.items()) {
        if (std::find(known.begin(), known.end(), key) != known.end()) continue;
        std::string names;
        for (const auto name : known)
            names += (names.empty() ? "" : ", ") + std::string(name);
        return fail(Code::invalid, "unknown field '{}.{}': known are {}", path, key, names);
    }
    return {};
}

// "10.0.0.9" or "10.0.0.9/24".
Result<net::Ip> parse_wanted(const std::string& text, const std::string& path) {
    const auto ip = net::Ip::parse(text.substr(0, text.find('/')));
    const bool good = ip && (text.find('/') == std::string::npos || net::Prefix::parse(text));
    if (!good) return fail(Code::invalid, "'{}' is '{}', expected an IP address", path, text);
    return *ip;
}

Result<std::vector<net::Ip>> wanted_list(const json& parent, const std::string& path) {
    std::vector<net::Ip> ips;
    const json& list = *TRY(array_at(parent, "ips", path));
    for (const auto& entry : list) {
        if (!entry.is_string())
            return fail(Code::invalid, "'{}' must be an array of strings", path);
        ips.push_back(TRY(parse_wanted(entry.get<std::string>(), path)));
    }
    return ips;
}

Result<net::Mac> parse_wanted_mac(const std::string& text, const std::string& path) {
    const auto mac = net::parse_mac(text);
    if (!mac || ((*mac)[0] & 1) != 0 || *mac == net::Mac{}) {
        return fail(
            Code::invalid,
            "'{}' is '{}', expected the MAC address of one interface, like 0a:00:00:00:00:01", path,
            text);
    }
    return *mac;
}

// The runtime takes `capabilities` away before the call and then sends only what was declared in it.
bool is_for_us(const json& config, const char* capability) {
    const json& capabilities = member(config, "capabilities");
    return capabilities.is_null() || member(capabilities, capability) == json(true);
}

// What a runtime gives by capability, and what cannot be done with it yet.
Result<> refuse_unsupported(const json& config, const json& runtime) {
    for (const char* name : {"ipRanges", "deviceID", "infinibandGUID"}) {
        const json& value = member(runtime, name);
        if (is_for_us(config, name) && says_something(value)) {
            return fail(Code::unsupported,
                        "'runtimeConfig.{}' is {}: Beeline does not support it; remove '{}' from "
                        "'capabilities', or let another plugin in the list have it",
                        name, shown(value), name);
        }
    }
    const std::string ipam = TRY(text_at(member(config, "ipam"), "type", "ipam.type"));
    if (!ipam.empty() && ipam != "beeline") {
        return fail(
            Code::unsupported,
            "'ipam.type' is '{}': Beeline leases addresses from the node's own ranges; leave "
            "'ipam' out",
            ipam);
    }
    return {};
}

Result<> read_labels(const json& args, CniConfig& out) {
    const json& list = *TRY(array_at(args, "labels", "args.cni.labels"));
    for (const auto& entry : list) {
        const std::string key = TRY(text_at(entry, "key", "args.cni.labels[].key"));
        if (key.empty())
            return fail(Code::invalid, "'args.cni.labels' needs entries {{\"key\", \"value\"}}");
        out.labels[key] = TRY(text_at(entry, "value", "args.cni.labels[].value"));
    }
    return {};
}

Result<model::Protocol> read_protocol(const json& entry, const std::string& path) {
    const std::string protocol = TRY(text_at(entry, "protocol", path + ".protocol"));
    const auto parsed = model::parse_protocol(protocol.empty() ? "TCP" : protocol);
    using model::Protocol;
    if (!parsed ||
        (*parsed != Protocol::tcp && *parsed != Protocol::udp && *parsed != Protocol::sctp)) {
        return fail(Code::invalid, "'{}.protocol' is '{}', expected TCP, UDP or SCTP", path,
                    protocol);
    }
    return *parsed;
}

Result<> read_own_args(const json& own, CniConfig& out) {
    TRY(only_members(own, {"cgroup", "pid", "source", "ports"}, "args.beeline"));
    out.cgroup = TRY(text_at(own, "cgroup", "args.beeline.cgroup"));
    out.pid = TRY(number_at(own, "pid", "args.beeline.pid", 0, 0x7fffffff));
    const std::string source = TRY(text_at(own, "source", "args.beeline.source"));
    if (!source.empty() && source != "run" && source != "cni") {
        return fail(Code::invalid, "'args.beeline.source' is '{}', expected run or cni", source);
    }
    if (!source.empty()) out.source = source;
    const json& ports = *TRY(array_at(own, "ports", "args.beeline.ports"));
    for (const auto& entry : ports) {
        const std::string path = "args.beeline.ports[]";
        if (!entry.is_object()) return fail(Code::invalid, "'{}' must be objects", path);
        TRY(only_members(entry, {"name", "protocol", "port"}, path));
        model::NamedPort port;
        port.name = TRY(text_at(entry, "name", path + ".name"));
        port.protocol = TRY(read_protocol(entry, path));
        port.port =
            static_cast<std::uint16_t>(TRY(number_at(entry, "port", path + ".port", 1, 65535)));
        if (port.port == 0) return fail(Code::invalid, "'{}' needs a 'port'", path);
        out.ports.push_back(std::move(port));
    }
    return {};
}

// Which addresses of the node: none named means all of both families, an unspecified one all of its own.
Result<> read_host_address(const std::string& text, const std::string& path, model::HostPort& out) {
    if (text.empty()) return {};
    const auto ip = net::Ip::parse(text);
    if (!ip) return fail(Code::invalid, "'{}' is '{}', expected an IP address", path, text);
    out.v4 = text == "0.0.0.0" || ip->is_v4();
    out.v6 = !out.v4;
    if (text != "0.0.0.0") out.address = *ip;
    return {};
}

Result<model::HostPort> read_port_mapping(const json& entry) {
    const std::string path = "runtimeConfig.portMappings[]";
    if (!entry.is_object()) return fail(Code::invalid, "'{}' must be objects", path);
    model::HostPort out;
    const auto port_at = [&](const char* key) -> Result<std::uint16_t> {
        const auto port = TRY(number_at(entry, key, path + "." + key, 1, 65535));
        if (port == 0) return fail(Code::invalid, "'{}' needs a '{}'", path, key);
        return static_cast<std::uint16_t>(port);
    };
    out.port = TRY(port_at("hostPort"));
    out.target = TRY(port_at("containerPort"));
    out.protocol = TRY(read_protocol(entry, path));
    TRY(read_host_address(TRY(text_at(entry, "hostIP", path + ".hostIP")), path + ".hostIP", out));
    // Its checksum does not let the packet path change a port.
    if (out.protocol == model::Protocol::sctp && out.port != out.target) {
        return fail(Code::unsupported,
                    "'{}' has hostPort {} and containerPort {}: with SCTP both must be the same",
                    path, out.port, out.target);
    }
    return out;
}

Result<> read_host_ports(const json& config, const json& runtime, CniConfig& out) {
    if (!is_for_us(config, "portMappings")) return {};
    const json& list = *TRY(array_at(runtime, "portMappings", "runtimeConfig.portMappings"));
    for (const auto& entry : list) {
        auto port = TRY(read_port_mapping(entry));
        for (const auto& other : out.host_ports) {
            if (port == other || !overlap(port, other)) continue;
            return fail(Code::invalid, "'runtimeConfig.portMappings' asks twice for {}",
                        port.to_string());
        }
        out.host_ports.push_back(std::move(port));
        if (out.host_ports.size() > kMostHostPorts) {
            return fail(Code::invalid, "'runtimeConfig.portMappings' has more than {} entries",
                        kMostHostPorts);
        }
    }
    std::sort(out.host_ports.begin(), out.host_ports.end());
    out.host_ports.erase(std::unique(out.host_ports.begin(), out.host_ports.end()),
                         out.host_ports.end());
    return {};
}

Result<model::Rate> read_rate(const json& bandwidth, const char* rate, const char* burst) {
    const auto number = [&](const char* key, std::uint64_t least) -> Result<std::uint64_t> {
        const json& value = member(bandwidth, key);
        if (value.is_null() || value == 0) return 0U;
        if (!value.is_number_unsigned() || value < least || value > kMostBits) {
            return fail(Code::invalid,
                        "'runtimeConfig.bandwidth.{}' is {}, expected 0 or {} to {} bits", key,
                        shown(value), least, kMostBits);
        }
        return value.get<std::uint64_t>();
    };
    model::Rate out;
    out.bits_per_second = TRY(number(rate, kLeastRate));
    out.burst_bits = TRY(number(burst, 1));
    if (out.bits_per_second == 0) out.burst_bits = 0;
    return out;
}

Result<> read_bandwidth(const json& config, const json& runtime, CniConfig& out) {
    if (!is_for_us(config, "bandwidth")) return {};
    const json& given = *TRY(object_at(runtime, "bandwidth", "runtimeConfig.bandwidth"));
    out.bandwidth.ingress = TRY(read_rate(given, "ingressRate", "ingressBurst"));
    out.bandwidth.egress = TRY(read_rate(given, "egressRate", "egressBurst"));
    return {};
}

Result<> read_dns(const json& config, const json& runtime, CniConfig& out) {
    const json& own = *TRY(object_at(config, "dns", "dns"));
    if (own.is_object()) out.dns = own;
    // The capability has other names for the same lists.
    const json& given = *TRY(object_at(runtime, "dns", "runtimeConfig.dns"));
    for (const auto& [from, to] :
         {std::pair{"servers", "nameservers"}, {"searches", "search"}, {"options", "options"}}) {
        const json& list = *TRY(array_at(given, from, std::string("runtimeConfig.dns.") + from));
        if (says_something(list)) out.dns[to] = list;
    }
    return {};
}

Result<> read_valid_attachments(const json& config, CniConfig& out) {
    // The second name is an earlier draft's, still sent beside the first.
    for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
        const json& list = *TRY(array_at(config, key, key));
        if (list.is_null()) continue;
        auto& valid = out.valid_attachments.emplace();
        for (const auto& entry : list) {
            const std::string container =
                TRY(text_at(entry, "containerID", std::string(key) + "[].containerID"));
            const std::string interface =
                TRY(text_at(entry, "ifname", std::string(key) + "[].ifname"));
            if (container.empty() || interface.empty()) {
                return fail(Code::invalid, "'{}' needs entries {{\"containerID\", \"ifname\"}}",
                            key);
            }
            valid.emplace_back(container, interface);
        }
        return {};
    }
    return {};
}

} // namespace

Result<CniConfig> parse_cni_config(const json& config, const std::string& args_ip,
                                   const std::string& args_mac) {
    if (!config.is_object())
        return fail(Code::invalid, "the network configuration must be an object");
    CniConfig out;
    out.version = TRY(text_at(config, "cniVersion", "cniVersion"));
    out.network = TRY(text_at(config, "name", "name"));
    if (!net::is_cni_name(out.network)) {
        return fail(
            Code::invalid,
            "'name' is '{}', expected a letter or digit, then letters, digits, '_', '.' and '-'",
            out.network);
    }
    TRY(text_at(config, "instance", "instance"));
    const json& own = *TRY(object_at(config, "beeline", "beeline"));
    TRY(only_members(own, {"mtu"}, "beeline"));
    out.mtu = TRY(number_at(own, "mtu", "beeline.mtu", 1280, 65535));
    TRY(object_at(config, "ipam", "ipam"));

    const json& runtime = *TRY(object_at(config, "runtimeConfig", "runtimeConfig"));
    TRY(refuse_unsupported(config, runtime));
    const json& args = *TRY(object_at(config, "args", "args"));
    const json& cni_args = *TRY(object_at(args, "cni", "args.cni"));
    TRY(read_labels(cni_args, out));
    TRY(read_own_args(*TRY(object_at(args, "beeline", "args.beeline")), out));
    TRY(read_dns(config, runtime, out));
    TRY(read_host_ports(config, runtime, out));
    TRY(read_bandwidth(config, runtime, out));

    out.ips = TRY(wanted_list(runtime, "runtimeConfig.ips"));
    if (out.ips.empty()) out.ips = TRY(wanted_list(cni_args, "args.cni.ips"));
    if (out.ips.empty() && !args_ip.empty())
        out.ips.push_back(TRY(parse_wanted(args_ip, "CNI_ARGS IP")));
    const std::string mac = TRY(text_at(runtime, "mac", "runtimeConfig.mac"));
    if (!mac.empty()) {
        out.mac = TRY(parse_wanted_mac(mac, "runtimeConfig.mac"));
    } else if (!args_mac.empty()) {
        out.mac = TRY(parse_wanted_mac(args_mac, "CNI_ARGS MAC"));
    }
    if (out.cgroup.empty())
        out.cgroup = TRY(text_at(runtime, "cgroupPath", "runtimeConfig.cgroupPath"));

    out.previous = *TRY(object_at(config, "prevResult", "prevResult"));
    TRY(read_valid_attachments(config, out));
    return out;
}

} // namespace beeline::datapath
