#include "source/etcd/source.h"

#include <stdlib.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <thread>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/log.h"
#include "source/etcd/fake_etcd.h"

namespace beeline::source {
namespace {

using namespace std::chrono_literals;

std::string policy(const std::string& name, const std::string& app = "web") {
    return fmt::format("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: "
                       "{}\n  namespace: shop\nspec:\n  podSelector:\n    matchLabels: {{app: "
                       "{}}}\n",
                       name, app);
}
std::string policy_key(const std::string& name) { return "/beeline/networkpolicies/shop/" + name; }
std::string node_manifest(const std::string& name, const std::string& range) {
    return fmt::format("{{apiVersion: v1, kind: Node, metadata: {{name: {}}}, spec: {{podCIDRs: "
                       "[{}]}}}}",
                       name, range);
}
std::string pod_manifest(const std::string& name, const std::string& ip,
                         const std::string& app = "web") {
    return fmt::format(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {}, namespace: shop, labels: "
        "{{app: {}}}}}, status: {{podIPs: [{{ip: {}}}]}}}}",
        name, app, ip);
}

class EtcdTest : public testing::Test {
protected:
    EtcdTest() {
        set_log_level(LogLevel::error);
        std::string folder =
            (std::filesystem::temp_directory_path() / "beeline-etcd-XXXXXX").string();
        base_ = mkdtemp(folder.data());
        options_.endpoints = {etcd_.url()};
        options_.node = "n1";
        options_.state_folder = base_;
        options_.connect_ms = 1000;
        options_.request_ms = 2000;
        options_.first_pause_ms = 5;
        options_.longest_pause_ms = 50;
        options_.lease_s = 5;
        options_.page = 3;
    }
    ~EtcdTest() override {
        stop();
        std::filesystem::remove_all(base_);
    }

    void start() {
        loop_ = loop::Loop::create().value();
        auto made = EtcdSource::create(options_, [this](auto objects) {
            last_ = std::move(objects);
            ++publications_;
        });
        ASSERT_TRUE(made) << made.error().message;
        source_ = std::move(*made);
        loop_->post([this] { ASSERT_TRUE(source_->start(*loop_)); });
        thread_ = std::thread([this] { loop_->run(); });
    }
    void stop() {
        if (!loop_) return;
        loop_->call([this] { source_.reset(); });
        loop_->stop();
        thread_.join();
        loop_.reset();
    }

    template <typename F>
    auto on_loop(F function) {
        return loop_->call(function);
    }
    // Until it holds; false after a long time.
    static bool until(const std::function<bool()>& holds) {
        for (int i = 0; i < 3000; ++i) {
            if (holds()) return true;
            std::this_thread::sleep_for(5ms);
        }
        return false;
    }
    std::string policies() {
        return on_loop([this] {
            std::string out;
            if (!last_) return out;
            for (const auto& [name, each] : last_->policies)
                out += (out.empty() ? "" : " ") + name.name;
            return out;
        });
    }
    bool come_to(const std::string& names) {
        return until([&] { return policies() == names; });
    }
    std::string errors() {
        return on_loop([this] {
            std::string out;
            for (const auto& each : source_->errors())
                out += each.file + "|" + each.message + "\n";
            return out;
        });
    }
    EtcdState state() {
        return on_loop([this] { return source_->etcd_state(); });
    }
    bool connected() {
        return on_loop([this] { return source_->state().connected; });
    }
    void announce(std::vector<model::Workload> workloads,
                  const std::string& range = "10.1.0.0/24") {
        on_loop([&] {
            model::ClusterNode node;
            node.addresses = {net::Ip::parse("192.0.2.1").value()};
            node.pod_ranges = {net::Prefix::parse(range).value()};
            source_->announce({std::move(node), std::move(workloads)});
        });
    }
    static model::Workload workload(const std::string& name, const std::string& ip) {
        model::Workload out;
        out.name = {"shop", name};
        out.labels = {{"app", name}};
        out.ports = {{"http", model::Protocol::tcp, 8080}};
        out.addresses = {net::Ip::parse(ip).value()};
        return out;
    }

