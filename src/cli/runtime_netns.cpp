#include "cli/runtime_netns.h"

#include "net/namespace.h"
#include "net/netlink.h"
#include "net/sysctl.h"

namespace beeline::cli {
namespace {

Result<> prepare(const std::string& path) {
    const auto netns = TRY(net::Namespace::open(path));
    const auto inside = TRY(net::InNamespace::enter(netns));
    auto netlink = TRY(net::Netlink::open());
    const auto loopback = TRY(netlink.link("lo"));
    net::LinkChange up;
    up.up = true;
    TRY(netlink.run(net::change_link(loopback.index, up)));
    TRY(net::write_sysctl("net/ipv4/ip_unprivileged_port_start", "0"));
    return net::write_sysctl("net/ipv4/ping_group_range", "0 2147483647");
}

} // namespace

Result<> netns_create(const std::string& path) {
    TRY(net::create_named(path));
    auto prepared = prepare(path);
    if (!prepared) (void)net::delete_named(path);
    return prepared;
}

} // namespace beeline::cli
