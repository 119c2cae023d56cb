#include "agent/map_entries.h"

#include <cstring>
#include <functional>
#include <unordered_map>

#include "abi/drop.h"
#include "abi/flow.h"
#include "abi/identity.h"
#include "abi/node.h"
#include "abi/policy.h"
#include "abi/service.h"
#include "model/protocol.h"
#include "net/address.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

template <typename T>
T as(const std::byte* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

std::string text(const bl_addr& addr) {
    net::Ip ip;
    std::memcpy(ip.bytes.data(), addr.byte, ip.bytes.size());
    return ip.to_string();
}

unsigned port(__be16 value) { return __builtin_bswap16(value); }

std::string protocol(unsigned number) {
    return model::to_string(static_cast<model::Protocol>(number));
}

std::string prefix(const bl_prefix& key) {
    const std::string base = text(key.addr);
    const bool v4 = base.find(':') == std::string::npos;
    return fmt::format("{}/{}", base,
                       v4 && key.prefixlen >= 96 ? key.prefixlen - 96 : key.prefixlen);
}

std::string mac(const __u8* bytes) {
    net::Mac out{};
    std::memcpy(out.data(), bytes, out.size());
    return net::to_string(out);
}

std::string hex(const std::byte* bytes, std::size_t size) {
    std::string out;
    for (std::size_t i = 0; i < size; ++i)
        out += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[i]));
    return out;
}

std::string identity(std::uint32_t number, const model::Directory& directory) {
    const auto found = directory.identities.find(number);
    return found != directory.identities.end() ? fmt::format("{} ({})", number, found->second)
                                               : std::to_string(number);
}

std::string rule(std::uint32_t id, const model::Directory& directory) {
    const auto found = directory.rules.find(id);
    return found != directory.rules.end() ? found->second : std::to_string(id);
}

json process(const bl_process& p) {
    if (p.pid == 0) return nullptr;
    return {{"pid", p.pid}, {"comm", std::string(p.comm, strnlen(p.comm, sizeof p.comm))}};
}

json flow_key(const bl_flow_key& key) {
    return {{"ends",
             {fmt::format("{} {}", text(key.src), port(key.sport)),
              fmt::format("{} {}", text(key.dst), port(key.dport))}},
            {"protocol", protocol(key.proto)}};
}

std::string_view state_name(unsigned state) {
    switch (state) {
#define X(name, number, timeout)                                                                   \
    case number: return #name;
        BL_CT_STATES(X)
#undef X
    default: return "?";
    }
}

json flag_names(unsigned flags, std::initializer_list<std::pair<unsigned, const char*>> names) {
    json out = json::array();
    for (const auto& [bit, name] : names) {
        if ((flags & bit) != 0) out.push_back(name);
    }
    return out;
}

// An interface's number, or "node 3".
json place(std::uint32_t end) {
    if ((end & BL_END_REMOTE) != 0) return fmt::format("node {}", end & ~BL_END_REMOTE);
    return end;
}

json connection(const bl_ct& ct, const model::Directory& directory) {
    json out{{"state", state_name(ct.state)},
             {"flags", flag_names(ct.flags, {{BL_CT_SWAPPED, "swapped"},
                                             {BL_CT_FRONTEND, "frontend"},
                                             {BL_CT_HAIRPIN, "hairpin"},
                                             {BL_CT_REPLIED, "replied"},
                                             {BL_CT_REVOKED, "revoked"},
                                             {BL_CT_NAT, "nat"},
                                             {BL_CT_FROM_HOST, "from-host"}})},
             {"epoch", ct.epoch},
             {"client", identity(ct.identity[0], directory)},
             {"server", identity(ct.identity[1], directory)},
             {"interfaces", {place(ct.ifindex[0]), place(ct.ifindex[1])}},
             {"packets", {ct.packets[0], ct.packets[1]}},
             {"bytes", {ct.bytes[0], ct.bytes[1]}}};
    if (ct.svc_port != 0)
        out["service"] = fmt::format("{} {}", text(ct.svc_addr), port(ct.svc_port));
    if (ct.rule[BL_DIR_EGRESS] != 0) out["egress_rule"] = rule(ct.rule[BL_DIR_EGRESS], directory);
    if (ct.rule[BL_DIR_INGRESS] != 0)
        out["ingress_rule"] = rule(ct.rule[BL_DIR_INGRESS], directory);
    for (int end = 0; end < 2; ++end) {
        if (ct.process[end].pid != 0)
            out[end == 0 ? "client_process" : "server_process"] = process(ct.process[end]);
    }
    return out;
}

