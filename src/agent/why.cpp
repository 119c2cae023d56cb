#include "agent/why.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "abi/flow.h"
#include "abi/service.h"
#include "agent/kernel_drops.h"
#include "agent/map_entries.h"
#include "api/server/query.h"
#include "ebpf/system.h"
#include "model/evaluate.h"
#include "model/nearest.h"
#include "model/party.h"
#include "net/listeners.h"
#include "observe/json.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

constexpr std::int64_t kFlowsBackNs = 600'000'000'000;
constexpr std::int64_t kFlowsFurtherBackNs = 24 * 3600'000'000'000;
constexpr std::int64_t kNamesBackNs = 3600'000'000'000;
constexpr std::size_t kFlowsShown = 10;
constexpr std::size_t kFlowsCounted = 10'000;
constexpr std::size_t kConnectionsShown = 10;
constexpr std::size_t kAnswersShown = 3;
constexpr std::size_t kBackendsJudged = 64;
constexpr std::size_t kKernelDropsShown = 10;
constexpr std::uint64_t kFreshNs = 60'000'000'000; // drops of the kernel that are held against it

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

bool has_ports(model::Protocol protocol) {
    return protocol == model::Protocol::tcp || protocol == model::Protocol::udp ||
           protocol == model::Protocol::sctp;
}

bl_addr to_addr(const net::Ip& ip) {
    bl_addr addr{};
    std::copy(ip.bytes.begin(), ip.bytes.end(), std::begin(addr.byte));
    return addr;
}

net::Ip to_ip(const bl_addr& addr) {
    net::Ip ip;
    std::copy(std::begin(addr.byte), std::end(addr.byte), ip.bytes.begin());
    return ip;
}

// One end, as the question named it.
struct End {
    std::string asked;
    std::vector<net::Ip> addresses;
    std::optional<model::ObjectName> service;
    std::string dns; // the name, when it was one
};

// Where a connection may end: the destination, or one of the service's backends.
struct Target {
    net::Ip address;
    std::uint16_t port = 0;
    std::string name;                      // for people
    std::optional<std::uint32_t> listener; // a process in its network namespace
};

// What the loop's thread tells.
struct Gathered {
    json document;
    std::vector<net::Ip> sources;
    net::Ip source;
    std::vector<Target> targets; // none: the service leads nowhere
    std::size_t chosen = 0;      // which of them the answer is about
    net::Ip service;             // zero: none
    std::uint16_t service_port = 0;
    std::string source_pod; // "shop/client", empty: none
    std::string destination_pod;
    std::vector<model::Workload> workloads;
    int connections = -1;

    [[nodiscard]] bool is_source(const net::Ip& address) const {
        return std::find(sources.begin(), sources.end(), address) != sources.end();
    }
    // Port 0: of no matter.
    [[nodiscard]] bool is_target(const net::Ip& address, std::uint16_t port) const {
        if (!service.is_zero() && address == service)
            return port == 0 || service_port == 0 || port == service_port;
        return std::any_of(targets.begin(), targets.end(), [&](const Target& one) {
            return one.address == address && (port == 0 || one.port == 0 || one.port == port);
        });
    }
    std::shared_ptr<const model::Directory> directory;
};

std::optional<std::uint32_t> first_process(const model::Workload& workload) {
    if (workload.pid != 0) return workload.pid;
    const auto mount = ebpf::cgroup2_mount();
    if (!mount || workload.cgroup.empty()) return {};
    std::ifstream file(*mount + "/" + workload.cgroup + "/cgroup.procs");
    std::uint32_t pid = 0;
    return file >> pid && pid != 0 ? std::optional(pid) : std::nullopt;
}

// "web.shop", "web.shop.svc", "web.shop.svc.cluster.local." -> shop/web
std::optional<model::ObjectName> service_of_name(const model::Objects& objects,
                                                 std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    const auto dot = name.find('.');
    if (dot == name.npos) return {};
    const auto rest = name.substr(dot + 1);
    const auto end = rest.find('.');
    if (end != rest.npos && rest.substr(end) != ".svc" && !rest.substr(end).starts_with(".svc."))
        return {};
    model::ObjectName out{std::string(rest.substr(0, end)), std::string(name.substr(0, dot))};
    return objects.services.contains(out) ? std::optional(out) : std::nullopt;
}

