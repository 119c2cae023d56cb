#include "cli/connectivity_bed.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <set>
#include <thread>

#include "cli/connectivity/far_end.h"
#include "cli/json_view.h"
#include "cli/run_spec.h"
#include "cli/runtime.h"
#include "cli/runtime_files.h"
#include "cli/runtime_log.h"
#include "net/listeners.h"
#include "net/namespace.h"
#include "net/netlink.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kListenWait = 10s;
constexpr auto kStopWait = 2s;

bool is_test_space(std::string_view space) {
    return space == kTestSpace || space == kOtherTestSpace;
}

Family family_of(const net::Ip& address) { return address.is_v4() ? Family::v4 : Family::v6; }

std::vector<net::Ip> gateways_of(Result<net::Netlink> netlink) {
    std::vector<net::Ip> result;
    if (!netlink) return result;
    const auto routes = netlink->routes();
    if (!routes) return result;
    for (const auto& route : *routes) {
        if (route.destination.length == 0 && route.table == 254 && !route.gateway.is_zero() &&
            std::find(result.begin(), result.end(), route.gateway) == result.end())
            result.push_back(route.gateway);
    }
    return result;
}

std::optional<net::Ip> of_family(const std::vector<net::Ip>& all, Family family) {
    for (const auto& one : all)
        if (family_of(one) == family) return one;
    return {};
}

std::string own_program() {
    std::array<char, 4096> path{};
    const auto size = ::readlink("/proc/self/exe", path.data(), path.size());
    return size > 0 ? std::string(path.data(), static_cast<std::size_t>(size)) : "beeline";
}

std::string prefix_of(const net::Ip& address) { return net::Prefix::host(address).to_string(); }

} // namespace

// --- processes ---------------------------------------------------------------------------------

TestChild::TestChild(TestChild&& other) noexcept
    : to(std::move(other.to)), from(std::move(other.from)), pid(std::exchange(other.pid, 0)) {}

TestChild& TestChild::operator=(TestChild&& other) noexcept {
    std::swap(to, other.to);
    std::swap(from, other.from);
    std::swap(pid, other.pid);
    return *this;
}

TestChild::~TestChild() {
    if (pid <= 0) return;
    ::kill(pid, SIGKILL);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
}

std::vector<net::Ip> default_gateways() { return gateways_of(net::Netlink::open()); }