json policy_key(const bl_policy_key& key, const model::Directory& directory) {
    json out{{"subject", identity(key.subject, directory)},
             {"direction", key.direction == BL_DIR_EGRESS ? "egress" : "ingress"},
             {"peer", key.peer == 0 ? "any" : identity(key.peer, directory)}};
    if (key.prefixlen >= BL_POLICY_PREFIX_PROTO) out["protocol"] = protocol(key.proto);
    if (key.prefixlen > BL_POLICY_PREFIX_PROTO) {
        const unsigned first = port(key.port);
        const unsigned last = first + (1U << (BL_POLICY_PREFIX_PORT - key.prefixlen)) - 1;
        out["ports"] = first == last ? std::to_string(first) : fmt::format("{}-{}", first, last);
    }
    return out;
}

std::string counter_name(const std::string& map, std::uint32_t index) {
    if (map == "bl_metric") {
        switch (index) {
#define X(name, help)                                                                              \
    case BL_METRIC_##name: return #name;
            BL_METRICS(X)
#undef X
        default: break;
        }
    } else {
        const std::string way = index >= BL_DROP_INGRESS ? " ingress" : "";
        switch (index % BL_DROP_INGRESS) {
#define X(name, number, text)                                                                      \
    case number: return #name + way;
            BL_DROP_REASONS(X)
#undef X
        default: break;
        }
    }
    return std::to_string(index);
}

using Form = std::function<json(const std::byte* key, const std::byte* value,
                                const model::Directory& directory)>;

json entry(json key, json value) { return {{"key", std::move(key)}, {"value", std::move(value)}}; }

