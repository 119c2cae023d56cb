#include "datapath/kernel_drops.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <string_view>

#include "abi/kernel_drop.h"
#include "base/log.h"
#include "ebpf/link.h"
#include "ebpf/map.h"
#include "ebpf/types.h"
#include "kernel_drop.skel.h"

namespace beeline::datapath {
namespace {

constexpr std::string_view kPrefix = "SKB_DROP_REASON_";
// No drops (data that a closed socket had not read are none either), those of which the kernel says nothing, and those of
// programs at Beeline's own hooks.
constexpr std::array<std::string_view, 6> kSkipped{
    "SKB_DROP_REASON_QUEUE_PURGE",   "SKB_NOT_DROPPED_YET",        "SKB_CONSUMED",
    "SKB_DROP_REASON_NOT_SPECIFIED", "SKB_DROP_REASON_TC_INGRESS", "SKB_DROP_REASON_TC_EGRESS"};
// Ends of the list and masks.
constexpr std::array<std::string_view, 2> kNoReasons{"SKB_DROP_REASON_MAX",
                                                     "SKB_DROP_REASON_SUBSYS_MASK"};
constexpr unsigned kReasonArgument = 3;
constexpr unsigned kSocketArgument = 4;
constexpr std::size_t kMostFunctions = 1024;

net::Ip to_ip(const bl_addr& addr) {
    net::Ip ip;
    std::copy(std::begin(addr.byte), std::end(addr.byte), ip.bytes.begin());
    return ip;
}

// The functions that hold these addresses. The table has some hundred thousand lines, so it is gone through once for all.
std::map<std::uint64_t, std::string> functions_at(const std::vector<std::uint64_t>& addresses) {
    struct Best {
        std::uint64_t start = 0;
        std::string name;
    };
    std::vector<Best> best(addresses.size());
    std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen("/proc/kallsyms", "re"), std::fclose);
    std::array<char, 1024> line{};
    while (file && std::fgets(line.data(), line.size(), file.get()) != nullptr) {
        std::string_view text(line.data());
        std::uint64_t start = 0;
        const auto number = std::from_chars(text.begin(), text.end(), start, 16);
        text.remove_prefix(static_cast<std::size_t>(number.ptr - text.begin()));
        if (start == 0 || text.size() < 4 || (text[1] != 't' && text[1] != 'T')) continue;
        text.remove_prefix(3);
        const auto name = text.substr(0, text.find_first_of("\t\n"));
        for (std::size_t i = 0; i < addresses.size(); ++i) {
            if (start <= addresses[i] && start > best[i].start)
                best[i] = {start, std::string(name)};
        }
    }
    std::map<std::uint64_t, std::string> out;
    for (std::size_t i = 0; i < addresses.size(); ++i)
        out[addresses[i]] = std::move(best[i].name);
    return out;
}

} // namespace

Result<std::unique_ptr<KernelDrops>> KernelDrops::start(const Kernel& kernel) {
    std::optional<std::vector<std::pair<std::string, std::uint32_t>>> reasons;
    std::optional<unsigned> arguments;
    {
        const auto types = TRY(ebpf::KernelTypes::read());
        reasons = types.enumeration("skb_drop_reason");
        arguments = types.tracepoint_arguments("kfree_skb");
    }
    if (!reasons || arguments.value_or(0) < kReasonArgument)
        return fail(Code::unsupported,
                    "this kernel does not tell why it drops packets (5.17 and newer do)");

    std::size_t size = 0;
    const void* elf = kernel_drop_bpf__elf_bytes(&size);
    std::unique_ptr<KernelDrops> out(new KernelDrops(
        TRY(ebpf::Object::open("kernel_drop", {static_cast<const std::byte*>(elf), size}))));
    auto& object = out->object_;
    bl_kdrop_config config{};
    config.has_socket = *arguments >= kSocketArgument ? 1 : 0;
    for (const auto& [name, number] : *reasons) {
        if (std::find(kNoReasons.begin(), kNoReasons.end(), name) != kNoReasons.end()) continue;
        const std::string_view text(name);
        out->reasons_[number] =
            text.starts_with(kPrefix) ? std::string(text.substr(kPrefix.size())) : name;
        if (number < BL_KDROP_REASONS &&
            std::find(kSkipped.begin(), kSkipped.end(), name) != kSkipped.end())
            config.skipped[number / 64] |= 1ULL << (number % 64);
    }
    TRY(object.set_rodata({reinterpret_cast<const std::byte*>(&config), sizeof config}));
    for (const char* map : {"bl_endpoint", "bl_ipcache", "bl_identity", "bl_metric", "bl_drop"})
        TRY(object.share_map(map, TRY(kernel.map(map))));
    TRY(object.load());
    out->drops_ = TRY(object.map("bl_kdrop"));
    out->sums_ = TRY(object.map("bl_kdrop_sum"));
    out->namespaces_ = TRY(object.map("bl_kdrop_ns"));
    out->capacity_ = TRY(ebpf::map_info(out->drops_)).max_entries;
    struct stat status{};
    if (stat("/proc/self/ns/net", &status) == 0) out->own_namespace_ = status.st_ino;
    out->set_namespaces({});
    out->link_ = TRY(ebpf::attach_tp_btf(TRY(object.program("bl_on_kfree_skb"))));
    return out;
}