    FakeEtcd etcd_;
    std::string base_;
    EtcdOptions options_;
    std::unique_ptr<loop::Loop> loop_;
    std::unique_ptr<EtcdSource> source_;
    std::thread thread_;
    std::shared_ptr<const model::Objects> last_;
    int publications_ = 0;
};

TEST_F(EtcdTest, ReadsInPagesAndFollows) {
    for (int i = 0; i < 8; ++i)
        etcd_.put(policy_key(fmt::format("p{}", i)), policy(fmt::format("p{}", i)));
    etcd_.put("/other/networkpolicies/shop/x", policy("x"));
    start();
    EXPECT_TRUE(come_to("p0 p1 p2 p3 p4 p5 p6 p7"));
    EXPECT_EQ(etcd_.ranges, 3U);
    etcd_.put(policy_key("q"), policy("q"));
    etcd_.remove(policy_key("p3"));
    EXPECT_TRUE(come_to("p0 p1 p2 p4 p5 p6 p7 q"));
    EXPECT_TRUE(until([this] { return connected(); }));
    EXPECT_EQ(errors(), "");
    EXPECT_EQ(state().lists, 1U);
    const auto known = on_loop([this] { return source_->state(); });
    EXPECT_EQ(known.kind, "etcd");
    EXPECT_TRUE(known.synced);
}

TEST_F(EtcdTest, BadValueLeavesTheOldOneInForceAlsoOverARestart) {
    etcd_.put(policy_key("a"), policy("a"));
    etcd_.put(policy_key("b"), policy("b"));
    start();
    ASSERT_TRUE(come_to("a b"));
    etcd_.put(policy_key("a"), "kind: NetworkPolicy\n");
    etcd_.put(policy_key("c"), policy("other"));
    etcd_.put("/beeline/policies/shop/d", policy("d"));
    etcd_.put(policy_key("e"), policy("e"));
    ASSERT_TRUE(come_to("a b e"));
    const auto found = errors();
    EXPECT_NE(found.find("networkpolicies/shop/a|networkpolicies/shop/a:1:1"), std::string::npos)
        << found;
    EXPECT_NE(found.find("another object than the key names"), std::string::npos) << found;
    EXPECT_NE(found.find("policies/shop/d|"), std::string::npos) << found;
    stop();
    start();
    EXPECT_TRUE(until([this] { return state().lists == 1; }));
    EXPECT_TRUE(come_to("a b e"));
    etcd_.put(policy_key("a"), policy("a", "db"));
    EXPECT_TRUE(until([this] { return errors().find("/a:1:1") == std::string::npos; }));
}

TEST_F(EtcdTest, KeepsWhatItKnowsWhileEtcdIsGone) {
    etcd_.put(policy_key("a"), policy("a"));
    start();
    ASSERT_TRUE(come_to("a"));
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.stop();
    EXPECT_TRUE(until([this] { return !connected(); }));
    EXPECT_EQ(policies(), "a");
    EXPECT_NE(errors().find("etcd at http://127.0.0.1"), std::string::npos) << errors();
    EXPECT_FALSE(source_->apply(policy("x"), false));
    // A restart of the agent in between.
    stop();
    start();
    EXPECT_TRUE(come_to("a"));
    EXPECT_TRUE(state().from_snapshot);
    etcd_.put(policy_key("b"), policy("b"));
    etcd_.remove(policy_key("a"));
    etcd_.start();
    EXPECT_TRUE(come_to("b"));
    EXPECT_FALSE(state().from_snapshot);
    EXPECT_TRUE(until([this] { return errors().empty(); })) << errors();
}

TEST_F(EtcdTest, GoesOnWhereAStreamBroke) {
    etcd_.put(policy_key("a"), policy("a"));
    start();
    ASSERT_TRUE(come_to("a"));
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.break_streams();
    etcd_.put(policy_key("b"), policy("b"));
    etcd_.remove(policy_key("a"));
    EXPECT_TRUE(come_to("b"));
    EXPECT_EQ(state().lists, 1U); // nothing was read twice
}

TEST_F(EtcdTest, CompactionDuringAnOutageReadsAnew) {
    etcd_.put(policy_key("a"), policy("a"));
    etcd_.put(policy_key("b"), policy("b"));
    start();
    ASSERT_TRUE(come_to("a b"));
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.stop();
    etcd_.remove(policy_key("a"));
    etcd_.put(policy_key("c"), policy("c"));
    etcd_.compact();
    etcd_.start();
    EXPECT_TRUE(come_to("b c"));
    EXPECT_EQ(state().lists, 2U);
}

TEST_F(EtcdTest, AnotherClusterBehindTheEndpointIsReadAsAWhole) {
    for (int i = 0; i < 5; ++i)
        etcd_.put(policy_key("a"), policy("a", fmt::format("v{}", i)));
    start();
    ASSERT_TRUE(come_to("a"));
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.stop();
    etcd_.set_cluster(8);
    etcd_.put(policy_key("a"), policy("a", "restored"));
    etcd_.put(policy_key("z"), policy("z"));
    etcd_.start();
    EXPECT_TRUE(come_to("a z"));
    EXPECT_TRUE(until([this] {
        return on_loop([this] {
            const auto& rules = last_->policies.at({"shop", "a"}).subject.requirements;
            return rules.front().values.front() == "restored";
        });
    }));
}

TEST_F(EtcdTest, FragmentsAreOneChange) {
    start();
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.fragment = 2;
    std::string all;
    std::string text;
    for (int i = 0; i < 7; ++i) {
        text += policy(fmt::format("f{}", i)) + "---\n";
        all += (i == 0 ? "f" : " f") + std::to_string(i);
    }
    const auto done = source_->apply(text, false);
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_TRUE(come_to(all));
    etcd_.break_streams();
    etcd_.put(policy_key("z"), policy("z"));
    EXPECT_TRUE(come_to(all + " z"));
}

TEST_F(EtcdTest, SeveralEndpoints) {
    auto gone = std::make_unique<FakeEtcd>();
    const auto dead = gone->url();
    gone.reset();
    options_.endpoints = {dead, etcd_.url()};
    options_.connect_ms = 200;
    etcd_.put(policy_key("a"), policy("a"));
    start();
    EXPECT_TRUE(come_to("a"));
    EXPECT_EQ(state().endpoint, etcd_.url());
}

TEST_F(EtcdTest, ApplyIsInForceWhenItReturns) {
    start();
    ASSERT_TRUE(until([this] { return connected(); }));
    const auto done = source_->apply(policy("a") + "---\n" + policy("b"), false);
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(policies(), "a b");
    EXPECT_EQ(done->objects.size(), 2U);
    EXPECT_EQ(done->objects[0].action, ApplyAction::created);
    EXPECT_FALSE(etcd_.value(policy_key("a")).empty());

    EXPECT_EQ(source_->apply(policy("a"), false)->objects[0].action, ApplyAction::unchanged);
    EXPECT_EQ(source_->apply(policy("a", "db"), true)->objects[0].action, ApplyAction::changed);
    EXPECT_EQ(etcd_.value(policy_key("a")).find("db"), std::string::npos);

    // All or none.
    EXPECT_FALSE(source_->apply(policy("c") + "---\n" + policy("B"), false));
    EXPECT_EQ(policies(), "a b");

    ASSERT_TRUE(source_->remove("netpol", {"shop", "a"}));
    EXPECT_EQ(policies(), "b");
    EXPECT_TRUE(etcd_.value(policy_key("a")).empty());
    const auto again = source_->remove("netpol", {"shop", "a"});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, Code::not_found);

