// Raw ring records and names for this folder's tests.
#pragma once

#include <arpa/inet.h>

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "abi/drop.h"
#include "abi/flow.h"
#include "abi/identity.h"
#include "abi/policy.h"
#include "model/directory.h"
#include "net/address.h"

namespace beeline::observe::testing {

inline constexpr std::uint32_t kClientIdentity = 300;
inline constexpr std::uint32_t kServerIdentity = 301;
inline constexpr std::uint32_t kClientEndpoint = 7;
inline constexpr std::uint32_t kServerEndpoint = 8;

inline net::Ip ip(std::string_view text) { return net::Ip::parse(text).value(); }

inline bl_addr addr(std::string_view text) {
    bl_addr out;
    std::memcpy(out.byte, ip(text).bytes.data(), sizeof out.byte);
    return out;
}

inline bl_process process(std::uint32_t pid, std::string_view comm,
                          std::uint64_t start_ns = 5'000'000'000) {
    bl_process out{};
    out.start_ns = start_ns;
    out.cgroup = 77;
    out.pid = pid;
    out.uid = 1000;
    std::memcpy(out.comm, comm.data(), std::min(comm.size(), sizeof out.comm));
    return out;
}

// shop/client 10.1.0.2:40000 opens shop/web 10.1.0.3:8080, through service 10.96.0.1:80.
inline bl_flow_event opened() {
    bl_flow_event event{};
    event.time_ns = 1'000'000'000;
    event.opened_ns = 1'000'000'000;
    event.key.src = addr("10.1.0.2");
    event.key.dst = addr("10.1.0.3");
    event.key.sport = htons(40000);
    event.key.dport = htons(8080);
    event.key.proto = 6;
    event.svc_addr = addr("10.96.0.1");
    event.svc_port = htons(80);
    event.packets[0] = 1;
    event.bytes[0] = 60;
    event.process[0] = process(100, "curl");
    event.identity[0] = kClientIdentity;
    event.identity[1] = kServerIdentity;
    event.endpoint[0] = kClientEndpoint;
    event.endpoint[1] = kServerEndpoint;
    event.rule[BL_DIR_INGRESS] = 11;
    event.ifindex = 5;
    event.kind = BL_FLOW_opened;
    event.hook = BL_AT_FROM_POD;
    event.tcp_flags[0] = 0x02;
    return event;
}

inline bl_flow_event closed() {
    bl_flow_event event = opened();
    event.time_ns += 1'500'000'000;
    event.kind = BL_FLOW_closed;
    event.process[1] = process(200, "nginx");
    event.packets[0] = 6;
    event.packets[1] = 5;
    event.bytes[0] = 500;
    event.bytes[1] = 9000;
    event.tcp_flags[0] = 0x13;
    event.tcp_flags[1] = 0x1b;
    event.hook = BL_AT_SWEEP;
    return event;
}

// shop/client -> shop/web:5432, refused because nothing allows it.
inline bl_flow_event denied(std::uint8_t direction = BL_DIR_INGRESS) {
    bl_flow_event event = opened();
    event.opened_ns = 0;
    event.svc_addr = {};
    event.svc_port = 0;
    event.key.dport = htons(5432);
    event.rule[BL_DIR_INGRESS] = 0;
    event.kind = BL_FLOW_dropped;
    event.reason = BL_DROP_POLICY_DENIED;
    event.direction = direction;
    return event;
}

inline std::span<const std::byte> bytes(const bl_flow_event& event) {
    return std::as_bytes(std::span(&event, 1));
}

inline std::shared_ptr<model::Directory> directory() {
    using Kind = model::FlowEnd::Kind;
    auto out = std::make_shared<model::Directory>();
    out->by_address[ip("10.1.0.2")] = {Kind::workload,
                                       kClientEndpoint,
                                       kClientIdentity,
                                       "shop",
                                       "client",
                                       {{"app", "client"}},
                                       5,
                                       77};
    out->by_address[ip("10.1.0.3")] = {Kind::workload,
                                       kServerEndpoint,
                                       kServerIdentity,
                                       "shop",
                                       "web",
                                       {{"app", "web"}, {"tier", "front"}},
                                       6,
                                       78};
    out->by_address[ip("10.1.0.1")] = {Kind::host, 0, BL_ID_host, "", "", {}};
    out->by_address[ip("10.2.0.9")] = {Kind::remote, 0, 310, "shop", "far", {{"app", "far"}}};
    out->rules[11] = "NetworkPolicy shop/allow-web ingress[0]";
    out->rules[12] = "NetworkPolicy shop/client-out egress[1]";
    out->subjects[kServerIdentity].selecting[BL_DIR_INGRESS] = {"NetworkPolicy shop/allow-web",
                                                                "NetworkPolicy shop/deny"};
    out->subjects[kClientIdentity].selecting[BL_DIR_EGRESS] = {"NetworkPolicy shop/client-out"};
    out->services[{ip("10.96.0.1"), 80, model::Protocol::tcp}] = "shop/web";
    out->interfaces[5] = "bl0123456789";
    return out;
}

} // namespace beeline::observe::testing
