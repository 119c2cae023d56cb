// Services, slices and pods -> entries of bl_svc, bl_slot and bl_backend.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "datapath/compile.h"

namespace beeline::datapath {

struct ServiceTables {
    Table<bl_svc_key, bl_svc> services;
    Table<bl_slot_key, std::uint32_t> slots;
    Table<std::uint32_t, bl_backend> backends;
    std::vector<GoneBackend> gone;
    std::vector<HostPortRoute> host_ports;
    std::vector<std::string> warnings;
    std::map<std::tuple<net::Ip, std::uint16_t, model::Protocol>, std::string> names;
};

// `owned`: does an address belong to the host, a workload or a pod? Then it is not led on to a service.
ServiceTables compile_services(const CompileInput& input,
                               const std::function<bool(const net::Ip&)>& owned);

} // namespace beeline::datapath
