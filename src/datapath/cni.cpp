#include "datapath/cni.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "datapath/cni_config.h"
#include "net/cni_protocol.h"

namespace beeline::datapath {
namespace {

using nlohmann::json;
namespace code = net::cni_code;

CniResponse refuse(int number, std::string message, std::string details = {}) {
    return {.code = number, .message = std::move(message), .details = std::move(details)};
}

CniResponse refuse(const Error& error, int invalid = code::kConfig) {
    switch (error.code) {
    case Code::invalid: return refuse(invalid, error.message);
    case Code::unsupported: return refuse(code::kUnsupported, error.message);
    case Code::exists: return refuse(code::kExists, error.message);
    case Code::exhausted:
    case Code::unavailable: return refuse(code::kTryLater, error.message);
    default: return refuse(code::kFailed, error.message);
    }
}

Ipam::Owner owner_of(const model::Workload& workload) {
    return {workload.container, workload.interface};
}

// One call: what it asked for, read and checked.
struct Call {
    CniContext& context;
    const CniRequest& request;
    CniConfig config;
    net::CniArgs args;
};

model::ObjectName name_of(const Call& call) {
    return {call.args.pod_namespace.empty() ? "default" : call.args.pod_namespace,
            call.args.pod_name.empty() ? call.request.container : call.args.pod_name};
}

// Below the mount; an absolute path may include the mount itself.
std::string cgroup_path(const CniContext& context, std::string path) {
    if (!context.cgroup_mount.empty() && path.starts_with(context.cgroup_mount + "/")) {
        path.erase(0, context.cgroup_mount.size());
    }
    path.erase(0, std::min(path.find_first_not_of('/'), path.size()));
    return path;
}

std::uint64_t cgroup_id(const CniContext& context, const std::string& path) {
    struct stat folder{};
    if (path.empty() || context.cgroup_mount.empty()) return 0;
    return ::stat((context.cgroup_mount + "/" + path).c_str(), &folder) == 0 ? folder.st_ino : 0;
}

model::Workload describe(const Call& call, const net::Namespace& netns) {
    model::Workload workload;
    workload.name = name_of(call);
    workload.labels = call.config.labels;
    workload.ports = call.config.ports;
    workload.container = call.request.container;
    workload.interface = call.request.interface;
    workload.network = call.config.network;
    workload.netns = call.request.netns;
    workload.netns_inode = netns.inode();
    workload.cgroup = cgroup_path(call.context, call.config.cgroup);
    workload.cgroup_id = cgroup_id(call.context, workload.cgroup);
    workload.pid = call.config.pid;
    workload.source = call.config.source;
    workload.host_ports = call.config.host_ports;
    workload.bandwidth = call.config.bandwidth;
    workload.created = std::time(nullptr);
    return workload;
}

void set_interface(model::Workload& workload, const Plumbing::Interface& interface) {
    workload.host_interface = interface.host_interface;
    workload.ifindex = interface.ifindex;
    workload.mac = interface.mac;
}

json result_of(const Call& call, const model::Workload& workload,
               const Plumbing::Interface& interface) {
    const std::string& version = call.config.version;
    json host{{"name", interface.host_interface}, {"mac", net::to_string(interface.host_mac)}};
    json inner{{"name", workload.interface},
               {"mac", net::to_string(interface.mac)},
               {"sandbox", call.request.netns}};
    if (net::cni_at_least(version, "1.1.0")) host["mtu"] = inner["mtu"] = interface.mtu;
    json ips = json::array();
    json routes = json::array();
    for (const auto& ip : workload.addresses) {
        const auto& network = call.context.plumbing.network();
        const std::string gateway =
            (ip.is_v4() ? network.gateway_v4 : network.gateway_v6).value_or(net::Ip{}).to_string();
        json entry{
            {"address", net::Prefix::host(ip).to_string()}, {"gateway", gateway}, {"interface", 1}};
        if (!net::cni_at_least(version, "1.0.0")) entry["version"] = ip.is_v4() ? "4" : "6";
        ips.push_back(std::move(entry));
        routes.push_back({{"dst", ip.is_v4() ? "0.0.0.0/0" : "::/0"}, {"gw", gateway}});
    }
    return {{"cniVersion", version},
            {"interfaces", json::array({std::move(host), std::move(inner)})},
            {"ips", std::move(ips)},
            {"routes", std::move(routes)},
            {"dns", call.config.dns}};
}

// Addresses that a result gives to the interface (or to none in particular).
Result<std::vector<net::Ip>> addresses_in(const json& result, const std::string& interface) {
    std::vector<net::Ip> addresses;
    const auto bad = [] {
        return fail(Code::invalid, "'prevResult' is not a result of CNI 0.3.1 to 1.1.0");
    };
    const json interfaces = result.value("interfaces", json::array());
    const json ips = result.value("ips", json::array());
    if (!interfaces.is_array() || !ips.is_array()) return bad();
    for (const auto& entry : ips) {
        if (!entry.is_object() || !entry.contains("address") || !entry["address"].is_string())
            return bad();
        const json index = entry.value("interface", json());
        if (index.is_number_unsigned() && index.get<std::size_t>() < interfaces.size()) {
            const json& named = interfaces[index.get<std::size_t>()];
            if (named.is_object() && named.value("name", json()) != interface) continue;
        }
        const auto text = entry["address"].get<std::string>();
        const auto ip = net::Ip::parse(text.substr(0, text.find('/')));
        if (!ip) return bad();
        addresses.push_back(*ip);
    }
    return addresses;
}

// Undoes what there is of an attachment, in any state. The interface goes first: a retry finds the rest by its record.
Result<> detach(CniContext& context, const std::string& container, const std::string& interface) {
    const auto* workload = context.workloads.find(container, interface);
    if (workload == nullptr || !workload->chained) {
        TRY(context.plumbing.remove(workload != nullptr
                                        ? workload->host_interface
                                        : net::host_interface_name(container, interface)));
    }
    context.workloads.remove(container, interface);
    context.ipam.release({container, interface});
    return {};
}

// A port of the node leads to one workload.
Result<> claim_host_ports(const Call& call) {
    if (call.config.host_ports.empty()) return {};
    for (const auto& other : call.context.workloads.all()) {
        for (const auto& taken : other.host_ports) {
            for (const auto& wanted : call.config.host_ports) {
                if (!overlap(wanted, taken)) continue;
                return fail(Code::exists, "hostPort {} is taken by workload {} ({})",
                            wanted.to_string(), other.name.to_string(), taken.to_string());
            }
        }
    }
    return {};
}

CniResponse add_after_another(const Call& call, const net::Namespace& netns) {
    auto workload = describe(call, netns);
    auto addresses = addresses_in(call.config.previous, call.request.interface);
    if (!addresses) return refuse(addresses.error());
    if (addresses->empty()) {
        return refuse(code::kConfig,
                      fmt::format("'prevResult' has no address of {}", call.request.interface));
    }
    workload.addresses = std::move(*addresses);
    workload.chained = true;
    const auto interface = call.context.plumbing.find_existing(netns, call.request.interface);
    if (!interface) return refuse(interface.error(), code::kFailed);
    set_interface(workload, *interface);
    const auto added = call.context.workloads.add(std::move(workload));
    if (!added) return refuse(added.error(), code::kFailed);
    json result = call.config.previous;
    result["cniVersion"] = call.config.version;
    return {.result = std::move(result)};
}

Result<json> make_interface(const Call& call, const net::Namespace& netns) {
    CniContext& context = call.context;
    auto workload = describe(call, netns);
    if (context.may_lease) TRY(context.may_lease());
    workload.addresses = TRY(context.ipam.lease(owner_of(workload), call.config.ips));
    const Plumbing::Spec spec{.container = workload.container,
                              .interface = workload.interface,
                              .addresses = workload.addresses,
                              .mac = call.config.mac,
                              .mtu = call.config.mtu};
    auto staged = TRY(context.plumbing.stage(spec, netns));
    set_interface(workload, staged.interface);
    // Policy first: the workload's end is still down.
    const auto* added = TRY(context.workloads.add(std::move(workload)));
    TRY(context.plumbing.activate(staged, spec));
    return result_of(call, *added, staged.interface);
}

CniResponse add(const Call& call) {
    const auto& request = call.request;
    const auto netns = net::Namespace::open(request.netns);
    if (!netns) return refuse(code::kNetns, netns.error().message);
    if (netns->inode() == call.context.plumbing.node_inode()) {
        return refuse(code::kNetns,
                      fmt::format("'{}' is the node's own network namespace", request.netns));
    }
    if (const auto* old = call.context.workloads.find(request.container, request.interface)) {
        if (old->netns_inode == netns->inode() && call.context.plumbing.present(*old)) {
            return refuse(code::kExists,
                          fmt::format("container {} has an interface {} already: DEL comes first",
                                      request.container, request.interface));
        }
        // Its namespace is gone and its DEL never came.
        if (const auto done = detach(call.context, request.container, request.interface); !done) {
            return refuse(done.error(), code::kFailed);
        }
    }
    if (const auto free = claim_host_ports(call); !free) return refuse(free.error());
    if (!call.config.previous.is_null()) return add_after_another(call, *netns);

    auto result = make_interface(call, *netns);
    if (result) return {.result = std::move(*result)};
    if (const auto undone = detach(call.context, request.container, request.interface); !undone) {
        log_error("failed ADD not undone", kv("container", request.container),
                  kv("error", undone.error().message));
    }
    return refuse(result.error());
}

CniResponse del(const Call& call) {
    // The path may meanwhile be another container's namespace: nothing is touched through it.
    const auto done = detach(call.context, call.request.container, call.request.interface);
    return done ? CniResponse{} : refuse(code::kTryLater, done.error().message);
}

// What the runtime asks for at CHECK, as far as it says so, must be what ADD set up.
Result<> check_capabilities(const Call& call, const model::Workload& workload) {
    const auto& config = call.config;
    if (!config.host_ports.empty() && config.host_ports != workload.host_ports)
        return fail(Code::invalid, "its host ports are not those of 'runtimeConfig.portMappings'");
    if (config.bandwidth.limited() && config.bandwidth != workload.bandwidth)
        return fail(Code::invalid, "its limits are not those of 'runtimeConfig.bandwidth'");
    if (config.mac && *config.mac != workload.mac)
        return fail(Code::invalid, "its MAC address is {}, asked for was {}",
                    net::to_string(workload.mac), net::to_string(*config.mac));
    for (const auto& ip : config.ips) {
        if (std::find(workload.addresses.begin(), workload.addresses.end(), ip) ==
            workload.addresses.end())
            return fail(Code::invalid, "it lacks the address {} that was asked for",
                        ip.to_string());
    }
    return {};
}

CniResponse check(const Call& call) {
    const auto& request = call.request;
    const auto mismatch = [&](const std::string& what) {
        return refuse(code::kMismatch, fmt::format("container {}: {}", request.container, what));
    };
    if (call.config.previous.is_null())
        return refuse(code::kConfig, "'prevResult' is missing: CHECK needs it");
    const auto* workload = call.context.workloads.find(request.container, request.interface);
    if (workload == nullptr)
        return mismatch(fmt::format("there is no record of an interface {}", request.interface));
    const auto netns = net::Namespace::open(request.netns);
    if (!netns) return refuse(code::kNetns, netns.error().message);
    if (netns->inode() != workload->netns_inode) {
        return mismatch(
            fmt::format("'{}' is not the namespace that it was attached in", request.netns));
    }
    const auto expected = addresses_in(call.config.previous, request.interface);
    if (!expected) return refuse(expected.error());
    for (const auto& ip : workload->addresses) {
        if (std::find(expected->begin(), expected->end(), ip) == expected->end()) {
            return mismatch(fmt::format("'prevResult' lacks its address {}", ip.to_string()));
        }
    }
    if (!workload->chained) {
        const auto* lease = call.context.ipam.find(owner_of(*workload));
        if (lease == nullptr || *lease != workload->addresses)
            return mismatch("its addresses are not leased to it");
    }
    if (const auto same = check_capabilities(call, *workload); !same)
        return mismatch(same.error().message);
    if (const auto good = call.context.plumbing.check(*workload, *netns); !good)
        return mismatch(good.error().message);
    if (call.context.enforced) {
        if (const auto good = call.context.enforced(*workload); !good)
            return mismatch(good.error().message);
    }
    return {};
}

CniResponse collect_garbage(const Call& call) {
    CniContext& context = call.context;
    const auto& valid = call.config.valid_attachments;
    if (!valid)
        return refuse(code::kConfig,
                      "'cni.dev/valid-attachments' is missing: GC needs it, if only empty");
    const std::set<std::pair<std::string, std::string>> keep(valid->begin(), valid->end());
    std::string failures;
    const auto drop = [&](const std::string& container, const std::string& interface) {
        log_info("attachment is stale", kv("container", container), kv("interface", interface));
        const auto done = detach(context, container, interface);
        if (!done) failures += (failures.empty() ? "" : "; ") + done.error().message;
    };
    for (const auto& workload : context.workloads.all()) {
        // Other networks have their own lists.
        if (workload.network != call.config.network ||
            keep.contains({workload.container, workload.interface}))
            continue;
        drop(workload.container, workload.interface);
    }
    for (const auto& lease : context.ipam.leases()) {
        if (context.workloads.find(lease.owner.container, lease.owner.interface) == nullptr) {
            drop(lease.owner.container, lease.owner.interface);
        }
    }
    return failures.empty() ? CniResponse{}
                            : refuse(code::kTryLater, "not everything could be removed", failures);
}

CniResponse status(const Call& call) {
    if (call.context.ready) {
        if (const auto ready = call.context.ready(); !ready)
            return refuse(code::kUnavailable, ready.error().message);
    }
    for (const auto& usage : {call.context.ipam.ipv4(), call.context.ipam.ipv6()}) {
        if (usage && usage->exhausted()) {
            return refuse(code::kUnavailable,
                          fmt::format("no address is free in {}: {} are in use and {} rest",
                                      usage->range.to_string(), usage->used, usage->resting));
        }
    }
    return {};
}

struct Verb {
    std::string_view name;
    std::string_view since;
    bool of_attachment; // needs container and interface
    CniResponse (*run)(const Call&);
};
constexpr Verb kVerbs[] = {
    {"add", "0.3.1", true, add},        {"del", "0.3.1", true, del},
    {"check", "0.4.0", true, check},    {"gc", "1.1.0", false, collect_garbage},
    {"status", "1.1.0", false, status},
};

std::string version_of(const json& config) {
    if (!config.is_object() || !config.contains("cniVersion") || !config["cniVersion"].is_string())
        return {};
    return config["cniVersion"];
}

} // namespace

CniResponse handle_cni(CniContext& context, std::string_view verb, const CniRequest& request) {
    const auto* found = std::find_if(std::begin(kVerbs), std::end(kVerbs),
                                     [&](const Verb& v) { return v.name == verb; });
    if (found == std::end(kVerbs))
        return refuse(code::kEnvironment, fmt::format("unknown verb '{}'", verb));
    const std::string version = version_of(request.config);
    if (!net::cni_speaks(version)) {
        return refuse(code::kVersion, fmt::format("CNI version '{}' is not spoken", version),
                      "spoken are 0.3.1, 0.4.0, 1.0.0 and 1.1.0");
    }
    if (!net::cni_at_least(version, found->since)) {
        return refuse(code::kVersion, fmt::format("{} came with CNI {}, the configuration is of {}",
                                                  verb, found->since, version));
    }
    if (found->of_attachment && !net::is_cni_name(request.container)) {
        return refuse(code::kEnvironment,
                      fmt::format("CNI_CONTAINERID '{}' is not valid", request.container));
    }
    if (found->of_attachment && !net::is_interface_name(request.interface)) {
        return refuse(code::kEnvironment,
                      fmt::format("CNI_IFNAME '{}' is not valid", request.interface));
    }
    // What DEL undoes was checked at ADD, maybe by another version and with another configuration.
    if (verb == "del") return del({context, request, {}, {}});

    const auto args = net::parse_cni_args(request.args);
    if (!args) return refuse(args.error(), code::kEnvironment);
    auto config = parse_cni_config(request.config, args->ip, args->mac);
    if (!config) return refuse(config.error());
    return found->run({context, request, std::move(*config), *args});
}

Result<CniRequest> parse_cni_request(std::string_view text) {
    if (net::json_deeper_than(text, 100)) return fail(Code::invalid, "the JSON nests too deep");
    auto body = json::parse(text, nullptr, false);
    if (!body.is_object()) return fail(Code::invalid, "the request is not a JSON object");
    CniRequest request;
    for (const auto& [key, target] : {std::pair{"container", &request.container},
                                      {"netns", &request.netns},
                                      {"interface", &request.interface},
                                      {"args", &request.args}}) {
        if (!body.contains(key)) continue;
        if (!body[key].is_string()) return fail(Code::invalid, "'{}' must be a string", key);
        *target = body[key];
    }
    if (body.contains("config")) request.config = std::move(body["config"]);
    return request;
}

Result<> reconcile_workloads(CniContext& context) {
    for (const auto& workload : context.workloads.dropped())
        context.ipam.release(owner_of(workload));
    std::set<std::string> interfaces;
    for (const auto& workload : context.workloads.all()) {
        interfaces.insert(workload.host_interface);
        if (workload.chained) continue;
        if (const auto done = context.ipam.adopt(owner_of(workload), workload.addresses); !done) {
            log_error("address of a workload is not its own",
                      kv("workload", workload.name.to_string()), kv("error", done.error().message));
        }
    }
    for (const auto& lease : context.ipam.leases()) {
        if (context.workloads.find(lease.owner.container, lease.owner.interface) == nullptr) {
            context.ipam.release(lease.owner);
        }
    }
    const auto removed = TRY(context.plumbing.remove_others(interfaces));
    for (const auto& name : removed)
        log_info("interface without a workload removed", kv("interface", name));
    return {};
}

std::size_t replay_tombstones(CniContext& context, const std::string& folder) {
    std::size_t done = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
        const std::string path = entry.path();
        if (!path.ends_with(".json")) continue;
        const auto text = read_file(path, 16U << 20);
        const auto request =
            text ? parse_cni_request(*text) : Result<CniRequest>(Failure(text.error()));
        const auto response = request ? handle_cni(context, "del", *request)
                                      : refuse(code::kDecode, request.error().message);
        if (response.code == code::kTryLater) {
            log_warn("DEL of the time before the start failed", kv("file", path),
                     kv("error", response.message));
            continue;
        }
        if (response.code != 0)
            log_warn("note of a DEL cannot be read", kv("file", path),
                     kv("error", response.message));
        if (response.code == 0) ++done;
        ::unlink(path.c_str());
    }
    return done;
}

} // namespace beeline::datapath