class Gatherer {
public:
    Gatherer(Node& node, const api::WhyQuery& query, std::vector<net::Ip> named)
        : node_(node), query_(query), named_(std::move(named)), objects_(*node.objects()),
          workloads_(node.workloads()) {}

    Result<Gathered> gather();

private:
    Result<End> resolve(const std::string& text, bool destination) const;
    Result<End> named(const model::ObjectName& name, const std::string& asked) const;
    Result<> choose_port(const End& end);
    [[nodiscard]] json describe(const End& end, const model::Party& party) const;
    [[nodiscard]] json backends_of(const bl_svc& service) const;
    bool through_service(const End& end, json& out);
    [[nodiscard]] std::optional<model::Query> question(const End& source,
                                                       const Target& target) const;
    [[nodiscard]] std::optional<std::uint32_t> listener_of(const model::Party& party) const;
    void judge(const model::Query& question, json& out) const;

    Node& node_;
    const api::WhyQuery& query_;
    std::vector<net::Ip> named_; // what the name of the destination was last answered with
    const model::Objects& objects_;
    std::vector<model::Workload> workloads_;
    std::uint16_t port_ = 0;
    Gathered out_;
};

Result<End> Gatherer::named(const model::ObjectName& name, const std::string& asked) const {
    for (const auto& workload : workloads_) {
        if (workload.name == name) return End{asked, workload.addresses, {}, {}};
    }
    const auto pod = objects_.pods.find(name);
    if (pod != objects_.pods.end() && model::stands_for_itself(pod->second))
        return End{asked, pod->second.addresses, {}, {}};
    if (const auto service = objects_.services.find(name); service != objects_.services.end())
        return End{asked, service->second.cluster_ips, name, {}};
    return fail(Code::not_found, "no workload and no service is called {}: see 'beeline ps'",
                name.to_string());
}

Result<End> Gatherer::resolve(const std::string& text, bool destination) const {
    if (text == "host") {
        if (node_.host_addresses().empty())
            return fail(Code::not_found, "this node has no address of its own");
        return End{text, node_.host_addresses(), {}, {}};
    }
    if (const auto address = net::Ip::parse(text)) {
        End end{text, {*address}, {}, {}};
        for (const auto& [name, service] : objects_.services) {
            if (std::find(service.cluster_ips.begin(), service.cluster_ips.end(), *address) !=
                service.cluster_ips.end())
                end.service = name;
        }
        return end;
    }
    for (const std::string_view prefix : {"service/", "svc/"}) {
        if (!text.starts_with(prefix)) continue;
        const auto name = TRY(api::parse_object_name(text.substr(prefix.size())));
        const auto found = objects_.services.find(name);
        if (found == objects_.services.end())
            return fail(Code::not_found, "there is no service {}", name.to_string());
        return End{text, found->second.cluster_ips, name, {}};
    }
    if (text.find('/') != std::string::npos) return named(TRY(api::parse_object_name(text)), text);
    if (const auto service = service_of_name(objects_, text)) {
        auto end = TRY(named(*service, text));
        end.addresses = objects_.services.at(*service).cluster_ips;
        end.service = service;
        end.dns = text;
        return end;
    }
    std::vector<model::ObjectName> found;
    for (const auto& workload : workloads_)
        if (workload.name.name == text) found.push_back(workload.name);
    if (found.size() == 1) return named(found[0], text);
    if (found.size() > 1)
        return fail(Code::invalid, "several workloads are called {}: {} and {}", text,
                    found[0].to_string(), found[1].to_string());
    if (destination && !named_.empty()) return End{text, named_, {}, text};
    return fail(Code::not_found,
                "nothing is called '{}': give a workload or service (NAMESPACE/NAME), an address, "
                "'host', or a DNS name that a workload has looked up lately",
                text);
}

