#include "datapath/kernel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>

#include "abi/config.h"
#include "abi/drop.h"
#include "abi/flow.h"
#include "base/log.h"
#include "ebpf/link.h"
#include "pod.skel.h"
#include "sock.skel.h"

namespace beeline::datapath {
namespace {

namespace fs = std::filesystem;
using ebpf::Hook;

struct CgroupHook {
    const char* program;
    Hook hook;
};
constexpr std::array kCgroupHooks{
    CgroupHook{"bl_connect4", Hook::cgroup_connect4},
    CgroupHook{"bl_connect6", Hook::cgroup_connect6},
    CgroupHook{"bl_sendmsg4", Hook::cgroup_sendmsg4},
    CgroupHook{"bl_sendmsg6", Hook::cgroup_sendmsg6},
    CgroupHook{"bl_recvmsg4", Hook::cgroup_recvmsg4},
    CgroupHook{"bl_recvmsg6", Hook::cgroup_recvmsg6},
    CgroupHook{"bl_getpeer4", Hook::cgroup_getpeername4},
    CgroupHook{"bl_getpeer6", Hook::cgroup_getpeername6},
    CgroupHook{"bl_post_bind4", Hook::cgroup_post_bind4},
    CgroupHook{"bl_post_bind6", Hook::cgroup_post_bind6},
    CgroupHook{"bl_sock_create", Hook::cgroup_sock_create},
};

std::span<const std::byte> bytes(const void* data, std::size_t size) {
    return {static_cast<const std::byte*>(data), size};
}

bl_addr to_addr(const net::Ip& ip) {
    bl_addr addr{};
    std::memcpy(addr.byte, ip.bytes.data(), sizeof addr.byte);
    return addr;
}

Result<bl_config> make_config(const KernelOptions& options) {
    bl_config config{};
    config.gateway4 = to_addr(options.gateway4);
    config.gateway6 = to_addr(options.gateway6);
#define X(name, number, timeout) config.timeout_s[BL_CT_##name] = timeout;
    BL_CT_STATES(X)
#undef X
    for (const auto& [state, seconds] : options.ct_timeouts_s) {
        bool known = false;
#define X(name, number, timeout)                                                                   \
    if (state == #name) {                                                                          \
        config.timeout_s[BL_CT_##name] = seconds;                                                  \
        known = true;                                                                              \
    }
        BL_CT_STATES(X)
#undef X
        if (!known)
            return fail(Code::invalid, "conntrack.timeouts: no state is called '{}'", state);
    }
    return config;
}

// Of the namespace that the agent runs in; 0: no socket is taken for the node's own.
std::uint64_t netns_cookie() {
    const Fd any(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (!any || getsockopt(any.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) return 0;
    return cookie;
}

Result<> make_directory(const std::string& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) return fail_errno(error.value(), "cannot create " + path);
    return {};
}

template <typename K, typename V>
Result<> read_table(int fd, Table<K, V>& table) {
    const auto map = TRY((ebpf::Map<K, V>::of(fd)));
    return map.for_each([&](const K& key, const V& value) { table.emplace(key, value); });
}

// Both return how many entries they changed.
template <typename K, typename V>
Result<std::size_t> upsert(int fd, const Table<K, V>& from, const Table<K, V>& to) {
    std::vector<K> keys;
    std::vector<V> values;
    for (const auto& [key, value] : to) {
        const auto old = from.find(key);
        if (old != from.end() && BytesEqual{}(old->second, value)) continue;
        keys.push_back(key);
        values.push_back(value);
    }
    TRY(TRY((ebpf::Map<K, V>::of(fd))).update_many(keys, values));
    return keys.size();
}

template <typename K, typename V>
Result<std::size_t> erase(int fd, const Table<K, V>& from, const Table<K, V>& to) {
    const auto map = TRY((ebpf::Map<K, V>::of(fd)));
    std::size_t count = 0;
    for (const auto& [key, value] : from) {
        if (to.contains(key)) continue;
        TRY(map.erase(key));
        ++count;
    }
    return count;
}

// An array's entries cannot be erased: what is gone becomes zero.
template <typename V>
Result<std::size_t> clear(int fd, const Table<std::uint32_t, V>& from,
                          const Table<std::uint32_t, V>& to) {
    const auto map = TRY((ebpf::Map<std::uint32_t, V>::of(fd)));
    std::size_t count = 0;
    for (const auto& [key, value] : from) {
        if (to.contains(key)) continue;
        TRY(map.update(key, V{}));
        ++count;
    }
    return count;
}

// Connections survive a change of the table's size, as many as fit.
Result<> take_connections(int from, int to) {
    const auto table = TRY((ebpf::Map<bl_flow_key, bl_ct>::of(to)));
    const auto old = TRY((ebpf::Map<bl_flow_key, bl_ct>::of(from)));
    std::size_t left_out = 0;
    TRY(old.for_each([&](const bl_flow_key& key, const bl_ct& ct) {
        if (!table.update(key, ct)) ++left_out;
    }));
    if (left_out > 0)
        log_warn("connections do not fit the smaller table", kv("forgotten", left_out));
    return {};
}

} // namespace

struct Kernel::State {
    KernelOptions options;
    std::unique_ptr<ebpf::Object> pod;
    std::unique_ptr<ebpf::Object> sock;
    bool tcx = true;
    std::map<std::string, Operations> operations;
    std::map<std::string, int> beside; // maps of other objects
    std::vector<Uplink> uplinks;

    [[nodiscard]] std::string links() const { return options.pins + "/links"; }
    [[nodiscard]] std::string link(std::uint32_t ifindex, const char* where) const {
        return fmt::format("{}/{}_{}", links(), where, ifindex);
    }
    [[nodiscard]] std::string link(const Uplink& uplink) const {
        return link(uplink.ifindex, uplink.tunnel ? "from_tunnel" : "from_netdev");
    }
};

Kernel::Kernel(std::unique_ptr<State> state) : state_(std::move(state)) {}

Kernel::~Kernel() = default;

Result<std::unique_ptr<Kernel>> Kernel::load(const KernelOptions& options) {
    auto state = std::make_unique<State>();
    state->options = options;
    const std::string maps = options.pins + "/maps";
    TRY(make_directory(maps));
    TRY(make_directory(state->links()));

    std::size_t size = 0;
    const void* elf = pod_bpf__elf_bytes(&size);
    state->pod = std::make_unique<ebpf::Object>(TRY(ebpf::Object::open("pod", bytes(elf, size))));
    elf = sock_bpf__elf_bytes(&size);
    state->sock = std::make_unique<ebpf::Object>(TRY(ebpf::Object::open("sock", bytes(elf, size))));

    const bl_config config = TRY(make_config(options));
    TRY(state->pod->set_rodata(bytes(&config, sizeof config)));
    const std::uint64_t node_netns = netns_cookie();
    TRY(state->sock->set_rodata(bytes(&node_netns, sizeof node_netns)));
    TRY(state->pod->set_max_entries("bl_ct", options.ct_entries));
    TRY(state->pod->set_max_entries("bl_l7", options.l7_ring_bytes));
    for (auto* object : {state->pod.get(), state->sock.get()}) {
        TRY(object->set_max_entries("bl_flows", options.ring_bytes));
        const auto retired = TRY(object->pin_maps(maps));
        TRY(object->load());
        for (const auto& old : retired) {
            if (old.map != "bl_ct") continue;
            if (const auto taken = take_connections(old.fd.get(), TRY(object->map("bl_ct")));
                !taken) {
                log_warn("connections of the earlier table are forgotten",
                         kv("why", taken.error().message));
            }
        }
    }
    state->tcx = options.attachment != Attachment::clsact;
    return std::unique_ptr<Kernel>(new Kernel(std::move(state)));
}

Result<> Kernel::attach_sockets() {
    const auto& options = state_->options;
    if (options.cgroup.empty()) return {};
    const Fd cgroup(open(options.cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup) return fail_errno(errno, "cannot open cgroup " + options.cgroup);
    for (const auto& hook : kCgroupHooks) {
        TRY(ebpf::attach_pinned(TRY(state_->sock->program(hook.program)), hook.hook, cgroup.get(),
                                fmt::format("{}/{}", state_->links(), hook.program)));
    }
    return {};
}

Result<Tables> Kernel::read() const {
    Tables tables;
    TRY(read_table(TRY(map("bl_endpoint")), tables.endpoints));
    TRY(read_table(TRY(map("bl_ipcache")), tables.ipcache));
    TRY(read_table(TRY(map("bl_identity")), tables.identities));
    TRY(read_table(TRY(map("bl_policy")), tables.policy));
    TRY(read_table(TRY(map("bl_svc")), tables.services));
    TRY(read_table(TRY(map("bl_slot")), tables.slots));
    TRY(read_table(TRY(map("bl_backend")), tables.backends));
    TRY(read_table(TRY(map("bl_node")), tables.nodes));
    std::erase_if(tables.nodes,
                  [](const auto& entry) { return BytesEqual{}(entry.second, bl_node{}); });
    return tables;
}

Result<std::size_t> Kernel::write_steps(const Tables& from, const Tables& to) {
    std::size_t changed = 0;
    const auto put = [&](const char* name, const auto& before,
                         const auto& after) -> Result<std::size_t> {
        auto done = upsert(TRY(map(name)), before, after);
        auto& count = state_->operations[name];
        done ? count.updated += *done : ++count.update_failed;
        return done;
    };
    const auto drop = [&](const char* name, const auto& before,
                          const auto& after) -> Result<std::size_t> {
        auto done = erase(TRY(map(name)), before, after);
        auto& count = state_->operations[name];
        done ? count.erased += *done : ++count.erase_failed;
        return done;
    };
    changed += TRY(put("bl_identity", from.identities, to.identities));
    changed += TRY(put("bl_backend", from.backends, to.backends));
    changed += TRY(put("bl_slot", from.slots, to.slots));
    changed += TRY(put("bl_policy", from.policy, to.policy));
    changed += TRY(put("bl_node", from.nodes, to.nodes));
    changed += TRY(put("bl_svc", from.services, to.services));
    changed += TRY(put("bl_ipcache", from.ipcache, to.ipcache));
    changed += TRY(put("bl_endpoint", from.endpoints, to.endpoints));
    changed += TRY(drop("bl_endpoint", from.endpoints, to.endpoints));
    changed += TRY(drop("bl_ipcache", from.ipcache, to.ipcache));
    changed += TRY(clear(TRY(map("bl_node")), from.nodes, to.nodes));
    changed += TRY(drop("bl_svc", from.services, to.services));
    changed += TRY(drop("bl_policy", from.policy, to.policy));
    changed += TRY(drop("bl_slot", from.slots, to.slots));
    changed += TRY(drop("bl_backend", from.backends, to.backends));
    changed += TRY(drop("bl_identity", from.identities, to.identities));
    return changed;
}

Result<> Kernel::write(const Tables& from, const Tables& to) {
    const auto done = write_steps(from, to);
    if (!done) {
        if (const auto back = write_steps(to, from); !back) {
            log_error("the previous state could not be restored in full",
                      kv("error", back.error().message));
        }
        (void)bump_epoch();
        return Failure(done.error());
    }
    return *done > 0 ? bump_epoch() : Result<>{};
}

Result<> Kernel::bump_epoch() {
    const auto map = TRY((ebpf::Map<std::uint32_t, bl_state>::of(TRY(this->map("bl_state")))));
    bl_state state = TRY(map.lookup(0)).value_or(bl_state{});
    ++state.epoch;
    return map.update(0, state);
}

Result<> Kernel::attach(const model::Workload& workload) {
    const int from_pod = TRY(state_->pod->program("bl_from_pod"));
    const int to_pod = TRY(state_->pod->program("bl_to_pod"));
    const int ifindex = static_cast<int>(workload.ifindex);
    if (state_->tcx) {
        auto done = ebpf::attach_pinned(from_pod, Hook::tcx_ingress, ifindex,
                                        state_->link(workload.ifindex, "from_pod"));
        if (done) {
            return ebpf::attach_pinned(to_pod, Hook::tcx_egress, ifindex,
                                       state_->link(workload.ifindex, "to_pod"));
        }
        if (state_->options.attachment == Attachment::tcx || done.error().number != EINVAL)
            return done;
        log_warn("this kernel has no tcx: programs are attached by clsact");
        state_->tcx = false;
    }
    TRY(ebpf::attach_clsact(from_pod, Hook::tcx_ingress, ifindex));
    TRY(ebpf::attach_clsact(to_pod, Hook::tcx_egress, ifindex));
    // Links of a run that used tcx would go first and leave nothing to these.
    detach(workload);
    return {};
}

Result<> Kernel::attach_uplinks(const std::vector<Uplink>& uplinks) {
    state_->uplinks = uplinks;
    for (const Uplink& uplink : uplinks) {
        const char* name = uplink.tunnel ? "bl_from_tunnel" : "bl_from_netdev";
        const int program = TRY(state_->pod->program(name));
        const int ifindex = static_cast<int>(uplink.ifindex);
        const std::string pin = state_->link(uplink);
        if (state_->tcx) {
            const auto done = ebpf::attach_pinned(program, Hook::tcx_ingress, ifindex, pin);
            if (done) continue;
            if (state_->options.attachment == Attachment::tcx || done.error().number != EINVAL)
                return done;
            state_->tcx = false;
        }
        TRY(ebpf::attach_clsact(program, Hook::tcx_ingress, ifindex));
        std::error_code ignored;
        fs::remove(pin, ignored);
    }
    // Those of devices that no longer lead to a node.
    std::set<std::string> kept;
    for (const Uplink& uplink : uplinks)
        kept.insert(state_->link(uplink));
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(state_->links(), error)) {
        const std::string name = entry.path().filename();
        const bool ours = name.starts_with("from_tunnel_") || name.starts_with("from_netdev_");
        if (ours && !kept.contains(entry.path().string())) fs::remove(entry.path(), error);
    }
    return {};
}

void Kernel::detach(const model::Workload& workload) {
    std::error_code ignored;
    fs::remove(state_->link(workload.ifindex, "from_pod"), ignored);
    fs::remove(state_->link(workload.ifindex, "to_pod"), ignored);
}

void Kernel::detach_all_but(const std::vector<model::Workload>& workloads) {
    std::set<std::string> kept;
    for (const auto& workload : workloads) {
        kept.insert(state_->link(workload.ifindex, "from_pod"));
        kept.insert(state_->link(workload.ifindex, "to_pod"));
        if (!workload.bandwidth.limited()) continue;
        kept.insert(state_->link(workload.ifindex, "limit_out"));
        kept.insert(state_->link(workload.ifindex, "limit_in"));
    }
    for (const Uplink& uplink : state_->uplinks)
        kept.insert(state_->link(uplink));
    for (const auto& hook : kCgroupHooks)
        kept.insert(fmt::format("{}/{}", state_->links(), hook.program));
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(state_->links(), error)) {
        if (!kept.contains(entry.path().string())) fs::remove(entry.path(), error);
    }
}

Result<SweepResult> Kernel::sweep(bool pressure) {
    bl_sweep sweep{};
    sweep.pressure = pressure ? 1 : 0;
    TRY(ebpf::run_program(TRY(state_->pod->program("bl_ct_sweep")),
                          {reinterpret_cast<std::byte*>(&sweep), sizeof sweep}));
    return SweepResult{sweep.seen, sweep.removed};
}

Result<Kernel::Verdict> Kernel::verdict(const net::Ip& source, const net::Ip& destination,
                                        std::uint8_t protocol, std::uint16_t port) const {
    const auto endpoints = TRY((ebpf::Map<bl_addr, bl_endpoint>::of(TRY(map("bl_endpoint")))));
    const auto ipcache = TRY((ebpf::Map<bl_prefix, bl_ipcache>::of(TRY(map("bl_ipcache")))));
    const auto policy = TRY((ebpf::Map<bl_policy_key, bl_policy>::of(TRY(map("bl_policy")))));
    const auto identify = [&](const net::Ip& ip) -> Result<bl_endpoint> {
        if (const auto endpoint = TRY(endpoints.lookup(to_addr(ip)))) return *endpoint;
        bl_prefix key{};
        key.prefixlen = 128;
        key.addr = to_addr(ip);
        bl_endpoint other{};
        other.identity = TRY(ipcache.lookup(key)).value_or(bl_ipcache{BL_ID_world, 0, 0}).identity;
        return other;
    };
    const bl_endpoint client = TRY(identify(source));
    const bl_endpoint server = TRY(identify(destination));
    Verdict verdict;
    if (source == destination) return verdict;
    const auto check = [&](std::uint32_t subject, std::uint32_t peer,
                           std::uint8_t direction) -> Result<bool> {
        bl_policy_key key{};
        key.prefixlen = BL_POLICY_PREFIX_PORT;
        key.subject = subject;
        key.peer = peer;
        key.direction = direction;
        key.proto = protocol;
        key.port = __builtin_bswap16(port);
        const auto own = TRY(policy.lookup(key));
        key.peer = 0;
        const auto any = TRY(policy.lookup(key));
        const auto& decides = own && (own->deny != 0 || !any || any->deny == 0) ? own : any;
        verdict.rule[direction] = decides ? decides->rule : BL_FLOW_NO_RULE;
        return decides && decides->deny == 0;
    };
    if ((client.flags & BL_EP_EGRESS) != 0) {
        verdict.allowed = TRY(check(client.identity, server.identity, BL_DIR_EGRESS));
    }
    if (verdict.allowed && (server.flags & BL_EP_INGRESS) != 0 &&
        (client.flags & BL_EP_HOST) == 0) {
        verdict.allowed = TRY(check(server.identity, client.identity, BL_DIR_INGRESS));
    }
    return verdict;
}

int Kernel::flow_ring() const { return state_->pod->map("bl_flows").value_or(-1); }

Result<std::vector<std::uint64_t>> Kernel::metrics() const {
    return ebpf::per_cpu_sums(TRY(map("bl_metric")));
}

Result<std::vector<std::uint64_t>> Kernel::drops() const {
    return ebpf::per_cpu_sums(TRY(map("bl_drop")));
}

Result<std::vector<MapUse>> Kernel::maps() const {
    std::vector<MapUse> uses;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(state_->options.pins + "/maps", error)) {
        const std::string name = entry.path().filename();
        const auto fd = map(name);
        if (!fd) continue;
        uses.push_back({name, TRY(ebpf::map_info(*fd)), 0});
    }
    if (error) return fail_errno(error.value(), "cannot list " + state_->options.pins + "/maps");
    return uses;
}

const std::map<std::string, Kernel::Operations>& Kernel::operations() const {
    return state_->operations;
}

Result<int> Kernel::map(const std::string& name) const {
    if (auto fd = state_->pod->map(name)) return fd;
    if (auto fd = state_->sock->map(name)) return fd;
    if (const auto found = state_->beside.find(name); found != state_->beside.end())
        return found->second;
    return fail(Code::not_found, "no map is called '{}': see 'beeline map list'", name);
}

Result<int> Kernel::program(const std::string& name) const {
    if (auto fd = state_->pod->program(name)) return fd;
    return state_->sock->program(name);
}

std::string Kernel::map_pins() const { return state_->options.pins + "/maps"; }

void Kernel::add_map(const std::string& name, int fd) { state_->beside[name] = fd; }

std::string Kernel::links() const { return state_->links(); }

bool Kernel::tcx() const { return state_->tcx; }

void Kernel::remove_pins(const std::string& pins) {
    std::error_code error;
    fs::remove_all(pins, error);
    if (error) log_warn("pins remain", kv("path", pins), kv("error", error.message()));
}

} // namespace beeline::datapath
