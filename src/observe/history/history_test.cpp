#include "observe/history/history.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "observe/enrich.h"
#include "observe/history/bytes.h"
#include "observe/history/schema.h"
#include "observe/json.h"
#include "observe/test_events.h"

namespace beeline::observe::history {
namespace {

namespace fs = std::filesystem;
using namespace observe::testing;
using Kind = model::Flow::Kind;
using Numbers = std::vector<std::uint64_t>;

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// All members, which operator== of a Flow would compare.
std::string whole(const model::Flow& flow) {
    std::string out = to_json(flow, "node");
    for (const auto* end : {&flow.source, &flow.destination})
        out += fmt::format(" {} {} {} {}", end->endpoint, end->process.uid, end->process.start_ns,
                           end->port);
    out += fmt::format(" {} {} {} {} {} {}", flow.opened_ns, flow.tcp_flags[0], flow.tcp_flags[1],
                       flow.icmp_type, flow.icmp_code, flow.lost_where);
    if (flow.l7) {
        append_l7(out, *flow.l7);
    }
    return out;
}

class HistoryTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = fs::temp_directory_path() / "bl-history-XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        options_.path = folder_ / "history.db";
        enricher_.set_directory(directory());
        opened_ = enricher_.enrich(decode_flow(bytes(opened())).value());
        closed_ = enricher_.enrich(decode_flow(bytes(closed())).value());
        denied_ = enricher_.enrich(decode_flow(bytes(denied())).value());
    }
    void TearDown() override { fs::remove_all(folder_); }

    // Flow n has the time base_ + n ms.
    void add(Store& store, const Record& record, std::size_t count = 1) {
        for (std::size_t i = 0; i < count; ++i) {
            Record copy = record;
            copy.time_ns = at(++added_);
            store.append(std::move(copy));
        }
        store.publish();
    }
    [[nodiscard]] std::int64_t at(std::uint64_t number) const {
        return base_ + static_cast<std::int64_t>(number) * 1'000'000;
    }
    // An agent that ran, saw these flows and ended.
    void run(std::size_t count) {
        Store store(1'000'000);
        History history(options_, store);
        EXPECT_EQ(history.stats().writer.error, "");
        for (std::size_t i = 0; i < count; ++i)
            add(store, i % 100 == 0 ? denied_ : opened_);
        history.stop();
        EXPECT_EQ(history.stats().behind, 0U);
    }
    void expect_begun_anew() {
        Store store;
        History history(options_, store);
        EXPECT_EQ(history.stats().writer.error, "");
        EXPECT_NE(history.stats().writer.damage.find(".damaged"), std::string::npos);
        EXPECT_TRUE(fs::exists(options_.path + ".damaged"));
        add(store, opened_, 3);
        history.stop();
        EXPECT_EQ(history.stats().writer.stored, 3U);
    }

    fs::path folder_;
    Options options_;
    Enricher enricher_{"/nonexistent"};
    Record opened_;
    Record closed_;
    Record denied_;
    std::uint64_t added_ = 0;
    std::int64_t base_ = now_ns() - 1'000'000'000'000;
};