// Without a port in the question: the only one, or the first one that is named.
Result<> Gatherer::choose_port(const End& end) {
    port_ = query_.port;
    if (port_ != 0 || !has_ports(query_.protocol)) return {};
    if (end.service) {
        for (const auto& port : objects_.services.at(*end.service).ports) {
            if (port.protocol == query_.protocol && port_ == 0) port_ = port.port;
        }
    } else if (!end.addresses.empty()) {
        const auto party =
            model::party_at(objects_, workloads_, node_.host_addresses(), end.addresses.front());
        for (const auto& port : party.ports) {
            if (port.protocol == query_.protocol && port_ == 0) port_ = port.port;
        }
    }
    if (port_ == 0)
        return fail(Code::invalid, "which port? {} names none of its {} ports", end.asked,
                    model::to_string(query_.protocol));
    return {};
}

json Gatherer::describe(const End& end, const model::Party& party) const {
    json out{{"asked", end.asked}, {"address", party.address.to_string()}};
    switch (party.kind) {
    case model::Party::Kind::pod:
        out["kind"] = "workload";
        out["namespace"] = party.name.space;
        out["name"] = party.name.name;
        out["labels"] = party.labels;
        out["namespace_labels"] = objects_.namespace_labels(party.name.space);
        break;
    case model::Party::Kind::host: out["kind"] = "host"; break;
    case model::Party::Kind::world: out["kind"] = "world"; break;
    }
    const auto entry = node_.directory()->by_address.find(party.address);
    if (entry != node_.directory()->by_address.end()) out["identity"] = entry->second.identity;
    for (const auto& workload : workloads_) {
        if (party.kind != model::Party::Kind::pod || workload.name != party.name) continue;
        out["attached"] = true;
        out["ready"] = model::merged_ready(workload, objects_);
        out["interface"] = workload.host_interface;
    }
    if (!end.dns.empty()) out["dns_name"] = end.dns;
    return out;
}

json Gatherer::backends_of(const bl_svc& service) const {
    const auto& tables = node_.tables();
    json out = json::array();
    for (std::uint32_t slot = 0; slot < service.count; ++slot) {
        const auto id = tables.slots.find({service.id, service.generation, slot});
        if (id == tables.slots.end()) continue;
        const auto backend = tables.backends.find(id->second);
        if (backend == tables.backends.end()) continue;
        const auto address = to_ip(backend->second.addr);
        const auto party = model::party_at(objects_, workloads_, node_.host_addresses(), address);
        json one{{"address", address.to_string()},
                 {"port", __builtin_bswap16(backend->second.port)}};
        if (party.kind == model::Party::Kind::pod) one["workload"] = party.name.to_string();
        out.push_back(std::move(one));
    }
    return out;
}