void KernelDrops::set_namespaces(const std::set<std::uint64_t>& wanted) {
    std::set<std::uint64_t> all = wanted;
    all.insert(own_namespace_);
    const std::uint32_t unused = 0;
    std::set<std::uint64_t> known;
    for (const std::uint64_t inode : all) {
        const auto key = static_cast<std::uint32_t>(inode); // as the kernel has them
        if (known_namespaces_.contains(inode) || ebpf::map_update(namespaces_, &key, &unused))
            known.insert(inode);
    }
    for (const std::uint64_t inode : known_namespaces_) {
        const auto key = static_cast<std::uint32_t>(inode);
        if (!all.contains(inode)) (void)ebpf::map_erase(namespaces_, &key);
    }
    if (known.size() != all.size())
        log_warn("drops of some workloads are not seen", kv("count", all.size() - known.size()));
    known_namespaces_ = std::move(known);
}

std::string KernelDrops::reason_name(std::uint32_t reason) const {
    if (const auto found = reasons_.find(reason); found != reasons_.end()) return found->second;
    // Subsystems number their own in the lower half.
    return reason > 0xffff ? fmt::format("SUBSYSTEM_{}_{}", reason >> 16, reason & 0xffff)
                           : fmt::format("REASON_{}", reason);
}

Result<std::vector<KernelDrop>> KernelDrops::list() const {
    const auto map = TRY((ebpf::Map<bl_kdrop_key, bl_kdrop>::of(drops_)));
    std::vector<KernelDrop> out;
    std::vector<std::uint64_t> locations;
    TRY(map.for_each([&](const bl_kdrop_key& key, const bl_kdrop& value) {
        KernelDrop drop;
        drop.source = to_ip(key.src);
        drop.destination = to_ip(key.dst);
        drop.protocol = key.proto;
        drop.port = __builtin_bswap16(key.port);
        drop.answer = (key.flags & BL_KDROP_SOURCE_PORT) != 0;
        drop.reason = reason_name(key.reason);
        drop.netns_inode = key.netns;
        drop.on_node = key.netns != 0 && key.netns == own_namespace_;
        drop.count = value.count;
        drop.first_ns = value.first_ns;
        drop.last_ns = value.last_ns;
        out.push_back(std::move(drop));
        locations.push_back(value.location);
    }));
    {
        const std::lock_guard lock(mutex_);
        if (functions_.size() > kMostFunctions) functions_.clear();
        std::set<std::uint64_t> unknown;
        for (const auto location : locations)
            if (!functions_.contains(location)) unknown.insert(location);
        if (!unknown.empty()) functions_.merge(functions_at({unknown.begin(), unknown.end()}));
        for (std::size_t i = 0; i < out.size(); ++i)
            out[i].function = functions_[locations[i]];
    }
    std::sort(out.begin(), out.end(),
              [](const auto& a, const auto& b) { return a.last_ns > b.last_ns; });
    return out;
}

Result<std::map<std::string, std::uint64_t>> KernelDrops::sums() const {
    const auto counts = TRY(ebpf::per_cpu_sums(sums_));
    std::map<std::string, std::uint64_t> out;
    for (std::uint32_t reason = 0; reason < counts.size(); ++reason) {
        if (counts[reason] == 0) continue;
        out[reason == 0 ? "OTHER" : reason_name(reason)] += counts[reason];
    }
    return out;
}

} // namespace beeline::datapath