Numbers drain(FlowQuery query) {
    Numbers out;
    while (const auto flow = query.next())
        out.push_back(flow->kind == Kind::lost ? 1'000'000'000 + flow->lost : flow->number);
    return out;
}

Numbers range(std::uint64_t first, std::uint64_t last) {
    Numbers out;
    for (std::uint64_t n = first; n <= last; ++n)
        out.push_back(n);
    return out;
}

template <typename Predicate>
bool eventually(Predicate predicate) {
    for (int i = 0; i < 2000; ++i) {
        if (predicate()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return predicate();
}

std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
void spit(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

// --- rows

TEST_F(HistoryTest, EveryFieldComesBack) {
    Store store;
    History history(options_, store);
    bl_flow_event icmp = opened();
    icmp.key.proto = 1;
    icmp.icmp_type = 8;
    icmp.icmp_code = 3;
    icmp.tcp_flags[0] = 0;
    auto l7 = std::make_shared<model::L7>();
    l7->protocol = model::L7::Protocol::dns;
    l7->type = model::L7::Type::response;
    l7->status = model::L7::Status::error;
    l7->tls = true;
    l7->code = 3;
    l7->latency_ns = 123'456'789;
    l7->method = "GET";
    l7->resource = "/a";
    l7->host = "h";
    l7->version = "HTTP/1.1";
    l7->url = "/a?b";
    l7->error = "e\x01\xff";
    l7->trace_parent = "00-1-2-3";
    l7->headers = {{"a", "b"}, {"c", ""}};
    l7->request_bytes = 7;
    l7->response_bytes = ~0ULL;
    l7->dns = {{ip("10.0.0.1"), ip("fd00::1")}, {"x.example"}, {1, 28}, {5}, 300};
    Record with_l7 = closed_;
    with_l7.kind = Kind::l7;
    with_l7.l7 = l7;
    Record extreme = opened_;
    extreme.packets = {~0ULL, 0};
    extreme.bytes = {0, ~0ULL};
    extreme.opened_ns = std::numeric_limits<std::int64_t>::min();
    const std::vector<Record> records{opened_,
                                      closed_,
                                      denied_,
                                      with_l7,
                                      extreme,
                                      lost_record(0, 77),
                                      enricher_.enrich(decode_flow(bytes(icmp)).value())};
    for (int round = 0; round < 300; ++round)
        for (const Record& record : records)
            add(store, record);
    history.stop();

    Reader reader = store.read({});
    auto cursor = Cursor::open(options_.path, {}, {}).value();
    std::uint64_t number = 0;
    while (const auto wanted = reader.next()) {
        const auto found = cursor->forward(number + 1, 1'000'000);
        ASSERT_TRUE(found) << number;
        number = found->number;
        ASSERT_EQ(whole(*found), whole(*wanted));
    }
    EXPECT_EQ(number, records.size() * 300);
    EXPECT_FALSE(cursor->forward(number + 1, 1'000'000));
}

// What only the model knows as yet: entries are made from the model, so they keep it.
TEST(HistoryCodec, ContextsAndProcessesKeepAll) {
    std::map<EntryId, std::string> table;
    std::map<std::string, EntryId> ids;
    const Intern intern = [&](const std::string& bytes) {
        const auto [found, is_new] = ids.emplace(bytes, ids.size() + 1);
        if (is_new) table[found->second] = bytes;
        return found->second;
    };
    model::Flow flow;
    flow.protocol = model::Protocol::sctp;
    flow.reason = 133;
    flow.egress_rule = "e";
    flow.ingress_rule = "i";
    flow.denied_direction = "egress";
    flow.denied_by = {"one", "two", ""};
    flow.service = "shop/web";
    flow.service_address = ip("fd00::5");
    flow.service_port = 65535;
    flow.interface = "eth0";
    for (auto* end : {&flow.source, &flow.destination}) {
        end->kind = model::FlowEnd::Kind::remote;
        end->address = ip("10.0.0.7");
        end->identity = ~0U;
        end->endpoint = 9;
        end->space = "s";
        end->name = "n";
        end->labels = {{"a", "b"}, {"c", ""}};
        end->names = {"x.example", "y.example"};
        end->process = {12, ~0U, ~0ULL, "comm", "/bin/x", "root", "abc", {"/sbin/init", "sh"}};
    }
    const EntryId context = intern_context(flow, intern);
    const EntryId process = intern_process(flow.source.process, intern);
    EXPECT_EQ(intern_context(flow, intern), context);
    Entries entries([&](EntryId id) -> std::optional<std::string> {
        const auto found = table.find(id);
        if (found == table.end()) return {};
        return found->second;
    });
    auto* found = entries.context(context);
    ASSERT_NE(found, nullptr);
    const auto* speaker = entries.process(process);
    ASSERT_NE(speaker, nullptr);
    found->flow.source.process = found->flow.destination.process = *speaker;
    EXPECT_EQ(whole(found->flow), whole(flow));
    EXPECT_EQ(entries.process(context), nullptr); // another kind of entry
    EXPECT_EQ(entries.context(process), nullptr);
    EXPECT_EQ(entries.context(999), nullptr);
}

TEST(HistoryCodec, FlippedBytesAreNoticed) {
    const std::string sealed = seal("some bytes");
    EXPECT_EQ(unseal(sealed), "some bytes");
    for (std::size_t i = 0; i < sealed.size(); ++i) {
        std::string bad = sealed;
        bad[i] = static_cast<char>(bad[i] ^ 4);
        EXPECT_FALSE(unseal(bad)) << i;
    }
    EXPECT_FALSE(unseal("abc"));
}

// --- seam

TEST_F(HistoryTest, MemoryAndHistoryAreOneAnswer) {
    run(3000);
    run(2000);
    Store store(1'000'000);
    History history(options_, store);
    add(store, opened_, 500); // 5001 on
    for (const bool written : {false, true}) {
        if (written) {
            ASSERT_TRUE(eventually([&] { return history.stats().behind == 0; }));
        }
        EXPECT_EQ(drain(history.query({})), range(1, 5500));
        Numbers backward = drain(history.query({}, Order::newest_first));
        std::reverse(backward.begin(), backward.end());
        EXPECT_EQ(backward, range(1, 5500));
        EXPECT_EQ(drain(history.query({.since_ns = at(2500)})), range(2500, 5500));
        EXPECT_EQ(drain(history.query({.since_ns = at(2500), .until_ns = at(2600)})),
                  range(2500, 2600));
        EXPECT_EQ(drain(history.query({.since_ns = at(4990), .until_ns = at(5010)})),
                  range(4990, 5010));
        EXPECT_EQ(drain(history.query({.since_ns = at(5400)})), range(5400, 5500));
        EXPECT_EQ(drain(history.query({.last = 3})), range(5498, 5500));
        EXPECT_EQ(drain(history.query({.last = 600})), range(4901, 5500));
        EXPECT_EQ(drain(history.query({.last = 99'999})), range(1, 5500));
        EXPECT_EQ(drain(history.query({.last = 0})), Numbers{});
        EXPECT_EQ(drain(history.query({.first = 3})), range(1, 3));
        EXPECT_EQ(drain(history.query({.since_ns = at(4999), .first = 4})), range(4999, 5002));
        EXPECT_EQ(drain(history.query({.until_ns = at(100), .last = 2})), range(99, 100));
        EXPECT_EQ(drain(history.query({.first_number = 4990})), range(4990, 5500));
        EXPECT_EQ(drain(history.query({.first_number = 5100})), range(5100, 5500));
        EXPECT_EQ(drain(history.query({.until_ns = at(2)})), range(1, 2));
        EXPECT_EQ(drain(history.query({.until_ns = at(2)}, Order::newest_first)), (Numbers{2, 1}));
        const FlowFilter dropped{.verdicts = {model::Flow::Verdict::dropped}};
        EXPECT_EQ(drain(history.query(dropped)).size(), 50U);
        FlowFilter last = dropped;
        last.last = 2;
        EXPECT_EQ(drain(history.query(last)), (Numbers{4801, 4901}));
        EXPECT_EQ(drain(history.query(last, Order::newest_first)), (Numbers{4901, 4801}));
        EXPECT_EQ(drain(history.query({.pods = {"shop/nobody"}})), Numbers{});
        EXPECT_EQ(drain(history.query({.pods = {"shop/client"}})).size(), 5500U);
        EXPECT_EQ(
            drain(history.query({.last = 5}, Order::oldest_first,
                                [](const model::Flow& flow) { return flow.number % 1000 == 0; })),
            (Numbers{1000, 2000, 3000, 4000, 5000}));
    }
}

TEST_F(HistoryTest, FollowingGoesOnFromHistory) {
    run(1000);
    Store store(1'000'000);
    History history(options_, store);
    FlowQuery since = history.query({.since_ns = at(990), .follow = true});
    FlowQuery last = history.query({.last = 2, .follow = true});
    FlowQuery live = history.query({.follow = true});
    add(store, opened_, 5);
    const auto all = [](FlowQuery& query) {
        Numbers out;
        while (const auto flow = query.next())
            out.push_back(flow->number);
        return out;
    };
    EXPECT_EQ(all(since), range(990, 1005));
    EXPECT_EQ(all(last), range(999, 1005));
    EXPECT_EQ(all(live), range(1001, 1005));
    EXPECT_FALSE(live.wait(0));
    add(store, opened_, 2);
    EXPECT_TRUE(live.wait(1000));
    EXPECT_EQ(all(live), range(1006, 1007));
    EXPECT_EQ(all(since), range(1006, 1007));
}

// Memory holds 2,000 flows; a reader that is slower than that finds the rest in the history.
TEST_F(HistoryTest, SlowReaderLosesNothing) {
    Store store(2000);
    History history(options_, store);
    FlowQuery follower = history.query({.follow = true});
    EXPECT_FALSE(follower.next());
    for (int i = 0; i < 20; ++i) {
        add(store, opened_, 1000);
        ASSERT_TRUE(eventually([&] { return history.stats().behind == 0; }));
    }
    for (std::uint64_t number = 1; number <= 20'000; ++number) {
        const auto flow = follower.next();
        ASSERT_TRUE(flow);
        ASSERT_EQ(flow->number, number);
    }
    EXPECT_FALSE(follower.next());
    EXPECT_EQ(store.stats().lost_queue, 0U);
    EXPECT_EQ(history.stats().writer.lost, 0U);
    EXPECT_EQ(drain(history.query({})), range(1, 20'000));
}

// The store turns over before the writer is there.
TEST_F(HistoryTest, WhatTheWriterMissesIsShown) {
    Store store(2000);
    add(store, opened_, 10'000);
    auto writer = Writer::open(options_).value();
    writer->start(store);
    ASSERT_TRUE(eventually([&] { return writer->stats().last == 10'000; }));
    writer->stop();
    EXPECT_EQ(writer->stats().lost, 0U); // of what was gone before it began it knows nothing

    // While it cannot write, it holds what it has; the rest is dropped and says so.
    auto other = Writer::open(options_).value();
    Database blocker = Database::open(options_.path, Database::Mode::write).value();
    ASSERT_TRUE(blocker.execute("BEGIN IMMEDIATE"));
    other->start(store);
    add(store, opened_, 100);
    ASSERT_TRUE(eventually([&] { return !other->stats().error.empty(); }));
    add(store, opened_, 30'000);
    ASSERT_TRUE(blocker.execute("COMMIT"));
    ASSERT_TRUE(eventually([&] { return other->stats().last == 40'100; }));
    other->stop();
    const std::uint64_t lost = other->stats().lost;
    EXPECT_GT(lost, 0U);
    EXPECT_EQ(other->stats().error, "");
    auto cursor = Cursor::open(options_.path, {}, {}).value();
    std::uint64_t seen_lost = 0;
    std::uint64_t next = 8001;
    while (const auto flow = cursor->forward(next, 1'000'000)) {
        if (flow->kind == Kind::lost) {
            EXPECT_EQ(flow->lost_where, "history");
            seen_lost += flow->lost;
            next = flow->number + flow->lost;
        } else {
            ASSERT_EQ(flow->number, next);
            ++next;
        }
    }
    EXPECT_EQ(next, 40'101U);
    EXPECT_EQ(seen_lost, lost);
    EXPECT_EQ(read_edges(options_.path, {}).value().lost, lost);
    // Every answer says it.
    FlowQuery query(store, options_.path, {.pods = {"shop/nobody"}});
    const auto told = query.next();
    ASSERT_TRUE(told);
    EXPECT_EQ(told->lost, lost);
    EXPECT_FALSE(query.next());
}

// --- limits

TEST_F(HistoryTest, OldFlowsGo) {
    base_ = now_ns() - 3LL * 3600 * 1'000'000'000;
    run(3000); // three hours old
    base_ = now_ns() - 60LL * 1'000'000'000;
    run(10);
    options_.flow_hours = 2;
    Store store;
    History history(options_, store);
    ASSERT_TRUE(eventually([&] { return history.stats().writer.stored == 10; }));
    history.stop();
    EXPECT_EQ(drain(history.query({})), range(3001, 3010));
    const Database database = Database::open(options_.path, Database::Mode::read).value();
    // What the ten name is all that is left.
    EXPECT_LT(database.value("SELECT count(*) FROM entry").value(), 40);
    EXPECT_GT(database.value("SELECT count(*) FROM entry").value(), 5);
    EXPECT_EQ(database.value("SELECT sum(connections) FROM edge").value(), 3010 - 31);
}

TEST_F(HistoryTest, SizeIsBounded) {
    options_.max_bytes = 400'000;
    Store store(1'000'000);
    History history(options_, store);
    for (int i = 0; i < 60; ++i)
        add(store, closed_, 1000);
    ASSERT_TRUE(eventually([&] {
        // The size is known a moment after the flows: a file that has all of them was not cut yet.
        const auto stats = history.stats();
        return stats.behind == 0 && stats.writer.bytes <= 700'000 && stats.writer.stored < 60'000;
    })) << history.stats().writer.bytes;
    history.stop();
    Store later(1000, 60'001);
    const Numbers numbers = drain(FlowQuery(later, options_.path, {}));
    ASSERT_FALSE(numbers.empty());
    EXPECT_GT(numbers.front(), 1U);
    EXPECT_EQ(numbers, range(numbers.front(), 60'000));
}

TEST_F(HistoryTest, OldEdgesGo) {
    base_ = now_ns() - 50LL * 3600 * 1'000'000'000;
    run(10);
    base_ = now_ns();
    run(10);
    EXPECT_EQ(read_edges(options_.path, {}).value().edges.size(), 4U);
    options_.edge_days = 1;
    Store store;
    History history(options_, store);
    EXPECT_TRUE(eventually([&] { return history.edges({}).value().edges.size() == 2; }));
}

// --- edges

TEST_F(HistoryTest, EdgesAddUp) {
    Store store;
    History history(options_, store);
    base_ = now_ns() / 3'600'000'000'000 * 3'600'000'000'000;
    add(store, opened_, 5);
    add(store, closed_, 3);
    add(store, denied_, 2);
    auto l7 = std::make_shared<model::L7>();
    Record request = opened_;
    request.kind = Kind::l7;
    request.packets = request.bytes = {}; // numbers of a shared message, in such flows
    request.l7 = l7;
    add(store, request, 4);
    auto answer = std::make_shared<model::L7>();
    answer->type = model::L7::Type::response;
    answer->status = model::L7::Status::error;
    answer->latency_ns = 1000;
    request.l7 = answer;
    add(store, request, 2);
    add(store, lost_record(0, 7));
    ASSERT_TRUE(eventually([&] { return history.stats().behind == 0; }));
    add(store, opened_, 5); // in another transaction
    history.stop();
    const EdgeList list = history.edges({}).value();
    EXPECT_EQ(list.lost, 7U);
    ASSERT_EQ(list.edges.size(), 2U);
    const bool first = list.edges[0].verdict == model::Flow::Verdict::forwarded;
    const Edge& good = list.edges[first ? 0 : 1];
    const Edge& bad = list.edges[first ? 1 : 0];
    EXPECT_EQ(good.hour_ns, base_);
    EXPECT_EQ(good.source.kind, model::FlowEnd::Kind::workload);
    EXPECT_EQ(good.source.space + "/" + good.source.name, "shop/client");
    EXPECT_EQ(good.destination.name, "web");
    EXPECT_EQ(good.service, "shop/web");
    EXPECT_EQ(good.rule, "NetworkPolicy shop/allow-web ingress[0]");
    EXPECT_EQ(good.port, 80);
    EXPECT_EQ(good.protocol, model::Protocol::tcp);
    EXPECT_EQ(good.counts.connections, 10U);
    EXPECT_EQ(good.counts.closed, 3U);
    EXPECT_EQ(good.counts.packets, (std::array<std::uint64_t, 2>{18, 15}));
    EXPECT_EQ(good.counts.bytes, (std::array<std::uint64_t, 2>{1500, 27'000}));
    EXPECT_EQ(good.counts.requests, 4U);
    EXPECT_EQ(good.counts.responses, 2U);
    EXPECT_EQ(good.counts.errors, 2U);
    EXPECT_EQ(good.counts.latency_ns, 2000U);
    EXPECT_EQ(bad.counts.drops, 2U);
    EXPECT_EQ(bad.reason, BL_DROP_POLICY_DENIED);
    EXPECT_EQ(bad.rule, "NetworkPolicy shop/allow-web, NetworkPolicy shop/deny");
    EXPECT_EQ(history.edges({.pods = {"shop/nobody"}}).value().edges.size(), 0U);
    EXPECT_EQ(history.edges({.pods = {"web"}}).value().edges.size(), 2U);
    EXPECT_EQ(history.edges({.since_ns = base_ + 3'600'000'000'000}).value().edges.size(), 0U);
    EXPECT_EQ(history.edges({.until_ns = base_ - 1}).value().edges.size(), 0U);
    const EdgeList cut = history.edges({.limit = 1}).value();
    EXPECT_TRUE(cut.truncated);
    EXPECT_EQ(cut.edges.size(), 1U);
}

TEST_F(HistoryTest, AScanDoesNotGrowTheEdges) {
    Store store(1'000'000);
    History history(options_, store);
    base_ = now_ns() / 3'600'000'000'000 * 3'600'000'000'000;
    for (std::uint32_t i = 0; i < 40'000; ++i) {
        Record record = opened_;
        auto context = std::make_shared<Context>(*opened_.context);
        auto world = std::make_shared<Names>();
        context->source = world;
        context->path.source = net::Ip::v4(0x01000000 + i);
        record.context = context;
        record.time_ns = base_ + i;
        store.append(std::move(record));
    }
    store.publish();
    history.stop();
    const EdgeList list = history.edges({.limit = 100'000}).value();
    EXPECT_EQ(list.edges.size(), 20'001U);
    std::uint64_t sum = 0;
    for (const Edge& edge : list.edges)
        sum += edge.counts.connections;
    EXPECT_EQ(sum, 40'000U);
    EXPECT_EQ(drain(history.query({})), range(1, 40'000));
}

// --- damage

TEST_F(HistoryTest, TheFileIsPrivate) {
    run(1);
    struct stat status{};
    ASSERT_EQ(::stat(options_.path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(HistoryTest, GarbageIsSetAside) {
    spit(options_.path, "this is not a database, whatever its name says" + std::string(9000, 'x'));
    expect_begun_anew();
    EXPECT_EQ(slurp(options_.path + ".damaged").substr(0, 4), "this");
}

TEST_F(HistoryTest, ForeignAndNewerDatabasesAreSetAside) {
    {
        const Database other = Database::open(options_.path, Database::Mode::write).value();
        ASSERT_TRUE(other.execute("CREATE TABLE mine(x)"));
    }
    expect_begun_anew();
    fs::remove(options_.path + ".damaged");
    {
        const Database newer = Database::open(options_.path, Database::Mode::write).value();
        ASSERT_TRUE(newer.execute("PRAGMA user_version=99"));
    }
    expect_begun_anew();
}

TEST_F(HistoryTest, AMissingTableIsDamage) {
    run(10);
    {
        const Database database = Database::open(options_.path, Database::Mode::write).value();
        ASSERT_TRUE(database.execute("DROP TABLE edge"));
    }
    expect_begun_anew();
}

TEST_F(HistoryTest, TruncatedFilesDoNoHarm) {
    run(20'000);
    const std::string good = slurp(options_.path);
    ASSERT_GT(good.size(), 100'000U);
    for (const std::size_t keep : {std::size_t{1}, std::size_t{100}, std::size_t{4096},
                                   good.size() / 2, good.size() - 4096, good.size() - 1}) {
        SCOPED_TRACE(keep);
        for (const auto& entry : fs::directory_iterator(folder_))
            fs::remove(entry.path());
        spit(options_.path, good.substr(0, keep));
        Store store;
        History history(options_, store);
        EXPECT_EQ(history.stats().writer.error, "");
        add(store, opened_, 3);
        (void)drain(history.query({}));
        history.stop();
        EXPECT_EQ(history.stats().behind, 0U);
        EXPECT_EQ(history.stats().writer.error, "");
    }
}

// Whatever byte is changed: the agent goes on, and what it answers was true or says that something is missing.
TEST_F(HistoryTest, FlippedBytesDoNoHarm) {
    run(4000);
    const std::string good = slurp(options_.path);
    for (std::size_t round = 0; round < 120; ++round) {
        SCOPED_TRACE(round);
        for (const auto& entry : fs::directory_iterator(folder_))
            fs::remove(entry.path());
        std::string bad = good;
        const std::size_t at = (round * 7919 * 31) % bad.size();
        bad[at] = static_cast<char>(bad[at] ^ (1 << (round % 8)));
        spit(options_.path, bad);
        Store store;
        History history(options_, store);
        add(store, opened_, 3);
        FlowQuery query = history.query({});
        std::uint64_t before = 0;
        while (const auto flow = query.next()) {
            if (flow->kind == Kind::lost) continue;
            EXPECT_GT(flow->number, before);
            before = flow->number;
            EXPECT_EQ(flow->source.name, "client");
        }
        (void)history.edges({});
        history.stop();
        EXPECT_EQ(history.stats().writer.error, "");
    }
}

// In a page that opening does not look at.
TEST_F(HistoryTest, DamageThatIsFoundWhileWriting) {
    run(3000);
    std::int64_t page = 0;
    {
        const Database database = Database::open(options_.path, Database::Mode::read).value();
        page = database
                   .value("SELECT rootpage FROM sqlite_master WHERE name='sqlite_autoindex_text_1'")
                   .value();
    }
    ASSERT_GT(page, 1);
    std::string file = slurp(options_.path);
    file.replace(static_cast<std::size_t>(page - 1) * 4096, 4096, std::string(4096, '\x5a'));
    spit(options_.path, file);
    Store store;
    History history(options_, store);
    EXPECT_EQ(history.stats().writer.damage, "");
    add(store, opened_, 10);
    ASSERT_TRUE(eventually([&] { return !history.stats().writer.damage.empty(); }));
    add(store, opened_, 10);
    ASSERT_TRUE(eventually([&] { return history.stats().behind == 0; }));
    history.stop();
    EXPECT_EQ(history.stats().writer.error, "");
    EXPECT_EQ(history.stats().writer.lost, 0U);
    EXPECT_TRUE(fs::exists(options_.path + ".damaged"));
    EXPECT_EQ(drain(history.query({})), range(3001, 3020));
}

TEST_F(HistoryTest, ARemovedFileIsBegunAnew) {
    Store store;
    History history(options_, store);
    add(store, opened_, 10);
    ASSERT_TRUE(eventually([&] { return history.stats().behind == 0; }));
    fs::remove(options_.path);
    ASSERT_TRUE(eventually([&] { return fs::exists(options_.path); }));
    add(store, opened_, 10);
    ASSERT_TRUE(eventually([&] { return history.stats().behind == 0; }));
    EXPECT_EQ(drain(history.query({})), range(1, 20));
}

TEST_F(HistoryTest, AFolderThatCannotBeWrittenIsSaid) {
    options_.path = folder_ / "nowhere" / "history.db";
    Store store;
    History history(options_, store);
    EXPECT_NE(history.stats().writer.error.find("nowhere"), std::string::npos);
    add(store, opened_, 3);
    EXPECT_EQ(drain(history.query({})), range(1, 3));
    EXPECT_FALSE(history.edges({}));
}

// --- crash

TEST_F(HistoryTest, AKilledWriterLeavesAWholeFile) {
    for (int round = 0; round < 5; ++round) {
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            Store store(1'000'000);
            auto writer = Writer::open(options_);
            if (!writer) ::_exit(1);
            store.begin_with((*writer)->next_number());
            (*writer)->start(store);
            for (;;) { // 100,000 a second at most, so that nothing is lost
                add(store, opened_, 200);
                ::usleep(2000);
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(150 + round * 37));
        if (round == 4) {
            EXPECT_TRUE(eventually([&] {
                const auto database = Database::open(options_.path, Database::Mode::read);
                return database && database->value("SELECT count(*) FROM block").value_or(0) > 0;
            }));
        }
        ::kill(child, SIGKILL);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));

        Store store;
        History history(options_, store);
        EXPECT_EQ(history.stats().writer.damage, "");
        EXPECT_EQ(history.stats().writer.error, "");
        const std::uint64_t last = history.stats().writer.last;
        const Numbers numbers = drain(history.query({}));
        EXPECT_EQ(numbers, range(1, last));
        // Sums and flows are of the same transactions.
        std::uint64_t sum = 0;
        const EdgeList all = history.edges({}).value();
        for (const Edge& edge : all.edges)
            sum += edge.counts.connections;
        EXPECT_EQ(sum, last);
        const Database database = Database::open(options_.path, Database::Mode::read).value();
        auto check = database.prepare("PRAGMA integrity_check").value();
        ASSERT_TRUE(check.step().value());
        EXPECT_EQ(check.bytes(0), "ok");
        if (round == 4) {
            EXPECT_GT(last, 0U);
        }
    }
}

} // namespace
} // namespace beeline::observe::history