// False: the service leads nowhere, and `out` says why. Its backends become the targets.
bool Gatherer::through_service(const End& end, json& out) {
    const model::Service& service = objects_.services.at(*end.service);
    json about{{"name", service.name.to_string()}, {"affinity_s", service.affinity_s}};
    json ports = json::array();
    for (const auto& port : service.ports)
        ports.push_back({{"port", port.port}, {"protocol", model::to_string(port.protocol)}});
    about["ports"] = std::move(ports);
    if (service.selector) {
        json selected = json::array();
        model::LabelSelector selector;
        for (const auto& [key, value] : *service.selector)
            selector.requirements.push_back({key, model::Requirement::Operator::in, {value}});
        about["selector"] = selector.to_string();
        for (const auto& workload : workloads_) {
            if (workload.name.space == service.name.space &&
                selector.matches(model::merged_labels(workload, objects_)))
                selected.push_back({{"name", workload.name.to_string()},
                                    {"ready", model::merged_ready(workload, objects_)}});
        }
        about["selected"] = std::move(selected);
    }
    const auto finish = [&](std::string_view problem) {
        if (!problem.empty()) about["problem"] = problem;
        out["service"] = std::move(about);
        return problem.empty();
    };
    if (service.cluster_ips.empty())
        return finish(service.external_name ? "external_name" : "headless");
    const auto& tables = node_.tables();
    for (const auto& address : end.addresses) {
        bl_svc_key key{};
        key.addr = to_addr(address);
        key.port = __builtin_bswap16(port_);
        key.proto = static_cast<__u8>(query_.protocol);
        const auto found = tables.services.find(key);
        if (found == tables.services.end() || (found->second.flags & BL_SVC_MOVED) != 0) continue;
        about["address"] = address.to_string();
        about["port"] = port_;
        about["backends"] = backends_of(found->second);
        if (about["backends"].empty()) continue;
        out_.service = address;
        out_.service_port = port_;
        for (const auto& backend : about["backends"])
            out_.targets.push_back({net::Ip::parse(backend["address"].get<std::string>()).value(),
                                    backend["port"].get<std::uint16_t>(),
                                    backend.value("workload", std::string()),
                                    {}});
        return finish("");
    }
    return finish(about.contains("backends") ? "no_backends" : "no_such_port");
}

json check_document(const model::Objects& objects, const model::Check& check,
                    const model::Probe& probe) {
    json out{{"isolated", check.isolated}, {"allowed", check.allowed}};
    if (!check.rule.empty()) out["rule"] = check.rule;
    if (!check.selecting.empty()) out["policies"] = check.selecting;
    if (check.allowed || !check.rule.empty()) return out;
    if (const auto near = model::nearest_rule(objects, probe)) {
        json failed = json::array();
        for (const auto& one : near->failed)
            failed.push_back({{"condition", model::to_string(one.kind)}, {"text", one.text}});
        out["nearest"] = {{"rule", near->title}, {"failed", std::move(failed)}};
    }
    json changes = json::array();
    for (const auto& change : model::changes(objects, probe))
        changes.push_back({{"kind", model::to_string(change.kind)},
                           {"text", change.text},
                           {"yaml", model::to_yaml(change)}});
    out["changes"] = std::move(changes);
    return out;
}

void Gatherer::judge(const model::Query& question, json& out) const {
    const auto decision = model::evaluate(objects_, question);
    json policy{{"allowed", decision.allowed}};
    policy["egress"] = check_document(objects_, decision.egress,
                                      {question.source, question.destination,
                                       model::Direction::egress, question.protocol, question.port});
    policy["ingress"] =
        check_document(objects_, decision.ingress,
                       {question.destination, question.source, model::Direction::ingress,
                        question.protocol, question.port});
    const auto kernel =
        node_.kernel().verdict(question.source.address, question.destination.address,
                               static_cast<std::uint8_t>(question.protocol), question.port);
    if (kernel) policy["kernel"] = {{"allowed", kernel->allowed}};
    out["policy"] = std::move(policy);
}

