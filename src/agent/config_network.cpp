#include "agent/config_network.h"

namespace beeline::agent {

Result<> read_node_paths(const source::yaml::Map& map, datapath::NodePathOptions& out) {
    using datapath::NodeMode;
    const std::string mode = TRY(map.choice_or("mode", {"none", "vxlan", "direct"}, "none"));
    out.mode = mode == "vxlan"    ? NodeMode::vxlan
               : mode == "direct" ? NodeMode::direct
                                  : NodeMode::none;
    const auto vxlan = TRY(map.map("vxlan", {"port", "vni"}));
    if (!vxlan) return {};
    out.port = static_cast<std::uint16_t>(TRY(vxlan->integer_or("port", 1, 65535, out.port)));
    out.vni = static_cast<std::uint32_t>(TRY(vxlan->integer_or("vni", 1, (1 << 24) - 1, out.vni)));
    return {};
}

} // namespace beeline::agent
