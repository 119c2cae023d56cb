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
            text += fmt::format("    {0} saddr {1} {0} daddr {2} accept\n", family,
                                range.to_string(), other.to_string());
    }
    return text + fmt::format("    {0} saddr {1} {0} daddr != {1} oifname != \"bl*\" masquerade\n",
                              family, range.to_string());
}

} // namespace

Result<> install_firewall(const FirewallOptions& options) {
    std::string text = "add table inet beeline\ndelete table inet beeline\ntable inet beeline {\n";
    text += fmt::format("  chain refused {{\n"
                        "    type filter hook prerouting priority mangle; policy accept;\n"
                        "    meta mark {0:#x} meta l4proto tcp reject with tcp reset\n"
                        "    meta mark {0:#x} reject with icmpx type port-unreachable\n"
                        "  }}\n",
                        BL_MARK_REFUSE);
    // Every flow inside has an outer port of its own: tracking them would cost more than the tunnel.
    if (options.tunnel_port != 0) {
        for (const char* hook : {"prerouting", "output"})
            text += fmt::format(
                "  chain tunnel_{0} {{\n    type filter hook {0} priority raw; policy accept;\n"
                "    udp dport {1} notrack\n  }}\n",
                hook, options.tunnel_port);
    }
    if (options.masquerade) {
        text +=
            "  chain outward {\n    type nat hook postrouting priority srcnat; policy accept;\n";
        if (options.range4) text += masquerade("ip", *options.range4, options.cluster);
        if (options.range6) text += masquerade("ip6", *options.range6, options.cluster);
        text += "  }\n";
    }
    text += "}\n";
    return run(text);
}

Result<> remove_firewall() { return run("add table inet beeline\ndelete table inet beeline\n"); }

} // namespace beeline::datapath