Result<Gathered> Gatherer::gather() {
    const End source = TRY(resolve(query_.source, false));
    const End destination = TRY(resolve(query_.destination, true));
    if (source.addresses.empty())
        return fail(Code::invalid, "{} has no address that it could connect from", source.asked);
    TRY(choose_port(destination));
    json& out = out_.document;
    out["protocol"] = model::to_string(query_.protocol);
    if (port_ != 0) out["port"] = port_;

    out_.sources = source.addresses;
    out_.workloads = workloads_;
    out_.directory = node_.directory();
    if (const auto map = node_.kernel().map("bl_ct")) out_.connections = *map;
    if (destination.service && !through_service(destination, out)) {
        const auto party =
            model::party_at(objects_, workloads_, node_.host_addresses(), source.addresses.front());
        out["source"] = describe(source, party);
        if (party.kind == model::Party::Kind::pod) out_.source_pod = party.name.to_string();
        out["destination"] = {{"asked", destination.asked}};
        if (!destination.addresses.empty()) {
            out_.service = destination.addresses.front();
            out_.service_port = port_;
            out["destination"]["address"] = out_.service.to_string();
        }
        return std::move(out_);
    }
    if (!destination.service) {
        for (const bool v4 : {true, false}) { // IPv4 first
            for (const auto& address : destination.addresses)
                if (address.is_v4() == v4) out_.targets.push_back({address, port_, {}, {}});
        }
        std::erase_if(out_.targets, [&](const Target& one) { return !question(source, one); });
        if (out_.targets.size() > 1) out_.targets.resize(1);
    }
    if (out_.targets.size() > kBackendsJudged) out_.targets.resize(kBackendsJudged);
    // The first that is refused is what the answer is about: the others need no help.
    std::optional<model::Query> chosen;
    bool chosen_allowed = true;
    for (std::size_t i = 0; i < out_.targets.size(); ++i) {
        auto asked = question(source, out_.targets[i]);
        if (!asked) continue;
        const bool allowed = model::evaluate(objects_, *asked).allowed;
        if (destination.service) out["service"]["backends"][i]["allowed"] = allowed;
        out_.targets[i].listener = listener_of(asked->destination);
        if (chosen && (allowed || !chosen_allowed)) continue;
        chosen_allowed = allowed;
        out_.chosen = i;
        chosen = std::move(asked);
    }
    if (!chosen) return fail(Code::invalid, "the two ends have no address family in common");
    out["source"] = describe(source, chosen->source);
    out["destination"] = describe(destination, chosen->destination);
    out_.source = chosen->source.address;
    if (chosen->source.kind == model::Party::Kind::pod)
        out_.source_pod = chosen->source.name.to_string();
    if (chosen->destination.kind == model::Party::Kind::pod)
        out_.destination_pod = chosen->destination.name.to_string();
    judge(*chosen, out);
    return std::move(out_);
}

// Nothing: the source has no address of the target's family.
std::optional<model::Query> Gatherer::question(const End& source, const Target& target) const {
    for (const auto& from : source.addresses) {
        if (from.is_v4() != target.address.is_v4()) continue;
        model::Query out;
        out.protocol = query_.protocol;
        out.port = target.port;
        out.source = model::party_at(objects_, workloads_, node_.host_addresses(), from);
        out.destination =
            model::party_at(objects_, workloads_, node_.host_addresses(), target.address);
        return out;
    }
    return std::nullopt;
}

std::optional<std::uint32_t> Gatherer::listener_of(const model::Party& party) const {
    if (party.kind == model::Party::Kind::host) return static_cast<std::uint32_t>(::getpid());
    for (const auto& workload : workloads_) {
        if (party.kind == model::Party::Kind::pod && workload.name == party.name)
            return first_process(workload);
    }
    return std::nullopt;
}

// --- what any thread can tell

// The newest answers that DNS gave for a name, or that had one of the addresses in them.
json names_told(const observe::history::History& history, const std::string& name,
                const std::vector<net::Ip>& addresses, std::vector<net::Ip>* found) {
    observe::FlowFilter filter;
    filter.since_ns = now_ns() - kNamesBackNs;
    filter.l7_protocols = {model::L7::Protocol::dns};
    auto reader = history.query(std::move(filter), observe::Order::newest_first);
    json out = json::array();
    for (std::size_t count = 0; out.size() < kAnswersShown && count < kFlowsCounted; ++count) {
        const auto flow = reader.next();
        if (!flow) break;
        if (!flow->l7 || flow->l7->type != model::L7::Type::response) continue;
        const model::L7& l7 = *flow->l7;
        std::string_view asked = l7.resource;
        if (asked.ends_with('.')) asked.remove_suffix(1);
        const bool fits =
            name.empty()
                ? std::any_of(addresses.begin(), addresses.end(),
                              [&](const net::Ip& one) {
                                  return std::find(l7.dns.addresses.begin(), l7.dns.addresses.end(),
                                                   one) != l7.dns.addresses.end();
                              })
                : asked == name;
        if (!fits) continue;
        json one{{"name", l7.resource}, {"code", l7.code}, {"addresses", json::array()}};
        for (const auto& address : l7.dns.addresses) {
            one["addresses"].push_back(address.to_string());
            if (found != nullptr) found->push_back(address);
        }
        std::string time;
        observe::append_time(time, flow->time_ns);
        one["time"] = time;
        one["client"] = flow->source.name.empty() ? flow->source.address.to_string()
                                                  : flow->source.space + "/" + flow->source.name;
        out.push_back(std::move(one));
    }
    return out;
}

