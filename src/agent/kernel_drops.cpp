#include "agent/kernel_drops.h"

#include <array>
#include <set>

#include "base/log.h"
#include "model/protocol.h"
#include "observe/json.h"

namespace beeline::agent {
namespace {

using nlohmann::json;

struct Explanation {
    std::string_view reason; // "TCP_*": all that begin so and have none of their own
    std::string_view text;
};
// The more special first.
constexpr std::array kExplanations{
    Explanation{"NO_SOCKET", "nobody listens on that port there"},
    Explanation{"SOCKET_CLOSE", "the socket was closed while the packet was on its way"},
    Explanation{"SOCKET_FILTER", "a filter on the receiving socket refused it"},
    Explanation{"SOCKET_RCVBUFF", "the receiving socket's buffer is full: the program reads too "
                                  "slowly, or its buffer (SO_RCVBUF) is too small"},
    Explanation{"SOCKET_BACKLOG", "the receiving socket is busy and its backlog is full"},
    Explanation{"PROTO_MEM", "the kernel's memory for this protocol is used up "
                             "(net.ipv4.tcp_mem, net.ipv4.udp_mem)"},
    Explanation{"NETFILTER_DROP",
                "a firewall rule (nftables or iptables) dropped it: 'nft list ruleset' there"},
    Explanation{"IP_RPFILTER", "reverse path filter: the way back to the source leads through "
                               "another interface (net.ipv4.conf.*.rp_filter)"},
    Explanation{"IP_OUTNOROUTES", "there is no route to the destination"},
    Explanation{"IP_INNOROUTES", "it came in for an address that no route leads to"},
    Explanation{"IP_INADDRERRORS", "it came in for an address that is not this machine's, and "
                                   "forwarding is off"},
    Explanation{"IP_INVALID_SOURCE", "its source address is not allowed there"},
    Explanation{"IP_LOCAL_SOURCE", "its source address is one of the receiver's own"},
    Explanation{"IP_LOCALNET", "a loopback address outside of loopback"},
    Explanation{"IP_NOPROTO", "nothing there takes this protocol"},
    Explanation{"IP_CSUM", "wrong IP checksum"},
    Explanation{"IP_INHDR", "broken IP header"},
    Explanation{"IPV6DISABLED", "IPv6 is switched off on that interface"},
    Explanation{"OTHERHOST", "the frame was for another station"},
    Explanation{"UNHANDLED_PROTO", "nothing there takes this kind of frame"},
    Explanation{"NEIGH_FAILED", "the next hop does not answer ARP or neighbour discovery"},
    Explanation{"NEIGH_QUEUEFULL",
                "the next hop has not answered yet, and no more packets are kept for it"},
    Explanation{"NEIGH_CREATEFAIL",
                "the table of neighbours is full (net.ipv4.neigh.*.gc_thresh3)"},
    Explanation{"NEIGH_*", "the next hop on the link could not be reached"},
    Explanation{"PKT_TOO_BIG", "larger than the path allows (MTU), and not to be cut"},
    Explanation{"PKT_TOO_SMALL", "shorter than its headers say"},
    Explanation{"QDISC_*", "a queue of the sending interface is full or limits the rate"},
    Explanation{"FQ_*", "the fair queue of the sending interface is over a limit"},
    Explanation{"CPU_BACKLOG", "packets came faster than a CPU could take them "
                               "(net.core.netdev_max_backlog)"},
    Explanation{"FULL_RING", "the interface's ring is full: the receiver is too slow"},
    Explanation{"DEV_READY", "the interface is down"},
    Explanation{"XDP", "an XDP program dropped it"},
    Explanation{"BPF_CGROUP_EGRESS", "a BPF program of the sender's cgroup refused it"},
    Explanation{"SECURITY_HOOK", "a Linux security module refused it"},
    Explanation{"XFRM_POLICY", "an IPsec policy refused it"},
    Explanation{"NOMEM", "the kernel had no memory for it"},
    Explanation{"TCP_LISTEN_OVERFLOW",
                "the listener's queue is full: the server accepts too slowly, "
                "or its backlog is too small (net.core.somaxconn)"},
    Explanation{"TCP_CSUM", "wrong TCP checksum"},
    Explanation{"UDP_CSUM", "wrong UDP checksum"},
    Explanation{"TCP_ZEROWINDOW", "the receiver's window is closed: its program does not read"},
    Explanation{"TCP_OVERWINDOW", "more data than the receiver's window allows"},
    Explanation{"TCP_RESET", "it reset the connection, which is usual for a peer that gives up"},
    Explanation{"TCP_CLOSE", "the connection was closed already"},
    Explanation{"TCP_INVALID_SYN", "an opening packet that no connection can begin with"},
    Explanation{"TCP_OLD_*", "a repetition of what had arrived already; harmless"},
    Explanation{"TCP_OFOMERGE", "a repetition of what had arrived already; harmless"},
    Explanation{"TCP_OFO_*", "data out of order, for which there was no room"},
    Explanation{"TCP_MD5*", "a signature (TCP MD5) that does not fit"},
    Explanation{"TCP_AO*", "a signature (TCP-AO) that does not fit"},
    Explanation{"TCP_*", "the receiver's TCP did not accept the segment"},
    Explanation{"FRAG_*", "its fragments did not arrive together"},
    Explanation{"DUP_FRAG", "the same fragment twice"},
    Explanation{"VXLAN_*", "a tunnel packet that fits no tunnel here"},
};

std::set<std::uint64_t> namespaces_of(const std::vector<model::Workload>& workloads) {
    std::set<std::uint64_t> out;
    for (const auto& workload : workloads)
        if (workload.netns_inode != 0) out.insert(workload.netns_inode);
    return out;
}

} // namespace

void KernelDropWatch::begin(const datapath::Kernel& kernel) {
    loading_ =
        std::async(std::launch::async, [&kernel] { return datapath::KernelDrops::start(kernel); });
}

void KernelDropWatch::finish(const std::vector<model::Workload>& workloads) {
    auto loaded = loading_.get();
    if (!loaded) {
        error_ = loaded.error().message;
        log_warn("the kernel's own drops are not seen", kv("why", error_));
        return;
    }
    drops_ = std::move(*loaded);
    set_workloads(workloads);
}

void KernelDropWatch::set_workloads(const std::vector<model::Workload>& workloads) {
    if (drops_) drops_->set_namespaces(namespaces_of(workloads));
}

json KernelDropWatch::status() const {
    if (!drops_) return {{"error", error_}};
    const auto sums = drops_->sums();
    if (!sums) return {{"error", sums.error().message}};
    return {{"reasons", json(*sums)}, {"remembered", drops_->capacity()}};
}

std::string_view explain_drop(std::string_view reason) {
    for (const auto& one : kExplanations) {
        const bool family = one.reason.ends_with('*');
        if (family ? reason.starts_with(one.reason.substr(0, one.reason.size() - 1))
                   : reason == one.reason)
            return one.text;
    }
    return {};
}

json KernelDropDocuments::end(const net::Ip& address) const {
    json out{{"address", address.to_string()}};
    const auto found = directory_.by_address.find(address);
    if (found == directory_.by_address.end()) return out;
    if (found->second.kind == model::FlowEnd::Kind::host) out["kind"] = "host";
    if (found->second.name.empty()) return out;
    out["namespace"] = found->second.space;
    out["name"] = found->second.name;
    return out;
}

json KernelDropDocuments::operator()(const datapath::KernelDrop& drop) {
    json out{{"source", end(drop.source)},
             {"destination", end(drop.destination)},
             {"protocol", model::to_string(static_cast<model::Protocol>(drop.protocol))},
             {"reason", drop.reason},
             {"text", explain_drop(drop.reason)},
             {"count", drop.count}};
    if (drop.port != 0) out["port"] = drop.port;
    if (drop.answer) out["answer"] = true;
    if (!drop.function.empty()) out["function"] = drop.function;
    if (drop.netns_inode != 0) {
        out["where"] = drop.on_node ? "the node" : "a workload that is gone";
        for (const auto& workload : workloads_)
            if (workload.netns_inode == drop.netns_inode) out["where"] = workload.name.to_string();
    }
    for (const auto& [name, time] : {std::pair{"first", drop.first_ns}, {"last", drop.last_ns}}) {
        std::string text;
        observe::append_time(text, clock_.realtime(time));
        out[name] = std::move(text);
    }
    return out;
}

Result<json> kernel_drops_document(const KernelDropWatch& watch, const model::Directory& directory,
                                   const std::vector<model::Workload>& workloads,
                                   std::size_t limit) {
    if (watch.drops() == nullptr) return fail(Code::unavailable, "{}", watch.error());
    auto all = TRY(watch.drops()->list());
    if (all.size() > limit) all.resize(limit);
    KernelDropDocuments document(directory, workloads);
    json list = json::array();
    for (const auto& drop : all)
        list.push_back(document(drop));
    return json{{"drops", std::move(list)}};
}

} // namespace beeline::agent