    etcd_.refuse_txn = true;
    const auto raced = source_->apply(policy("d"), false);
    ASSERT_FALSE(raced);
    EXPECT_NE(raced.error().message.find("try again"), std::string::npos);
}

TEST_F(EtcdTest, SlowServerIsWaitedForButNotForever) {
    start();
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.delay_ms = 300;
    EXPECT_TRUE(source_->apply(policy("a"), false));
    EXPECT_EQ(policies(), "a");
}

TEST_F(EtcdTest, LogsInAndAgainWhenTheTokenEnds) {
    etcd_.require_token();
    etcd_.put(policy_key("a"), policy("a"));
    options_.user = "beeline";
    options_.password_file = base_ + "/password";
    ASSERT_TRUE(replace_file(options_.password_file, "wrong\n"));
    start();
    EXPECT_TRUE(until([this] {
        return errors().find("authentication failed") != std::string::npos;
    })) << errors();
    ASSERT_TRUE(replace_file(options_.password_file, "secret\n"));
    EXPECT_TRUE(come_to("a"));
    ASSERT_TRUE(until([this] { return connected(); }));
    etcd_.expire_tokens();
    etcd_.break_streams();
    etcd_.put(policy_key("b"), policy("b"));
    EXPECT_TRUE(come_to("a b"));
    ASSERT_TRUE(source_->apply(policy("c"), false));
    etcd_.expire_tokens();
    ASSERT_TRUE(source_->apply(policy("d"), false));
    EXPECT_TRUE(come_to("a b c d"));
}

TEST_F(EtcdTest, RegistersUnderALease) {
    start();
    announce({workload("web", "10.1.0.5")});
    ASSERT_TRUE(
        until([this] { return state().registration.state == Registration::State::registered; }));
    EXPECT_NE(etcd_.value("/beeline/nodes/n1").find("10.1.0.0/24"), std::string::npos);
    EXPECT_NE(etcd_.value("/beeline/workloads/n1/shop/web").find("10.1.0.5"), std::string::npos);
    // Its own workloads are no Pods of others.
    EXPECT_TRUE(until([this] {
        return on_loop([this] { return last_->nodes.contains("n1") && last_->pods.empty(); });
    }));

    announce({workload("db", "10.1.0.6")});
    EXPECT_TRUE(until([this] {
        return etcd_.value("/beeline/workloads/n1/shop/web").empty() &&
               !etcd_.value("/beeline/workloads/n1/shop/db").empty();
    }));

    // The lease is lost: everything comes back under a new one.
    const auto lease = *etcd_.leases().begin();
    etcd_.expire(lease);
    EXPECT_TRUE(etcd_.value("/beeline/nodes/n1").empty());
    announce({workload("db", "10.1.0.7")});
    EXPECT_TRUE(until([this] {
        return etcd_.value("/beeline/workloads/n1/shop/db").find("10.1.0.7") != std::string::npos;
    }));
    EXPECT_FALSE(etcd_.leases().contains(lease));

    // A restarted agent goes on with its lease.
    const auto before = etcd_.leases();
    stop();
    EXPECT_FALSE(etcd_.value("/beeline/nodes/n1").empty());
    start();
    announce({workload("db", "10.1.0.7")});
    ASSERT_TRUE(
        until([this] { return state().registration.state == Registration::State::registered; }));
    EXPECT_EQ(etcd_.leases(), before);
}

TEST_F(EtcdTest, TwoNodesOfOneNameOrRangeAreRefused) {
    etcd_.put("/beeline/nodes/n1", node_manifest("n1", "10.9.0.0/24"));
    etcd_.put("/beeline/nodes/n2", node_manifest("n2", "10.1.0.128/25"));
    start();
    announce({});
    ASSERT_TRUE(
        until([this] { return state().registration.state == Registration::State::refused; }));
    EXPECT_NE(errors().find("another machine is node 'n1' already"), std::string::npos) << errors();
    etcd_.remove("/beeline/nodes/n1");
    EXPECT_TRUE(until([this] {
        return errors().find("10.1.0.0/24 overlaps 10.1.0.128/25 of node 'n2'") !=
               std::string::npos;
    })) << errors();
    EXPECT_TRUE(etcd_.value("/beeline/nodes/n1").empty());
    announce({}, "10.2.0.0/24");
    EXPECT_TRUE(until([this] { return !etcd_.value("/beeline/nodes/n1").empty(); }));
    EXPECT_TRUE(until([this] { return errors().empty(); })) << errors();
}

TEST_F(EtcdTest, WorkloadsOfOtherNodesArePods) {
    etcd_.put("/beeline/nodes/n2", node_manifest("n2", "10.2.0.0/24"));
    etcd_.put("/beeline/nodes/n3", node_manifest("n3", "10.2.0.0/16")); // came later: overlaps
    etcd_.put("/beeline/workloads/n2/shop/web", pod_manifest("web", "10.2.0.5"));
    etcd_.put("/beeline/workloads/n2/shop/far", pod_manifest("far", "10.3.0.5"));
    etcd_.put("/beeline/workloads/n4/shop/lost", pod_manifest("lost", "10.4.0.5"));
    etcd_.put("/beeline/pods/shop/web",
              "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {tier: "
              "front}}}");
    start();
    ASSERT_TRUE(
        until([this] { return on_loop([this] { return last_ && last_->pods.size() == 1; }); }));
    on_loop([this] {
        const auto& pod = last_->pods.at({"shop", "web"});
        EXPECT_EQ(pod.node, "n2");
        EXPECT_EQ(pod.labels, (model::Labels{{"app", "web"}, {"tier", "front"}}));
        EXPECT_EQ(pod.addresses.front().to_string(), "10.2.0.5");
        EXPECT_EQ(last_->nodes.size(), 1U);
    });
    const auto found = errors();
    EXPECT_NE(found.find("nodes/n3: its range 10.2.0.0/16 overlaps"), std::string::npos) << found;
    EXPECT_NE(found.find("10.3.0.5 is not in a range of node n2"), std::string::npos) << found;
    EXPECT_NE(found.find("there is no node n4"), std::string::npos) << found;

    const auto denied = source_->remove("pod", {"shop", "far"});
    ASSERT_FALSE(denied);
    EXPECT_EQ(denied.error().code, Code::denied);
    etcd_.remove("/beeline/workloads/n2/shop/web");
    EXPECT_TRUE(until([this] {
        return on_loop([this] { return last_->pods.at({"shop", "web"}).addresses.empty(); });
    }));
}

TEST(EtcdEndpoint, IsAHostAndAPort) {
    EXPECT_EQ(parse_endpoint("http://10.0.0.1:2379").value().target, "dns:///10.0.0.1:2379");
    EXPECT_TRUE(parse_endpoint("https://etcd-1.example:2379/").value().tls);
    EXPECT_TRUE(parse_endpoint("https://[fd00::1]:2379"));
    for (const auto* bad :
         {"", "10.0.0.1:2379", "ftp://a:1", "http://a", "http://a:0", "http://:1", "http://a:99999",
          "http:"
          "//u@a:1",
          "http://a:1/x",
          "http:"
          "//fd00::1:2379"})
        EXPECT_FALSE(parse_endpoint(bad)) << bad;
}

TEST(EtcdRange, EndsBehindThePrefix) {
    EXPECT_EQ(range_end("/a/"), "/a0");
    EXPECT_EQ(range_end("a\xff"), "b");
    EXPECT_EQ(range_end("\xff"), std::string(1, '\0'));
}

TEST(EtcdPause, GrowsToItsLongest) {
    Pause pause(100, 1000);
    for (int i = 0; i < 10; ++i) {
        const auto ms = pause.next_ms();
        EXPECT_GE(ms, i == 0 ? 50U : 100U);
        EXPECT_LE(ms, 1000U);
    }
    pause.reset();
    EXPECT_LE(pause.next_ms(), 100U);
}

} // namespace
} // namespace beeline::source