json connections_of(const Gathered& about) {
    json out = json::array();
    if (about.connections < 0) return out;
    const auto info = ebpf::map_info(about.connections);
    if (!info || info->key_size != sizeof(bl_flow_key)) return out;
    (void)ebpf::map_for_each(
        about.connections, *info, [&](const std::byte* key, const std::byte* value) {
            bl_flow_key flow;
            std::memcpy(&flow, key, sizeof flow);
            const auto a = to_ip(flow.src);
            const auto b = to_ip(flow.dst);
            const bool fits =
                (about.is_source(a) && about.is_target(b, __builtin_bswap16(flow.dport))) ||
                (about.is_source(b) && about.is_target(a, __builtin_bswap16(flow.sport)));
            if (fits) out.push_back(map_entry("bl_ct", *info, key, value, *about.directory));
            return out.size() < kConnectionsShown;
        });
    return out;
}

json listening_of(const Target& about, model::Protocol protocol) {
    const bool tcp = protocol == model::Protocol::tcp;
    if (!about.listener || (!tcp && protocol != model::Protocol::udp)) return nullptr;
    const auto all = net::listeners_of("/proc", *about.listener, tcp);
    // A namespace in which nothing is bound and one that could not be read look the same.
    std::ifstream readable(fmt::format("/proc/{}/net/tcp", *about.listener));
    if (all.empty() && !readable) return nullptr;
    json addresses = json::array();
    bool open = false;
    for (const auto& one : all) {
        if (one.port != about.port) continue;
        addresses.push_back(one.address.is_zero() ? "every address" : one.address.to_string());
        const bool family = one.v6 || about.address.is_v4();
        open |= family && (one.address.is_zero() || one.address == about.address);
    }
    return {{"open", open}, {"addresses", std::move(addresses)}};
}

void add_listening(json& out, const Gathered& about, model::Protocol protocol) {
    for (std::size_t i = 0; i < about.targets.size(); ++i) {
        auto listening = listening_of(about.targets[i], protocol);
        if (listening.is_null()) continue;
        if (out.contains("service")) out["service"]["backends"][i]["listening"] = listening["open"];
        if (i == about.chosen) out["listening"] = std::move(listening);
    }
}