Result<TestChild> ConnectivityBed::spawn(std::string_view where, const Use& use) {
    const RunRecord* record = nullptr;
    Fd netns;
    if (where != "host") {
        const auto found = records_.find(where);
        if (found == records_.end()) return fail(Code::not_found, "no workload {} runs", where);
        record = &found->second;
        netns = Fd(::open(record->netns.c_str(), O_RDONLY | O_CLOEXEC));
        if (!netns) return fail_errno(errno, record->netns);
    }
    int in[2];
    int out[2];
    if (::pipe2(in, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    Fd child_in(in[0]);
    Fd to(in[1]);
    if (::pipe2(out, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    Fd from(out[0]);
    Fd child_out(out[1]);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno(errno, "fork");
    if (pid == 0) {
        for (const int signal : {SIGINT, SIGTERM, SIGHUP})
            ::signal(signal, SIG_DFL);
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() != parent) ::_exit(1);
        to.reset(); // so that it sees the end of its input
        from.reset();
        if (record != nullptr && (!cgroup_add(mounts_, record->cgroup, ::getpid()) ||
                                  ::setns(netns.get(), CLONE_NEWNET) != 0))
            ::_exit(1);
        use(child_in.get(), child_out.get());
        ::_exit(0);
    }
    TestChild child;
    child.to = std::move(to);
    child.from = std::move(from);
    child.pid = pid;
    return child;
}

// --- life --------------------------------------------------------------------------------------

Result<std::unique_ptr<ConnectivityBed>> ConnectivityBed::open(const api::Paths& paths,
                                                               const api::Client& client) {
    const auto file = paths.run + "/connectivity.lock";
    Fd lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock) return fail_errno(errno, file + " (is the agent running?)");
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
        return fail(Code::exists, "another connectivity test runs: wait for its end");
    std::unique_ptr<ConnectivityBed> bed(new ConnectivityBed(paths, client, std::move(lock)));
    bed->mounts_ = TRY(find_cgroup_mounts());
    return bed;
}

ConnectivityBed::~ConnectivityBed() = default;

Result<> ConnectivityBed::load() {
    records_.clear();
    for (auto& record : load_records(RunFiles(paths_)).records) {
        if (is_test_space(record.space) && record.status == RunRecord::Status::running)
            records_.emplace(record.name, std::move(record));
    }
    return {};
}

Result<> ConnectivityBed::clear() {
    host_server_ = {};
    std::string problem;
    for (const auto space : {kTestSpace, kOtherTestSpace}) {
        const auto answer =
            client_.get(api::url("/v1/objects", {{"namespace", std::string(space)}}));
        if (!answer) {
            problem = answer.error().message;
            break;
        }
        for (const auto& object : list(*answer, "objects")) {
            if (text(object, "yaml").find(kTestLabel) == std::string::npos) continue;
            const auto path = fmt::format("/v1/objects/{}/{}/{}", text(object, "kind"), space,
                                          text(object, "name"));
            if (auto done = client_.call("DELETE", path); !done) problem = done.error().message;
        }
    }
    (void)clean_leftovers(paths_, client_);
    const RunFiles files(paths_);
    std::vector<RunRecord> live;
    std::vector<RunRecord> all;
    for (auto& record : load_records(files).records) {
        if (!is_test_space(record.space)) continue;
        if (record.status != RunRecord::Status::exited) live.push_back(record);
        all.push_back(std::move(record));
    }
    if (auto stopped = stop_workloads(live, paths_, client_, kStopWait); !stopped)
        problem = stopped.error().message;
    for (const auto& record : all) {
        remove_record(files, record.key());
        remove_log(files.log(record.key()));
    }
    records_.clear();
    if (!problem.empty()) return fail(Code::system, "{}", problem);
    return {};
}

// --- workloads ---------------------------------------------------------------------------------

Result<> ConnectivityBed::start_workload(const TestWorkload& workload) {
    RunFlags flags;
    flags.name = workload.name;
    flags.space = workload.space;
    flags.labels = workload.labels;
    flags.ports = workload.ports;
    flags.workdir = "/";
    flags.command = {own_program(), "far-end", "--name", workload.name};
    const auto add = [&](const char* option, const std::string& value) {
        flags.command.emplace_back(option);
        flags.command.push_back(value);
    };
    for (const auto port : workload.tcp)
        add("--tcp", std::to_string(port));
    for (const auto port : workload.udp)
        add("--udp", std::to_string(port));
    if (workload.dns) {
        const auto name = [&](const char* what, std::initializer_list<std::string_view> whose,
                              std::vector<std::string> found = {}) {
            for (const auto one : whose)
                for (const auto& address : addresses(one))
                    found.push_back(address.to_string());
            add("--dns", fmt::format("{}.beeline.test={}", what, fmt::join(found, ",")));
        };
        name("web-a", {"web-a"});
        name("headless", {"web-a", "web-b"});
        std::vector<std::string> many; // of the range for documentation
        for (int i = 1; i <= 60; ++i) {
            many.push_back(fmt::format("192.0.2.{}", i));
            many.push_back(fmt::format("2001:db8::{:x}", i));
        }
        name("many", {}, many);
    }
    const auto spec = TRY(parse_run(flags));
    auto outcome = TRY(run_detached(spec, paths_, client_));
    if (!outcome.message.empty()) return fail(Code::system, "{}", outcome.message);
    records_[workload.name] = std::move(outcome.record);
    return {};
}

Result<> ConnectivityBed::wait_listening(const TestWorkload& workload,
                                         const std::function<bool()>& interrupted) {
    auto tcp = workload.tcp;
    auto udp = workload.udp;
    if (workload.dns) {
        tcp.push_back(53);
        udp.push_back(53);
    }
    const auto pid = static_cast<std::uint32_t>(records_.at(workload.name).pid);
    const auto missing = [&](const std::vector<std::uint16_t>& ports, bool of_tcp) {
        if (ports.empty()) return false;
        const auto found = net::listeners_of("/proc", pid, of_tcp);
        return std::any_of(ports.begin(), ports.end(), [&](std::uint16_t port) {
            return std::none_of(found.begin(), found.end(),
                                [&](const net::Listener& one) { return one.port == port; });
        });
    };
    const auto until = Clock::now() + kListenWait;
    while (missing(tcp, true) || missing(udp, false)) {
        if (Clock::now() > until || interrupted())
            return fail(Code::unavailable, "the server in {} does not listen",
                        records_.at(workload.name).title());
        std::this_thread::sleep_for(5ms);
    }
    return {};
}

Result<> ConnectivityBed::start_host_server() {
    if (host_.empty()) return {};
    auto server = FarEnd::open({.name = "host", .bind = host_, .tcp = {0}, .udp = {0}});
    if (!server) return tl::unexpected(server.error().with("the server on the machine"));
    host_tcp_ = server->tcp_ports().front();
    host_udp_ = server->udp_ports().front();
    host_server_ = TRY(spawn("host", [&](int, int) { server->serve(); }));
    return {};
}

Result<> ConnectivityBed::start(const Plan& plan) {
    world_ = plan.world;
    gateway_ = default_gateways();
    std::set<std::string> names{"client"}; // by which the machine is found
    std::vector<const TestObject*> objects;
    for (const auto& object : test_objects()) {
        const bool wanted = std::any_of(plan.cases.begin(), plan.cases.end(), [&](const Case* one) {
            return std::find(one->objects.begin(), one->objects.end(), object.name) !=
                   one->objects.end();
        });
        if (!wanted) continue;
        names.insert(object.workloads.begin(), object.workloads.end());
        if (!object.live) objects.push_back(&object);
    }
    for (const auto* one : plan.cases) {
        for (const auto& name : {one->from, one->to})
            if (find_test_workload(name) != nullptr) names.insert(name);
        names.insert(one->servers.begin(), one->servers.end());
    }
    // Its names lead to them.
    if (names.contains("dns")) names.insert({"web-a", "web-b"});

    TRY(load());
    std::size_t started = 0;
    for (const auto& workload : test_workloads()) {
        if (!names.contains(workload.name) || records_.contains(workload.name) || plan.reuse)
            continue;
        if (plan.interrupted()) return fail(Code::unavailable, "interrupted");
        TRY(start_workload(workload));
        plan.progress(fmt::format("starting workloads: {} of {}", ++started, names.size()));
    }
    for (const auto& workload : test_workloads()) {
        if (records_.contains(workload.name) && !plan.reuse)
            TRY(wait_listening(workload, plan.interrupted));
    }
    if (const auto client = records_.find("client"); client != records_.end()) {
        const auto netns = TRY(net::Namespace::open(client->second.netns));
        host_ = gateways_of(net::Netlink::open_in(netns));
        if (auto netlink = net::Netlink::open_in(netns))
            if (const auto link = netlink->link("eth0")) mtu_ = link->mtu;
    }
    TRY(start_host_server());
    plan.progress(fmt::format("applying {} objects", objects.size()));
    return apply_all(objects);
}

// --- addresses ---------------------------------------------------------------------------------

std::vector<net::Ip> ConnectivityBed::addresses(std::string_view name) const {
    std::vector<net::Ip> result;
    if (name == "world") {
        for (const auto& one : world_)
            result.push_back(one.address);
    } else if (const auto found = records_.find(name); found != records_.end()) {
        for (const auto& text : found->second.addresses)
            if (const auto address = net::Ip::parse(text)) result.push_back(*address);
    }
    return result;
}

std::optional<net::Ip> ConnectivityBed::address(std::string_view name, Family family) const {
    if (name == "host") return of_family(host_, family);
    if (name == "gateway") return of_family(gateway_, family);
    return of_family(addresses(name), family);
}

std::optional<Endpoint> ConnectivityBed::target(const Case& one) const {
    if (one.to.starts_with("service:"))
        return Endpoint{test_service_address(test_service_number(one.to.substr(8)), one.family),
                        one.port};
    if (one.to == "world") {
        for (const auto& each : world_)
            if (family_of(each.address) == one.family) return each;
        return {};
    }
    const auto found = address(one.to, one.family);
    if (!found) return {};
    auto port = one.port;
    if (one.to == "host" && one.kind != ProbeKind::ping)
        port = one.kind == ProbeKind::udp ? host_udp_ : host_tcp_;
    return Endpoint{*found, port};
}

std::string ConnectivityBed::known_as(std::string_view from) const {
    const auto* workload = find_test_workload(from);
    return workload != nullptr ? workload->space + "/" + workload->name : std::string(from);
}

// --- objects -----------------------------------------------------------------------------------

Result<std::string> ConnectivityBed::expand(const TestObject& object) const {
    std::string result;
    std::string_view rest = object.text;
    for (;;) {
        const auto begin = rest.find("${");
        result += rest.substr(0, begin);
        if (begin == std::string_view::npos) return result;
        rest.remove_prefix(begin + 2);
        const auto inside = rest.substr(0, rest.find('}'));
        rest.remove_prefix(inside.size() + 1);
        const auto verb = inside.substr(0, inside.find(':'));
        const auto name = inside.substr(verb.size() + 1);
        std::vector<std::string> parts;
        if (verb == "vip") {
            for (const auto family : {Family::v4, Family::v6}) {
                if (of_family(addresses("client"), family))
                    parts.push_back(fmt::format(
                        "\"{}\"",
                        test_service_address(test_service_number(name), family).to_string()));
            }
            if (parts.empty()) return fail(Code::unavailable, "workloads have no addresses");
            result += fmt::format("clusterIP: {}, clusterIPs: [{}]", parts.front(),
                                  fmt::join(parts, ", "));
            continue;
        }
        const auto found = addresses(name);
        if (found.empty())
            return fail(Code::not_found, "{} is needed, but has no address", known_as(name));
        for (const auto& address : found) {
            if (verb == "block")
                parts.push_back(fmt::format("{{ipBlock: {{cidr: \"{}\"}}}}", prefix_of(address)));
            else if (verb == "allbut")
                parts.push_back(fmt::format("{{ipBlock: {{cidr: \"{}\", except: [\"{}\"]}}}}",
                                            address.is_v4() ? "0.0.0.0/0" : "::/0",
                                            prefix_of(address)));
            else if (verb == (address.is_v4() ? "v4" : "v6"))
                parts.push_back(address.to_string());
        }
        result += fmt::format("{}", fmt::join(parts, ", "));
    }
}

Result<> ConnectivityBed::apply_all(const std::vector<const TestObject*>& objects) {
    std::string text;
    for (const auto* object : objects) {
        if (object->family != 0 && !address("client", static_cast<Family>(object->family)))
            continue;
        text += "---\n" + TRY(expand(*object));
    }
    if (text.empty()) return {};
    const auto done = client_.call("POST", "/v1/objects", text, 30'000);
    if (!done) return tl::unexpected(done.error().with("the objects of the test"));
    return {};
}

Result<> ConnectivityBed::apply(const std::string& object) {
    return apply_all({find_test_object(object)});
}

Result<> ConnectivityBed::remove(const std::string& object) {
    const auto name = object.substr(object.find('/') + 1);
    TRY(client_.call("DELETE", fmt::format("/v1/objects/networkpolicy/{}/{}", kTestSpace, name)));
    return {};
}

} // namespace beeline::cli
