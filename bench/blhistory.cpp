// Fills a history with flows of a small cluster and asks it for one workload's last hour.
//   blhistory FOLDER FLOWS HOURS WORKLOADS
// The flows are spread evenly over the last HOURS; each goes from one of the workloads to one of eight peers of it. Prints
// numbers by name, one a line.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "observe/history/history.h"

using namespace beeline;
using namespace beeline::observe;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHour = 3600 * kSecond;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

void print(const char* name, double value) { std::printf("%s %.3f\n", name, value); }

std::shared_ptr<const Names> workload(std::uint32_t index) {
    auto names = std::make_shared<Names>();
    names->kind = model::FlowEnd::Kind::workload;
    names->endpoint = index + 1;
    names->identity = 1000 + index;
    names->space = "shop";
    names->name = "w" + std::to_string(index);
    names->labels = {{"app", names->name}, {"team", "t" + std::to_string(index % 10)}};
    return names;
}

struct Cluster {
    explicit Cluster(std::uint32_t count) {
        std::vector<std::shared_ptr<const Names>> all;
        for (std::uint32_t i = 0; i < count; ++i)
            all.push_back(workload(i));
        const auto rule = std::make_shared<const std::string>("NetworkPolicy shop/all ingress[0]");
        for (std::uint32_t i = 0; i < count; ++i) {
            for (std::uint32_t peer = 1; peer <= 8; ++peer) {
                const std::uint32_t other = (i + peer * peer) % count;
                auto context = std::make_shared<Context>();
                context->path.source = net::Ip::v4(0x0a580000 + i);
                context->path.destination = net::Ip::v4(0x0a580000 + other);
                context->path.protocol = model::Protocol::tcp;
                context->source = all[i];
                context->destination = all[other];
                context->ingress_rule = rule;
                contexts.push_back(std::move(context));
            }
            bl_process key{};
            key.pid = i + 100;
            key.start_ns = i * 1'000'000ULL;
            std::copy_n("server", 6, key.comm);
            processes.push_back(std::make_shared<ProcessInfo>(key));
        }
    }
    std::vector<std::shared_ptr<const Context>> contexts;
    std::vector<std::shared_ptr<const ProcessInfo>> processes;
};

Record flow(const Cluster& cluster, std::uint64_t number, std::int64_t time_ns) {
    const std::uint64_t mixed = (number / 2) * 0x9e3779b97f4a7c15U;
    Record record;
    const std::size_t which = (mixed >> 33U) % cluster.contexts.size();
    record.context = cluster.contexts[which];
    record.process[0] = cluster.processes[which / 8];
    record.time_ns = time_ns;
    record.port = {static_cast<std::uint16_t>(32768 + (mixed >> 20U) % 28000), 8080};
    record.tcp_flags = {0x02, 0};
    record.packets = {1, 0};
    record.bytes = {60, 0};
    record.opened_ns = time_ns;
    if (number % 2 == 1) { // every other one tells the end of a connection
        record.kind = model::Flow::Kind::closed;
        record.opened_ns -= 30'000'000 + static_cast<std::int64_t>(mixed >> 40U);
        record.tcp_flags = {0x1b, 0x1b};
        record.packets = {6, 5};
        record.bytes = {500 + mixed % 1000, 9000 + mixed % 5000};
    }
    return record;
}

double megabytes_resident() {
    std::ifstream file("/proc/self/status");
    std::string line;
    while (std::getline(file, line))
        if (line.starts_with("VmRSS:")) return std::atof(line.c_str() + 6) / 1024;
    return 0;
}

double cpu_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Asked {
    double milliseconds;
    double cpu_milliseconds;
    std::size_t flows;
};

Asked ask(const history::History& history, FlowFilter filter) {
    const auto start = Clock::now();
    const double cpu = cpu_seconds();
    auto query = history.query(std::move(filter));
    std::size_t count = 0;
    while (query.next())
        ++count;
    return {seconds_since(start) * 1000, (cpu_seconds() - cpu) * 1000, count};
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

int run(const std::string& folder, std::uint64_t flows, double hours, std::uint32_t workloads) {
    history::Options options;
    options.path = folder + "/history.db";
    options.flow_hours = 24 * 30;
    options.max_bytes = 1ULL << 40;
    const Cluster cluster(workloads);
    const auto span = static_cast<std::int64_t>(hours * static_cast<double>(kHour));
    const std::int64_t begin = now_ns() - span;
    {
        Store store(1'000'000);
        history::History history(options, store);
        const auto start = Clock::now();
        for (std::uint64_t i = 0; i < flows; ++i) {
            store.append(flow(cluster, i,
                              begin + static_cast<std::int64_t>(static_cast<double>(i) /
                                                                static_cast<double>(flows) *
                                                                static_cast<double>(span))));
            if (i % 512 == 0) store.publish();
            // As fast as it can write, no faster.
            while (i % 4096 == 0 && history.stats().behind > 500'000)
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        store.publish();
        history.stop();
        print("write_per_second", static_cast<double>(flows) / seconds_since(start));
        print("lost", static_cast<double>(history.stats().writer.lost));
        print("megabytes", static_cast<double>(history.stats().writer.bytes) / 1e6);
        print("rss_megabytes", megabytes_resident());
    }
    Store store(1'000'000); // as after a restart: all of it is in the file
    const history::History history(options, store);
    FlowFilter hour{.pods = {"shop/w7"}, .since_ns = now_ns() - kHour};
    std::vector<double> times;
    std::vector<double> cpu_times;
    std::size_t found = 0;
    for (int i = 0; i < 9; ++i) {
        const Asked asked = ask(history, hour);
        times.push_back(asked.milliseconds);
        cpu_times.push_back(asked.cpu_milliseconds);
        found = asked.flows;
    }
    print("hour_first_ms", times.front());
    print("hour_ms", median(times));
    print("hour_cpu_ms", median(cpu_times));
    print("hour_flows", static_cast<double>(found));
    FlowFilter newest = hour;
    newest.last = 20;
    print("last_20_ms", ask(history, newest).milliseconds);
    FlowFilter all{.pods = {"shop/w7"}};
    const Asked asked = ask(history, all);
    print("all_ms", asked.milliseconds);
    print("all_cpu_ms", asked.cpu_milliseconds);
    print("all_flows", static_cast<double>(asked.flows));
    const auto start = Clock::now();
    const auto edges = history.edges({.since_ns = now_ns() - 24 * kHour, .pods = {"shop/w7"}});
    print("edges_ms", seconds_since(start) * 1000);
    print("edges", edges ? static_cast<double>(edges->edges.size()) : -1);
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 5) {
        std::fprintf(stderr, "usage: blhistory FOLDER FLOWS HOURS WORKLOADS\n");
        return 2;
    }
    return run(argv[1], std::strtoull(argv[2], nullptr, 10), std::atof(argv[3]),
               static_cast<std::uint32_t>(std::atoi(argv[4])));
}
