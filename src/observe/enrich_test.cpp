#include "observe/enrich.h"

#include <gtest/gtest.h>

#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
using EndKind = model::FlowEnd::Kind;

class Enrich : public ::testing::Test {
protected:
    void SetUp() override { enricher_.set_directory(directory()); }

    Record record(const bl_flow_event& raw) {
        return enricher_.enrich(decode_flow(bytes(raw)).value());
    }
    model::Flow flow(const bl_flow_event& raw) { return to_flow(record(raw), 1); }

    Enricher enricher_{"/nonexistent"};
};

TEST_F(Enrich, BothEndsServiceRuleAndInterface) {
    const model::Flow flow = this->flow(opened());
    EXPECT_EQ(flow.source.kind, EndKind::workload);
    EXPECT_EQ(flow.source.space, "shop");
    EXPECT_EQ(flow.source.name, "client");
    EXPECT_EQ(flow.source.labels, (model::Labels{{"app", "client"}}));
    EXPECT_EQ(flow.source.identity, kClientIdentity);
    EXPECT_EQ(flow.source.endpoint, kClientEndpoint);
    EXPECT_EQ(flow.source.address, ip("10.1.0.2"));
    EXPECT_EQ(flow.source.port, 40000);
    EXPECT_EQ(flow.source.process.pid, 100U);
    EXPECT_EQ(flow.source.process.comm, "curl");
    EXPECT_EQ(flow.source.process.uid, 1000U);
    EXPECT_EQ(flow.source.process.binary, "");
    EXPECT_EQ(flow.destination.name, "web");
    EXPECT_EQ(flow.destination.port, 8080);
    EXPECT_EQ(flow.destination.process.pid, 0U);
    EXPECT_EQ(flow.service, "shop/web");
    EXPECT_EQ(flow.service_address, ip("10.96.0.1"));
    EXPECT_EQ(flow.service_port, 80);
    EXPECT_EQ(flow.egress_rule, "");
    EXPECT_EQ(flow.ingress_rule, "NetworkPolicy shop/allow-web ingress[0]");
    EXPECT_EQ(flow.interface, "bl0123456789");
    EXPECT_EQ(flow.verdict, model::Flow::Verdict::forwarded);
    EXPECT_EQ(flow.denied_direction, "");
    EXPECT_TRUE(flow.denied_by.empty());
    EXPECT_EQ(flow.packets[0], 1U);
    EXPECT_EQ(flow.bytes[0], 60U);
    EXPECT_EQ(flow.tcp_flags[0], 0x02);
}

TEST_F(Enrich, DefaultDenyNamesThePoliciesOfTheSubject) {
    const model::Flow ingress = flow(denied(BL_DIR_INGRESS));
    EXPECT_EQ(ingress.verdict, model::Flow::Verdict::dropped);
    EXPECT_EQ(ingress.denied_direction, "ingress");
    EXPECT_EQ(ingress.denied_by, (std::vector<std::string>{"NetworkPolicy shop/allow-web",
                                                           "NetworkPolicy shop/deny"}));
    const model::Flow egress = flow(denied(BL_DIR_EGRESS));
    EXPECT_EQ(egress.denied_direction, "egress");
    EXPECT_EQ(egress.denied_by, (std::vector<std::string>{"NetworkPolicy shop/client-out"}));
}

TEST_F(Enrich, DenyByARuleNamesTheRule) {
    bl_flow_event raw = denied(BL_DIR_EGRESS);
    raw.reason = BL_DROP_POLICY_DENY;
    raw.rule[BL_DIR_EGRESS] = 12;
    const model::Flow flow = this->flow(raw);
    EXPECT_EQ(flow.denied_direction, "egress");
    EXPECT_EQ(flow.egress_rule, "NetworkPolicy shop/client-out egress[1]");
    EXPECT_TRUE(flow.denied_by.empty());
}

TEST_F(Enrich, RevokedIsADrop) {
    bl_flow_event raw = opened();
    raw.kind = BL_FLOW_revoked;
    raw.reason = BL_DROP_POLICY_DENIED;
    raw.direction = BL_DIR_INGRESS;
    raw.rule[BL_DIR_INGRESS] = 0;
    const model::Flow flow = this->flow(raw);
    EXPECT_EQ(flow.verdict, model::Flow::Verdict::dropped);
    EXPECT_EQ(flow.denied_by.size(), 2U);
}

