// Flows for the tests of this folder.
#pragma once

#include <memory>

#include "abi/drop.h"
#include "api/hubble/convert.h"
#include "model/flow.h"

namespace beeline::hubble::testing {

inline constexpr std::int64_t kTime = 1'700'000'000'123'456'789;

inline model::FlowEnd pod(const char* space, const char* name, const char* address,
                          std::uint32_t id, model::Labels labels) {
    model::FlowEnd end;
    end.kind = model::FlowEnd::Kind::workload;
    end.address = net::Ip::parse(address).value();
    end.identity = 1000 + id;
    end.endpoint = id;
    end.space = space;
    end.name = name;
    end.labels = std::move(labels);
    return end;
}

inline model::FlowEnd world(const char* address) {
    model::FlowEnd end;
    end.kind = model::FlowEnd::Kind::world;
    end.address = net::Ip::parse(address).value();
    end.identity = 2;
    return end;
}

// blog/client -> shop/web-0:80 over TCP
inline model::Flow opened() {
    model::Flow flow;
    flow.number = 42;
    flow.time_ns = kTime;
    flow.opened_ns = kTime;
    flow.source = pod("blog", "client", "10.0.0.1", 7, {{"app", "client"}});
    flow.source.port = 40000;
    flow.source.process = {77, 0, 5, "curl", "/usr/bin/curl", "root", "", {"/bin/sh"}};
    flow.destination = pod("shop", "web", "10.0.0.2", 8, {{"app", "web"}, {"tier", "front"}});
    flow.destination.port = 80;
    flow.tcp_flags[0] = 0x02;
    return flow;
}

inline model::Flow dropped() {
    model::Flow flow = opened();
    flow.kind = model::Flow::Kind::dropped;
    flow.verdict = model::Flow::Verdict::dropped;
    flow.reason = BL_DROP_POLICY_DENIED;
    flow.denied_direction = "ingress";
    flow.denied_by = {"NetworkPolicy shop/deny"};
    return flow;
}

inline model::Flow http(bool response) {
    model::Flow flow = opened();
    flow.kind = model::Flow::Kind::l7;
    model::L7 l7;
    l7.protocol = model::L7::Protocol::http;
    l7.type = response ? model::L7::Type::response : model::L7::Type::request;
    l7.status = response ? model::L7::Status::ok : model::L7::Status::unknown;
    l7.code = response ? 200 : 0;
    l7.latency_ns = response ? 3'400'000 : 0;
    l7.method = "GET";
    l7.resource = "/cart";
    l7.url = "/cart?item=1";
    l7.host = "web.example";
    l7.version = "HTTP/1.1";
    l7.trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    l7.headers = {{"User-Agent", "curl"}};
    flow.l7 = std::make_shared<const model::L7>(std::move(l7));
    return flow;
}

inline model::Flow dns(bool response, unsigned code = 0) {
    model::Flow flow = opened();
    flow.kind = model::Flow::Kind::l7;
    flow.protocol = model::Protocol::udp;
    flow.destination.port = 53;
    model::L7 l7;
    l7.protocol = model::L7::Protocol::dns;
    l7.type = response ? model::L7::Type::response : model::L7::Type::request;
    l7.code = code;
    l7.resource = "example.com";
    l7.dns.question_types = {1};
    if (response && code == 0) {
        l7.dns.addresses = {net::Ip::parse("1.2.3.4").value(), net::Ip::parse("5.6.7.8").value()};
        l7.dns.names = {"x."};
        l7.dns.answer_types = {5, 1, 1};
        l7.dns.ttl_s = 30;
    }
    flow.l7 = std::make_shared<const model::L7>(std::move(l7));
    return flow;
}

inline Origin origin() { return {"node-1", "default", "1.2.3", {"zone=a"}}; }

} // namespace beeline::hubble::testing
