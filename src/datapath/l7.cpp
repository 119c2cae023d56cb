#include "datapath/l7.h"

#include <algorithm>
#include <cstring>

#include "ebpf/map.h"
#include "ebpf/object.h"

namespace beeline::datapath {
namespace {

// Two halves in the kernel's own order, which compares them as numbers of this machine.
bool second_is_smaller(const bl_flow_key& key) {
    for (const std::size_t i : {1U, 0U}) {
        if (key.src.half[i] != key.dst.half[i]) return key.src.half[i] > key.dst.half[i];
    }
    return key.sport > key.dport;
}

bl_flow_key swapped(const bl_flow_key& key) {
    bl_flow_key out = key;
    std::swap(out.src, out.dst);
    std::swap(out.sport, out.dport);
    return out;
}

bl_flow_event event_of(const bl_flow_key& stored, const bl_ct& ct) {
    bl_flow_event event{};
    event.time_ns = event.opened_ns = ct.opened_ns;
    event.key = (ct.flags & BL_CT_SWAPPED) != 0 ? swapped(stored) : stored;
    event.svc_addr = ct.svc_addr;
    event.svc_port = ct.svc_port;
    for (const std::size_t i : {0U, 1U}) {
        event.packets[i] = ct.packets[i];
        event.bytes[i] = ct.bytes[i];
        event.process[i] = ct.process[i];
        event.identity[i] = ct.identity[i];
        event.endpoint[i] = ct.endpoint[i];
        event.rule[i] = ct.rule[i];
        event.tcp_flags[i] = ct.tcp_flags[i];
    }
    event.kind = BL_FLOW_opened;
    return event;
}

} // namespace

Result<L7> L7::of(const Kernel& kernel) {
    L7 l7;
    l7.ring_ = TRY(kernel.map("bl_l7"));
    l7.accounts_ = TRY(kernel.map("bl_l7_account"));
    l7.connections_ = TRY(kernel.map("bl_ct"));
    l7.stop_ = TRY(kernel.program("bl_l7_stop"));
    return l7;
}

std::optional<bl_flow_event> L7::connection(const bl_flow_key& ends) const {
    bl_flow_key key = second_is_smaller(ends) ? swapped(ends) : ends;
    bl_ct ct{};
    const auto found = ebpf::map_lookup(connections_, &key, &ct);
    if (!found || !*found) return std::nullopt;
    if ((ct.flags & BL_CT_FRONTEND) == 0) return event_of(key, ct);
    // The client's name for it: its backend has the connection.
    bl_flow_key client = (ct.flags & BL_CT_SWAPPED) != 0 ? swapped(key) : key;
    client.dst = ct.svc_addr;
    client.dport = ct.svc_port;
    key = second_is_smaller(client) ? swapped(client) : client;
    const auto backend = ebpf::map_lookup(connections_, &key, &ct);
    if (!backend || !*backend || (ct.flags & BL_CT_FRONTEND) != 0) return std::nullopt;
    return event_of(key, ct);
}

void L7::stop(const bl_flow_key& ends, std::uint64_t opened_ns) const {
    bl_l7_stop stop{};
    stop.key = ends;
    stop.opened_ns = opened_ns;
    // One that is gone needs no stopping.
    (void)ebpf::run_program(stop_, {reinterpret_cast<std::byte*>(&stop), sizeof stop});
}

Result<> L7::set_accounts(const std::unordered_map<std::uint32_t, Limits>& wanted) const {
    const auto map = TRY((ebpf::Map<std::uint32_t, bl_l7_account>::of(accounts_)));
    const auto old = TRY(accounts());
    for (const auto& [workload, account] : old) {
        if (!wanted.contains(workload)) TRY(map.erase(workload));
    }
    for (const auto& [workload, limits] : wanted) {
        bl_l7_account account{};
        if (const auto found = old.find(workload); found != old.end()) {
            account = found->second;
            if (Limits{account.rate, account.burst, account.most[0], account.most[1]} == limits)
                continue;
        }
        account.rate = limits.rate;
        account.burst = limits.burst;
        account.most[0] = std::min<std::uint32_t>(limits.client, BL_L7_MOST);
        account.most[1] = std::min<std::uint32_t>(limits.server, BL_L7_MOST);
        account.tokens = static_cast<std::int64_t>(limits.burst);
        TRY(map.update(workload, account));
    }
    return {};
}

Result<std::unordered_map<std::uint32_t, bl_l7_account>> L7::accounts() const {
    std::unordered_map<std::uint32_t, bl_l7_account> out;
    const auto map = TRY((ebpf::Map<std::uint32_t, bl_l7_account>::of(accounts_)));
    TRY(map.for_each(
        [&](std::uint32_t workload, const bl_l7_account& account) { out[workload] = account; }));
    return out;
}

} // namespace beeline::datapath
