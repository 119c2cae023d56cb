#include "datapath/firewall.h"

#include <nftables/libnftables.h>

#include <memory>

#include "abi/config.h"

namespace beeline::datapath {
namespace {

struct Free {
    void operator()(nft_ctx* context) const { nft_ctx_free(context); }
};

Result<> run(const std::string& commands) {
    const std::unique_ptr<nft_ctx, Free> context(nft_ctx_new(NFT_CTX_DEFAULT));
    if (context == nullptr) return fail(Code::system, "cannot open nftables");
    nft_ctx_buffer_output(context.get());
    nft_ctx_buffer_error(context.get());
    if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0) {
        return fail(Code::system, "nftables refused the node's rules: {}",
                    nft_ctx_get_error_buffer(context.get()));
    }
    return {};
}

std::string masquerade(const char* family, const net::Prefix& range,
                       const std::vector<net::Prefix>& cluster) {
    std::string text;
    for (const auto& other : cluster) {
        if (other.is_v4() == range.is_v4())
            text +=
                fmt::format("add rule inet beeline outward {0} saddr {1} {0} daddr {2} accept\n",
                            family, range.to_string(), other.to_string());
    }
    return text +
           fmt::format("add rule inet beeline outward {0} saddr {1} {0} daddr != {1} oifname "
                       "!= \"bl*\" masquerade\n",
                       family, range.to_string());
}

std::string chain(const char* name, const char* hook) {
    return fmt::format("add chain inet beeline {0} {{ type {1}; policy accept; }}\n"
                       "flush chain inet beeline {0}\n",
                       name, hook);
}

// Of a map for each family: address, protocol and port of the node -> address and port of the workload.
std::string host_port_maps() {
    std::string text;
    for (const char* family : {"4", "6"}) {
        text += fmt::format(
            "add map inet beeline hostports{0} {{ type ipv{0}_addr . inet_proto . inet_service : "
            "ipv{0}_addr . inet_service; }}\n",
            family);
    }
    return text;
}

std::string host_port_rules(const char* chain) {
    return fmt::format(
        "add rule inet beeline {0} dnat ip to ip daddr . meta l4proto . th dport map @hostports4\n"
        "add rule inet beeline {0} dnat ip6 to ip6 daddr . meta l4proto . th dport map "
        "@hostports6\n",
        chain);
}

} // namespace

Result<> install_firewall(const FirewallOptions& options) {
    std::string text = "add table inet beeline\n";
    text += chain("refused", "filter hook prerouting priority mangle");
    text += fmt::format(
        "add rule inet beeline refused meta mark {0:#x} meta l4proto tcp reject with tcp reset\n"
        "add rule inet beeline refused meta mark {0:#x} reject with icmpx type port-unreachable\n",
        BL_MARK_REFUSE);
    text += chain("outward", "nat hook postrouting priority srcnat");
    // Every flow inside has an outer port of its own: tracking them would cost more than the tunnel.
    for (const char* hook : {"prerouting", "output"}) {
        const auto name = fmt::format("tunnel_{}", hook);
        text += chain(name.c_str(), fmt::format("filter hook {} priority raw", hook).c_str());
        if (options.tunnel_port != 0)
            text += fmt::format("add rule inet beeline {} udp dport {} notrack\n", name,
                                options.tunnel_port);
    }
    if (options.masquerade) {
        if (options.range4) text += masquerade("ip", *options.range4, options.cluster);
        if (options.range6) text += masquerade("ip6", *options.range6, options.cluster);
    }
    text += host_port_maps();
    text +=
        chain("hostports", "nat hook prerouting priority dstnat") + host_port_rules("hostports");
    // Only for sockets that no hook translates.
    text +=
        chain("hostports_own", "nat hook output priority -100") + host_port_rules("hostports_own");
    return run(text);
}

Result<> set_host_ports(const std::vector<HostPortRoute>& routes) {
    std::string text = "flush map inet beeline hostports4\nflush map inet beeline hostports6\n";
    for (const auto& route : routes) {
        text += fmt::format("add element inet beeline hostports{} {{ {} . {} . {} : {} . {} }}\n",
                            route.address.is_v4() ? 4 : 6, route.address.to_string(),
                            static_cast<unsigned>(route.protocol), route.port, route.to.to_string(),
                            route.target);
    }
    return run(text);
}

Result<> remove_firewall() { return run("add table inet beeline\ndelete table inet beeline\n"); }

} // namespace beeline::datapath