TEST_F(Enrich, OtherDropsHaveNoDirection) {
    bl_flow_event raw = denied();
    raw.reason = BL_DROP_INVALID_SOURCE_MAC;
    const model::Flow flow = this->flow(raw);
    EXPECT_EQ(flow.reason, BL_DROP_INVALID_SOURCE_MAC);
    EXPECT_EQ(flow.denied_direction, "");
    EXPECT_TRUE(flow.denied_by.empty());
}

TEST_F(Enrich, EndsThatAreNoWorkloads) {
    struct Row {
        const char* address;
        std::uint32_t identity;
        EndKind kind;
        const char* name;
    };
    const Row rows[] = {
        {"10.1.0.1", BL_ID_host, EndKind::host, ""},
        {"10.1.0.99", BL_ID_host, EndKind::host, ""},
        {"192.0.2.1", BL_ID_world, EndKind::world, ""},
        {"192.0.2.1", 400, EndKind::world, ""}, // in a CIDR that a policy names
        {"192.0.2.1", 0, EndKind::world, ""},
        {"192.0.2.7", BL_ID_remote_node, EndKind::remote, ""},
        {"10.2.0.9", 310, EndKind::remote, "far"},
        {"fd00::9", BL_ID_world, EndKind::world, ""},
    };
    for (const Row& row : rows) {
        bl_flow_event raw = opened();
        raw.key.dst = addr(row.address);
        raw.identity[1] = row.identity;
        raw.endpoint[1] = 0;
        const model::Flow flow = this->flow(raw);
        EXPECT_EQ(flow.destination.kind, row.kind) << row.address;
        EXPECT_EQ(flow.destination.name, row.name) << row.address;
        EXPECT_EQ(flow.destination.identity, row.identity) << row.address;
        EXPECT_EQ(flow.destination.address, ip(row.address));
    }
}

TEST_F(Enrich, ForgedSourceIsNamedAfterItsSenderNotItsVictim) {
    bl_flow_event raw = denied();
    raw.reason = BL_DROP_INVALID_SOURCE_IP;
    raw.key.src = addr("10.1.0.3"); // web's address, on the client's interface
    raw.key.dst = addr("192.0.2.1");
    raw.identity[0] = raw.identity[1] = raw.endpoint[0] = raw.endpoint[1] = 0;
    const model::Flow inside = this->flow(raw);
    EXPECT_EQ(inside.source.name, "client");
    EXPECT_EQ(inside.source.identity, kClientIdentity);
    EXPECT_EQ(inside.source.address, ip("10.1.0.3"));

    raw.ifindex = 99; // of nobody
    EXPECT_EQ(this->flow(raw).source.kind, EndKind::world);
    EXPECT_EQ(this->flow(raw).source.name, "");

    raw.key.src = addr("10.1.0.3"); // web's address, from outside, met on the way to the client
    raw.key.dst = addr("10.1.0.2");
    raw.ifindex = 5;
    const model::Flow outside = this->flow(raw);
    EXPECT_EQ(outside.source.kind, EndKind::world);
    EXPECT_EQ(outside.source.name, "");
    EXPECT_EQ(outside.destination.name, "client");
}

TEST_F(Enrich, AddressNamesTheEndWhenTheDatapathSaysNothing) {
    bl_flow_event raw = denied();
    raw.reason = BL_DROP_UNRELATED_ICMP;
    raw.identity[0] = raw.identity[1] = raw.endpoint[0] = raw.endpoint[1] = 0;
    const model::Flow flow = this->flow(raw);
    EXPECT_EQ(flow.source.name, "client");
    EXPECT_EQ(flow.source.identity, kClientIdentity);
    EXPECT_EQ(flow.destination.name, "web");
}

TEST_F(Enrich, AddressOfAnotherIdentityNamesNobody) {
    bl_flow_event raw = opened();
    raw.endpoint[1] = 0;
    raw.identity[1] = BL_ID_world;
    EXPECT_EQ(flow(raw).destination.kind, EndKind::world);
    EXPECT_EQ(flow(raw).destination.name, "");
}

