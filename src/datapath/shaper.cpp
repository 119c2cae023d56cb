#include "datapath/shaper.h"

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "ebpf/link.h"
#include "ebpf/map.h"
#include "limit.skel.h"
#include "net/namespace.h"
#include "net/netlink.h"
#include "net/qdisc.h"

namespace beeline::datapath {
namespace {

namespace fs = std::filesystem;
using ebpf::Hook;

constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
constexpr std::uint64_t kLeastBurst = 128 << 10; // bytes
constexpr std::uint64_t kMostBurstNs = kNsPerSecond / 10;
constexpr std::uint32_t kHandle = 2; // beside bl_from_pod

bool same(const bl_limit_way& a, const bl_limit_way& b) {
    return a.rate == b.rate && a.burst_ns == b.burst_ns;
}

} // namespace

bl_limit_way limit_way(const model::Rate& rate) {
    bl_limit_way way{};
    way.rate = rate.bits_per_second / 8;
    if (way.rate == 0) return way;
    const std::uint64_t least = kLeastBurst * kNsPerSecond / way.rate;
    const std::uint64_t most = std::max(kMostBurstNs, least);
    way.burst_ns = most;
    if (rate.burst_bits != 0) {
        const auto asked = static_cast<double>(rate.burst_bits) / 8 / static_cast<double>(way.rate);
        if (asked * kNsPerSecond < static_cast<double>(most))
            way.burst_ns = std::max(least, static_cast<std::uint64_t>(asked * kNsPerSecond));
    }
    return way;
}

std::string Shaper::link(const model::Workload& workload, const char* where) const {
    return fmt::format("{}/{}_{}", kernel_.links(), where, workload.ifindex);
}

Result<> Shaper::load() {
    if (object_) return {};
    std::size_t size = 0;
    const void* elf = limit_bpf__elf_bytes(&size);
    auto object = TRY(ebpf::Object::open("limit", {static_cast<const std::byte*>(elf), size}));
    // The same maps as the other objects'.
    for (const char* name : {"bl_ct", "bl_flows"}) {
        const auto info = TRY(ebpf::map_info(TRY(kernel_.map(name))));
        TRY(object.set_max_entries(name, info.max_entries));
    }
    TRY(object.pin_maps(kernel_.map_pins()));
    TRY(object.load());
    object_ = std::make_unique<ebpf::Object>(std::move(object));
    for (const char* name : {"bl_limit", "bl_fq"})
        kernel_.add_map(name, TRY(object_->map(name)));
    return look_at_devices();
}

Result<> Shaper::attach(const model::Workload& workload) {
    if (!workload.bandwidth.limited()) return {};
    TRY(load());
    const auto map = TRY((ebpf::Map<std::uint32_t, bl_limit>::of(TRY(object_->map("bl_limit")))));
    bl_limit limit{};
    limit.way[BL_DIR_EGRESS] = limit_way(workload.bandwidth.egress);
    limit.way[BL_DIR_INGRESS] = limit_way(workload.bandwidth.ingress);
    const auto known = TRY(map.lookup(workload.id));
    if (!known || !same(known->way[0], limit.way[0]) || !same(known->way[1], limit.way[1]))
        TRY(map.update(workload.id, limit));
    if (workload.bandwidth.egress.bits_per_second != 0) {
        const int program = TRY(object_->program("bl_limit_out"));
        const int ifindex = static_cast<int>(workload.ifindex);
        if (kernel_.tcx()) {
            TRY(ebpf::attach_pinned(program, Hook::tcx_ingress, ifindex,
                                    link(workload, "limit_out"), true));
        } else {
            TRY(ebpf::attach_clsact(program, Hook::tcx_ingress, ifindex, kHandle));
        }
    }
    if (workload.bandwidth.ingress.bits_per_second != 0) TRY(attach_inside(workload));
    return {};
}

// What is redirected to the workload meets no program of the host side any more.
Result<> Shaper::attach_inside(const model::Workload& workload) {
    const int program = TRY(object_->program("bl_limit_in"));
    const auto netns = TRY(net::Namespace::open(workload.netns));
    if (netns.inode() != workload.netns_inode)
        return fail(Code::not_found, "'{}' is another namespace now", workload.netns);
    auto inside = TRY(net::Netlink::open_in(netns));
    const int ifindex = static_cast<int>(TRY(inside.link(workload.interface)).index);
    const auto there = TRY(net::InNamespace::enter(netns));
    if (kernel_.tcx()) {
        return ebpf::attach_pinned(program, Hook::tcx_ingress, ifindex, link(workload, "limit_in"),
                                   true);
    }
    return ebpf::attach_clsact(program, Hook::tcx_ingress, ifindex, kHandle);
}

void Shaper::detach(const model::Workload& workload) {
    if (!workload.bandwidth.limited()) return;
    std::error_code ignored;
    fs::remove(link(workload, "limit_out"), ignored);
    fs::remove(link(workload, "limit_in"), ignored);
    if (!object_) return;
    const auto number = object_->map("bl_limit");
    if (!number) return;
    if (const auto map = ebpf::Map<std::uint32_t, bl_limit>::of(*number))
        (void)map->erase(workload.id);
}

void Shaper::detach_all_but(const std::vector<model::Workload>& workloads) {
    if (!object_) return;
    const auto number = object_->map("bl_limit");
    const auto map = number ? ebpf::Map<std::uint32_t, bl_limit>::of(*number)
                            : Result<ebpf::Map<std::uint32_t, bl_limit>>(Failure(number.error()));
    if (!map) return;
    std::set<std::uint32_t> kept;
    for (const auto& workload : workloads) {
        if (workload.bandwidth.limited()) kept.insert(workload.id);
    }
    std::vector<std::uint32_t> stale;
    (void)map->for_each([&](std::uint32_t id, const bl_limit&) {
        if (!kept.contains(id)) stale.push_back(id);
    });
    for (const auto id : stale)
        (void)map->erase(id);
}

Result<> Shaper::look_at_devices() {
    if (!object_) return {};
    auto netlink = TRY(net::Netlink::open());
    auto found = net::devices_with_fq(TRY(net::list_qdiscs(netlink)));
    const auto map = TRY((ebpf::Map<std::uint32_t, std::uint32_t>::of(TRY(object_->map("bl_fq")))));
    std::vector<std::uint32_t> stale;
    TRY(map.for_each([&](std::uint32_t ifindex, std::uint32_t) {
        if (!found.contains(ifindex)) stale.push_back(ifindex);
    }));
    for (const auto ifindex : stale)
        TRY(map.erase(ifindex));
    for (const auto ifindex : found)
        TRY(map.update(ifindex, 1));
    fq_ = std::move(found);
    return {};
}

Result<bl_limit> Shaper::usage(const model::Workload& workload) const {
    if (!object_) return fail(Code::not_found, "no limit is in force");
    const auto map = TRY((ebpf::Map<std::uint32_t, bl_limit>::of(TRY(object_->map("bl_limit")))));
    const auto limit = TRY(map.lookup(workload.id));
    if (!limit) return fail(Code::not_found, "its limits are not in force");
    return *limit;
}

} // namespace beeline::datapath