// Memory's and the history's, whichever still has them.
json flows_since(const observe::history::History& history, const Gathered& about,
                 const std::string& node, std::int64_t back_ns, std::size_t enough) {
    observe::FlowFilter filter;
    filter.since_ns = now_ns() - back_ns;
    if (!about.source_pod.empty())
        filter.pods = {about.source_pod};
    else if (!about.destination_pod.empty())
        filter.pods = {about.destination_pod};
    auto reader = history.query(std::move(filter), observe::Order::newest_first);
    std::uint64_t forwarded = 0;
    std::uint64_t dropped = 0;
    std::map<std::string, std::uint64_t> reasons;
    std::vector<json> last;
    for (std::size_t count = 0; count < kFlowsCounted && forwarded + dropped < enough; ++count) {
        const auto flow = reader.next();
        if (!flow) break;
        if (!about.is_source(flow->source.address)) continue;
        const bool to_service = !about.service.is_zero() &&
                                flow->service_address == about.service &&
                                about.is_target(about.service, flow->service_port);
        if (!to_service && !about.is_target(flow->destination.address, flow->destination.port))
            continue;
        auto one = json::parse(observe::to_json(*flow, node), nullptr, false);
        if (flow->verdict == model::Flow::Verdict::dropped) {
            ++dropped;
            ++reasons[one.value("/drop_reason/name"_json_pointer, std::string("?"))];
        } else if (flow->kind == model::Flow::Kind::opened) {
            ++forwarded;
        }
        if (last.size() < kFlowsShown) last.push_back(std::move(one));
    }
    std::reverse(last.begin(), last.end());
    return {{"since_s", back_ns / 1'000'000'000},
            {"opened", forwarded},
            {"dropped", dropped},
            {"reasons", reasons},
            {"last", last}};
}

// Without any lately, the last ones of the last day, if there were some.
json flows_of(const observe::history::History& history, const Gathered& about,
              const std::string& node) {
    json out = flows_since(history, about, node, kFlowsBackNs, kFlowsCounted);
    if (!out["last"].empty()) return out;
    json earlier = flows_since(history, about, node, kFlowsFurtherBackNs, kFlowsShown);
    out["last"] = std::move(earlier["last"]);
    return out;
}

// A repetition, or the end of a connection that both wanted: no reason that something does not work.
bool is_harmless(const datapath::KernelDrop& drop) {
    const std::string_view reason = drop.reason;
    return (drop.answer && reason == "NO_SOCKET") || reason == "SOCKET_CLOSE" ||
           reason == "OTHERHOST" || reason.starts_with("TCP_OLD_") || reason == "TCP_OFOMERGE" ||
           reason == "TCP_RESET" || reason == "TCP_CLOSE" || reason == "TCP_TOO_OLD_ACK";
}

// What the kernel's own stack dropped of their packets. `against`: the newest that stands in the way.
json kernel_drops_of(const KernelDropWatch& watch, const Gathered& about, model::Protocol protocol,
                     std::optional<json>& against) {
    json out = json::array();
    if (watch.drops() == nullptr) return out;
    const auto all = watch.drops()->list();
    if (!all) return out;
    KernelDropDocuments document(*about.directory, about.workloads);
    const auto now = static_cast<std::uint64_t>(observe::EventClock::sample().monotonic_ns);
    for (const auto& drop : *all) {
        if (drop.protocol != static_cast<std::uint8_t>(protocol)) continue;
        const bool request = !drop.answer && about.is_source(drop.source) &&
                             about.is_target(drop.destination, drop.port);
        const bool answer = (drop.answer || drop.port == 0) && about.is_source(drop.destination) &&
                            about.is_target(drop.source, drop.port);
        if (!request && !answer) continue;
        if (out.size() < kKernelDropsShown) out.push_back(document(drop));
        if (!against && !is_harmless(drop) && now - drop.last_ns < kFreshNs)
            against = document(drop);
    }
    return out;
}

// "2 of 3 backends", when not all of them are alike; else empty.
std::string part_of_backends(const json& out, const char* member) {
    const auto backends = out.value("/service/backends"_json_pointer, json::array());
    std::size_t good = 0;
    std::size_t bad = 0;
    for (const auto& one : backends) {
        if (one.contains(member)) ++(one[member].get<bool>() ? good : bad);
    }
    return good == 0 || bad == 0 ? "" : fmt::format("{} of {} backends", bad, good + bad);
}

std::string drop_sentence(const json& drop) {
    const std::string text = drop["text"];
    return fmt::format("the kernel dropped packets of it{}: {}{}",
                       drop.contains("where") ? " in " + drop["where"].get<std::string>() : "",
                       drop["reason"].get<std::string>(), text.empty() ? "" : ", " + text);
}

// One word for scripts, one sentence for people.
void conclude(json& out, const std::optional<json>& against) {
    const auto say = [&](std::string_view verdict, std::string text) {
        out["verdict"] = verdict;
        out["reason"] = std::move(text);
    };
    const auto name = [](const json& end) {
        return end.contains("name")
                   ? end["namespace"].get<std::string>() + "/" + end["name"].get<std::string>()
                   : end.value("address", end.value("asked", std::string()));
    };
    if (const auto service = out.find("service");
        service != out.end() && service->contains("problem")) {
        const std::string problem = (*service)["problem"];
        const std::string who = "service " + (*service)["name"].get<std::string>();
        if (problem == "headless" || problem == "external_name")
            return say(problem, who + " has no address of its own: ask for one of its workloads");
        if (problem == "no_such_port") return say(problem, who + " has no such port");
        const auto selected = service->value("selected", json::array());
        if (!service->contains("selector"))
            return say(problem, who + " has no ready endpoints in its endpoint slices");
        if (selected.empty())
            return say(problem, fmt::format("{} has no backends: no workload has the labels {}",
                                            who, (*service)["selector"].get<std::string>()));
        return say(problem, fmt::format("{} has no backends: none of its {} workloads is ready for "
                                        "this port",
                                        who, selected.size()));
    }
    const json& policy = out["policy"];
    for (const char* direction : {"egress", "ingress"}) {
        const json& check = policy[direction];
        if (check["allowed"]) continue;
        const std::string subject =
            name(out[std::string_view(direction) == "egress" ? "source" : "destination"]);
        const std::string part = part_of_backends(out, "allowed");
        const std::string text =
            check.contains("rule")
                ? fmt::format("{} of {} is denied by {}", direction, subject,
                              check["rule"].get<std::string>())
                : fmt::format("no rule allows this {} of {}, which policies isolate", direction,
                              subject);
        if (!part.empty()) return say("partly_reachable", part + " cannot be reached: " + text);
        return say("denied", text);
    }
    if (policy.contains("kernel") && !policy["kernel"]["allowed"])
        return say("denied", "the policies allow it, the datapath does not yet: a change is on its "
                             "way, or 'beeline status' says why not");
    if (const std::string part = part_of_backends(out, "listening"); !part.empty()) {
        std::string who;
        for (const auto& one : out["service"]["backends"]) {
            if (one.value("listening", true) || !who.empty()) continue;
            who = one.value("workload", one["address"].get<std::string>());
        }
        return say("partly_reachable",
                   fmt::format("allowed, but nothing listens on the port in {}: "
                               "{} the first",
                               part, who));
    }
    if (const auto listening = out.find("listening");
        listening != out.end() && !(*listening)["open"]) {
        const auto& addresses = (*listening)["addresses"];
        if (addresses.empty())
            return say("nobody_listens",
                       fmt::format("allowed, but nothing in {} listens on the port",
                                   name(out["destination"])));
        return say("nobody_listens",
                   fmt::format("allowed, but {} listens on {} only", name(out["destination"]),
                               addresses[0].get<std::string>()));
    }
    if (against) return say("kernel_drops", "allowed, but " + drop_sentence(*against));
    say("allowed", "nothing that Beeline knows stands in the way");
}

} // namespace

Result<json> why_document(Node& node, loop::Loop& loop, const api::WhyQuery& query) {
    std::vector<net::Ip> named;
    json told = json::array();
    const bool is_name = query.destination.find('.') != std::string::npos &&
                         query.destination.find('/') == std::string::npos &&
                         !net::Ip::parse(query.destination);
    if (is_name) told = names_told(node.history(), query.destination, {}, &named);
    auto about =
        TRY(loop.call([&]() -> Result<Gathered> { return Gatherer(node, query, named).gather(); }));
    json& out = about.document;
    if (!is_name) {
        std::vector<net::Ip> addresses;
        for (const auto& target : about.targets)
            addresses.push_back(target.address);
        if (!about.service.is_zero()) addresses.push_back(about.service);
        told = names_told(node.history(), {}, addresses, nullptr);
    }
    if (!told.empty()) out["dns"] = std::move(told);
    add_listening(out, about, query.protocol);
    out["connections"] = connections_of(about);
    std::optional<json> against;
    out["kernel_drops"] = kernel_drops_of(node.kernel_drops(), about, query.protocol, against);
    out["flows"] = flows_of(node.history(), about, node.config().node);
    conclude(out, against);
    return std::move(out);
}

} // namespace beeline::agent