TEST_F(Enrich, RefusedAtTheSocket) {
    bl_flow_event raw{};
    raw.time_ns = 1;
    raw.key.dst = raw.svc_addr = addr("10.96.0.1");
    raw.key.dport = raw.svc_port = htons(80);
    raw.key.proto = 6;
    raw.kind = BL_FLOW_dropped;
    raw.reason = BL_DROP_SERVICE_BACKEND_NOT_FOUND;
    raw.process[0] = process(100, "curl");
    EXPECT_EQ(flow(raw).source.name, "client"); // by the cgroup
    EXPECT_EQ(flow(raw).source.kind, EndKind::workload);
    EXPECT_EQ(flow(raw).source.process.comm, "curl");
    EXPECT_EQ(flow(raw).service, "shop/web");
    raw.process[0].cgroup = 1;
    EXPECT_EQ(flow(raw).source.kind, EndKind::host);
    EXPECT_EQ(flow(raw).source.name, "");
}

TEST_F(Enrich, RefusedInThePacketPath) {
    bl_flow_event raw = denied();
    raw.reason = BL_DROP_SERVICE_BACKEND_NOT_FOUND;
    raw.key.dst = addr("10.96.0.1");
    raw.key.dport = htons(80);
    raw.identity[0] = raw.identity[1] = raw.endpoint[0] = raw.endpoint[1] = 0;
    const model::Flow flow = this->flow(raw);
    EXPECT_EQ(flow.service, "shop/web");
    EXPECT_EQ(flow.service_port, 80);
    EXPECT_EQ(flow.source.name, "client");
}

TEST_F(Enrich, LastFlowsOfAWorkloadThatIsGone) {
    flow(opened());
    auto later = directory();
    later->by_address.erase(ip("10.1.0.3"));
    enricher_.set_directory(later);
    EXPECT_EQ(flow(closed()).destination.name, "web");

    // The address went to somebody else meanwhile: the old flow is not theirs.
    auto reused = directory();
    reused->by_address[ip("10.1.0.3")] = {EndKind::workload, 9, 302, "shop", "other", {}};
    enricher_.set_directory(reused);
    EXPECT_EQ(flow(closed()).destination.name, "web");
    bl_flow_event raw = opened();
    raw.endpoint[1] = 9;
    raw.identity[1] = 302;
    EXPECT_EQ(flow(raw).destination.name, "other");
}

TEST_F(Enrich, UnknownWorkloadStaysAWorkload) {
    bl_flow_event raw = opened();
    raw.endpoint[1] = 99;
    const model::Flow flow = this->flow(raw);
    EXPECT_EQ(flow.destination.kind, EndKind::workload);
    EXPECT_EQ(flow.destination.name, "");
    EXPECT_EQ(flow.destination.endpoint, 99U);
}

TEST_F(Enrich, FlowsKeepTheNamesOfTheirTime) {
    const Record old = record(opened());
    auto changed = directory();
    changed->by_address[ip("10.1.0.3")].labels = {{"app", "changed"}};
    changed->rules[11] = "NetworkPolicy shop/renamed ingress[0]";
    enricher_.set_directory(changed);
    EXPECT_EQ(flow(opened()).destination.labels, (model::Labels{{"app", "changed"}}));
    EXPECT_EQ(flow(opened()).ingress_rule, "NetworkPolicy shop/renamed ingress[0]");
    EXPECT_EQ(to_flow(old, 1).destination.labels.at("app"), "web");
    EXPECT_EQ(to_flow(old, 1).ingress_rule, "NetworkPolicy shop/allow-web ingress[0]");
}

TEST_F(Enrich, EqualFactsAreShared) {
    const Record first = record(opened());
    bl_flow_event other = closed();
    other.key.sport = htons(50000);
    EXPECT_EQ(record(other).context, first.context);
    EXPECT_EQ(record(other).process[0], first.process[0]);

    enricher_.set_directory(directory()); // equal content
    const Record later = record(opened());
    EXPECT_NE(later.context, first.context);
    EXPECT_EQ(later.context->source, first.context->source);
    EXPECT_EQ(later.context->ingress_rule, first.context->ingress_rule);
    EXPECT_EQ(later.context->service, first.context->service);
    EXPECT_EQ(record(denied()).context->denied_by, record(denied()).context->denied_by);
}

TEST_F(Enrich, OldDirectoriesAreLetGo) {
    auto first = directory();
    enricher_.set_directory(first);
    const Record kept = record(opened());
    const std::weak_ptr<model::Directory> watch = first;
    first.reset();
    enricher_.set_directory(nullptr);
    EXPECT_EQ(flow(opened()).service, "");
    EXPECT_TRUE(watch.expired());
    EXPECT_EQ(to_flow(kept, 1).service, "shop/web");
}

} // namespace
} // namespace beeline::observe
