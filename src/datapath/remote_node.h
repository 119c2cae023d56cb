// Another machine of the cluster, as the maps say it.
#pragma once

#include <string>
#include <vector>

#include "abi/node.h"
#include "net/address.h"

namespace beeline::datapath {

struct RemoteNode {
    std::string name;
    std::string interface;           // towards it
    bl_node path{};                  // without `addr`: no way there is known
    std::vector<net::Ip> addresses;  // its own
    std::vector<net::Prefix> ranges; // of its pods
};

} // namespace beeline::datapath