const std::unordered_map<std::string, Form>& forms() {
    static const std::unordered_map<std::string, Form> all{
        {"bl_endpoint",
         [](const std::byte* k, const std::byte* v, const model::Directory& directory) {
             const auto ep = as<bl_endpoint>(v);
             return entry({{"address", text(as<bl_addr>(k))}},
                          {{"interface", ep.ifindex},
                           {"identity", identity(ep.identity, directory)},
                           {"id", ep.id},
                           {"mac", mac(ep.mac)},
                           {"flags", flag_names(ep.flags, {{BL_EP_HOST, "host"},
                                                           {BL_EP_INGRESS, "ingress-isolated"},
                                                           {BL_EP_EGRESS, "egress-isolated"}})}});
         }},
        {"bl_ipcache",
         [](const std::byte* k, const std::byte* v, const model::Directory& directory) {
             const auto cached = as<bl_ipcache>(v);
             return entry({{"prefix", prefix(as<bl_prefix>(k))}},
                          {{"identity", identity(cached.identity, directory)},
                           {"node", cached.node},
                           {"flags", flag_names(cached.flags, {{BL_IPC_NODE, "node-itself"}})}});
         }},
        {"bl_node",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto node = as<bl_node>(v);
             return entry({{"node", as<std::uint32_t>(k)}},
                          {{"address", text(node.addr)},
                           {"local", text(node.local)},
                           {"interface", node.ifindex},
                           {"mtu", node.mtu},
                           {"vni", node.vni},
                           {"flags", flag_names(node.flags, {{BL_NODE_TUNNEL, "tunnel"}})}});
         }},
        {"bl_identity",
         [](const std::byte* k, const std::byte* v, const model::Directory& directory) {
             const auto digest = as<bl_identity>(v);
             return entry(
                 {{"identity", identity(as<std::uint32_t>(k), directory)}},
                 {{"digest", fmt::format("{:016x}{:016x}", digest.digest[0], digest.digest[1])}});
         }},
        {"bl_policy",
         [](const std::byte* k, const std::byte* v, const model::Directory& directory) {
             const auto policy = as<bl_policy>(v);
             return entry(policy_key(as<bl_policy_key>(k), directory),
                          {{"verdict", policy.deny != 0 ? "deny" : "allow"},
                           {"rule", rule(policy.rule, directory)}});
         }},
        {"bl_svc",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto key = as<bl_svc_key>(k);
             const auto svc = as<bl_svc>(v);
             return entry({{"address", text(key.addr)},
                           {"port", port(key.port)},
                           {"protocol", protocol(key.proto)}},
                          {{"id", svc.id},
                           {"generation", svc.generation},
                           {"backends", svc.count},
                           {"affinity_s", svc.affinity_s},
                           {"moved", (svc.flags & BL_SVC_MOVED) != 0}});
         }},
        {"bl_slot",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto key = as<bl_slot_key>(k);
             return entry(
                 {{"service", key.service}, {"generation", key.generation}, {"slot", key.slot}},
                 {{"backend", as<std::uint32_t>(v)}});
         }},
        {"bl_backend",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto backend = as<bl_backend>(v);
             return entry({{"backend", as<std::uint32_t>(k)}},
                          {{"address", text(backend.addr)},
                           {"port", port(backend.port)},
                           {"protocol", protocol(backend.proto)},
                           {"service", backend.service}});
         }},
        {"bl_affinity",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto key = as<bl_affinity_key>(k);
             const bool cookie = key.client.half[1] == 0;
             return entry({{"client", cookie ? fmt::format("netns {}", key.client.half[0])
                                             : text(key.client)},
                           {"service", key.service}},
                          {{"backend", as<bl_affinity>(v).backend}});
         }},
        {"bl_sock_rev",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto key = as<bl_sock_rev_key>(k);
             const auto value = as<bl_sock_rev>(v);
             return entry(
                 {{"socket", key.cookie}, {"address", text(key.addr)}, {"port", port(key.port)}},
                 {{"service", text(value.addr)}, {"port", port(value.port)}});
         }},
        {"bl_ct",
         [](const std::byte* k, const std::byte* v, const model::Directory& directory) {
             return entry(flow_key(as<bl_flow_key>(k)), connection(as<bl_ct>(v), directory));
         }},
        {"bl_frag",
         [](const std::byte* k, const std::byte* v, const model::Directory&) {
             const auto key = as<bl_frag_key>(k);
             const auto ports = as<bl_frag>(v);
             return entry(
                 {{"source", text(key.src)},
                  {"destination", text(key.dst)},
                  {"id", key.id},
                  {"protocol", protocol(key.proto)}},
                 {{"source_port", port(ports.sport)}, {"destination_port", port(ports.dport)}});
         }},
        {"bl_state",
         [](const std::byte*, const std::byte* v, const model::Directory&) {
             return entry(0, {{"epoch", as<bl_state>(v).epoch}});
         }},
    };
    return all;
}

} // namespace

json map_entry(const std::string& map, const ebpf::MapInfo& info, const std::byte* key,
               const std::byte* value, const model::Directory& directory) {
    if (map == "bl_metric" || map == "bl_drop") {
        std::uint64_t sum = 0;
        for (unsigned cpu = 0; cpu < ebpf::possible_cpus(); ++cpu)
            sum += as<std::uint64_t>(value + 8UL * cpu);
        return entry({{"counter", counter_name(map, as<std::uint32_t>(key))}}, {{"count", sum}});
    }
    const auto form = forms().find(map);
    if (form != forms().end()) return form->second(key, value, directory);
    return entry({{"bytes", hex(key, info.key_size)}}, {{"bytes", hex(value, info.value_size)}});
}

} // namespace beeline::agent
