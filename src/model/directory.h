// Names for what the datapath knows by number and address: an immutable snapshot, swapped whole,
// read by any thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "model/flow.h"
#include "model/labels.h"
#include "net/address.h"

namespace beeline::model {

struct Directory {
    struct Entry {
        FlowEnd::Kind kind = FlowEnd::Kind::world;
        std::uint32_t endpoint = 0; // Workload::id
        std::uint32_t identity = 0;
        std::string space;
        std::string name;
        Labels labels;
        std::uint32_t ifindex = 0; // of a workload here: host side of its link; 0: none
        std::uint64_t cgroup = 0;  // of a workload here: cgroup2 id; 0: not known
    };
    struct Subject {
        // Titles of the policies that isolate this identity, by Direction.
        std::array<std::vector<std::string>, 2> selecting;
    };

    std::unordered_map<net::Ip, Entry> by_address;
    std::unordered_map<std::uint32_t, std::string> rules;      // rule id -> title
    std::unordered_map<std::uint32_t, Subject> subjects;       // identity -> who isolates it
    std::unordered_map<std::uint32_t, std::string> identities; // identity -> text for people
    std::map<std::tuple<net::Ip, std::uint16_t, Protocol>, std::string> services; // -> "shop/web"
    std::unordered_map<std::uint32_t, std::string> interfaces;                    // ifindex -> name
};

} // namespace beeline::model
