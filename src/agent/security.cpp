#include "agent/security.h"

#include <netdb.h>
#include <resolv.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>

#include "base/log.h"
#include "base/wanted.h"
#include "observe/json.h"
#include "security/events/host.h"
#include "security/events/recording.h"
#include "security/events/snapshot.h"

namespace beeline::agent {
namespace {

using nlohmann::json;
using security::HostFacts;

constexpr std::uint64_t kNamesPeriodMs = 60'000;
constexpr std::uint64_t kTidyPeriodMs = 1'000;
constexpr unsigned kSettleMs = 100;
constexpr std::size_t kFlowsOfAlert = 10;
constexpr std::size_t kCgroupsKnown = 4096;
constexpr std::size_t kNameThreads = 16;
constexpr std::int64_t kFlowsBackNs = 60'000'000'000;
constexpr std::uint32_t kMostIdentified = 4096;
constexpr std::uint64_t kFlowAgeNs = 1'000'000'000; // a flow is read well within this
constexpr std::chrono::milliseconds kCriWait{500};
constexpr std::chrono::milliseconds kCriPause{5'000};
constexpr std::uint32_t kProcessRingBytes = 4U << 20;

std::shared_ptr<HostFacts> facts_of_machine(const std::string& node) {
    auto facts = std::make_shared<HostFacts>(HostFacts{security::host_facts(), {}});
    facts->hostname = node;
    return facts;
}

std::vector<std::string> addresses_of(const std::string& name) {
    std::vector<std::string> out;
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* list = nullptr;
    if (getaddrinfo(name.c_str(), nullptr, &hints, &list) != 0) return out;
    for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof text, nullptr, 0,
                        NI_NUMERICHOST) == 0)
            out.emplace_back(text);
    }
    freeaddrinfo(list);
    return out;
}

// --- streams of the API

class AlertLines : public api::LineStream {
public:
    AlertLines(security::AlertReader reader, bool follow)
        : reader_(std::move(reader)), follow_(follow) {}

    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        auto item = reader_.next(wait);
        if (!item) {
            ended_ = !follow_;
            return {};
        }
        if (const auto* missed = std::get_if<security::AlertReader::Missed>(&*item))
            return json{{"missed", missed->count}}.dump();
        return security::alert_json(*std::get<0>(*item));
    }
    [[nodiscard]] bool done() const override { return ended_; }

private:
    security::AlertReader reader_;
    bool follow_;
    bool ended_ = false;
};

class TapLines : public api::LineStream {
public:
    explicit TapLines(std::shared_ptr<security::Tap> tap) : tap_(std::move(tap)) {}

    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        if (at_ == lines_.size()) {
            lines_.clear();
            at_ = 0;
            if (tap_->take(lines_, wait) == 0) return idle();
        }
        if (const auto lost = tap_->lost(); lost != told_) {
            const auto missed = lost - told_;
            told_ = lost;
            return loss(missed);
        }
        return line(std::move(lines_[at_++]));
    }
    [[nodiscard]] bool done() const override { return false; }

protected:
    virtual std::optional<std::string> idle() { return {}; }
    virtual std::string line(std::string text) { return text; }
    virtual std::string loss(std::uint64_t missed) { return json{{"missed", missed}}.dump(); }

private:
    std::shared_ptr<security::Tap> tap_;
    std::vector<std::string> lines_;
    std::size_t at_ = 0;
    std::uint64_t told_ = 0;
};

// Header, machine, one record of each process, then what the tap brings. When nothing happens a frame comes all the same:
// the client sees by it that it may go. Containers that are met later follow in further context frames.
class RecordingBytes final : public TapLines {
public:
    RecordingBytes(std::shared_ptr<security::Tap> tap, std::vector<std::string> first,
                   std::function<std::string()> context)
        : TapLines(std::move(tap)), first_(std::move(first)), context_(std::move(context)) {}

    std::optional<std::string> next(std::chrono::milliseconds wait) override {
        if (at_ < first_.size()) return std::move(first_[at_++]);
        const auto now = std::chrono::steady_clock::now();
        if (now - looked_ > kContextPeriod) {
            looked_ = now;
            if (auto context = context_(); context != told_) {
                told_ = std::move(context);
                return security::frame(security::FrameType::context, told_);
            }
        }
        return TapLines::next(wait);
    }
    [[nodiscard]] bool raw() const override { return true; }

private:
    static constexpr auto kContextPeriod = std::chrono::milliseconds(500);

    std::optional<std::string> idle() override { return loss(0); }
    std::string line(std::string text) override {
        return security::frame(security::FrameType::event, text);
    }
    std::string loss(std::uint64_t missed) override { return security::losses_frame(missed); }

    std::vector<std::string> first_;
    std::function<std::string()> context_;
    std::size_t at_ = 0;
    std::chrono::steady_clock::time_point looked_{};
    std::string told_;
};

bool wants(const api::EventQuery& query, const security::Event& event) {
    const security::Process& process = *event.process;
    return none_or_any(query.kinds, [&](auto kind) { return kind == event.head.kind; }) &&
           none_or_any(
               query.workloads,
               [&](const auto& one) { return model::names_workload(one, process.workload); }) &&
           none_or_any(query.containers,
                       [&](const auto& id) {
                           return process.container && process.container->full_id.starts_with(id);
                       }) &&
           none_or_any(query.pids, [&](auto pid) {
               for (const auto* up = &process; up != nullptr; up = up->parent) {
                   if (up->key.pid == pid) return true;
               }
               return false;
           });
}

std::uint64_t boot_ns() {
    timespec now{};
    clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
           static_cast<std::uint64_t>(now.tv_nsec);
}

// What /proc said stays where the tree knows no more.
void identify_as(observe::ProcessInfo& info, const security::Process& process) {
    const auto before = info.facts();
    observe::ProcessFacts facts = *before;
    const std::string_view comm(info.key.comm, strnlen(info.key.comm, sizeof info.key.comm));
    // The tree knows the newest image. It is that of the flow's program, unless the process executed another one since.
    const bool same = process.name == comm || process.exec_boot_ns + kFlowAgeNs < boot_ns();
    if (same && !process.image->exepath.empty()) facts.binary = process.image->exepath;
    if (process.container) {
        facts.container = process.container->full_id;
        const auto& users = process.container->users;
        if (const auto user = users.find(info.key.uid); user != users.end())
            facts.user = user->second;
    }
    std::vector<std::string> ancestry;
    for (const auto* up = process.parent; up != nullptr && ancestry.size() < observe::kAncestors;
         up = up->parent) {
        const auto& name = up->image->exepath.empty() ? up->name : up->image->exepath;
        if (!name.empty()) ancestry.push_back(name);
    }
    if (ancestry.size() >= facts.ancestry.size()) facts.ancestry = std::move(ancestry);
    if (facts != *before) info.set(std::make_shared<const observe::ProcessFacts>(std::move(facts)));
}

std::string scope_path(const Security::Environment& environment) {
    if (environment.cgroup_mount.empty() || environment.scope.empty()) return {};
    return environment.cgroup_mount + "/" + environment.scope;
}

security::Sensor::Options sensor_options(const Security::Environment& environment) {
    security::Sensor::Options out;
    out.scope_cgroup = scope_path(environment);
    out.procs_ring_bytes = kProcessRingBytes;
    out.events_ring_bytes = environment.config.ring_bytes;
    return out;
}

bool has_rule_files(const std::vector<std::string>& paths) {
    return std::any_of(paths.begin(), paths.end(), [](const std::string& path) {
        std::error_code error;
        return std::filesystem::is_regular_file(path, error) ||
               (std::filesystem::is_directory(path, error) &&
                !std::filesystem::is_empty(path, error));
    });
}

} // namespace

Security::Begun Security::begin(const Environment& environment) {
    Begun begun;
    if (has_rule_files(environment.config.rules)) {
        begun.sensor = std::async(std::launch::async, [sensors = sensor_options(environment)] {
            return security::Sensor::load(sensors);
        });
    }
    begun.rules = std::async(std::launch::async, [files = environment.config.rules] {
        return security::read_rules(files);
    });
    return begun;
}

Security::Security(Environment environment, loop::Loop& loop)
    : environment_(std::move(environment)), loop_(loop),
      store_(environment_.config.alerts_in_memory) {}

Security::~Security() {
    for (const auto timer : timers_)
        loop_.cancel(timer);
    watches_.clear();
    guard_.reset(); // its thread uses all of the rest
    dispatcher_.reset();
}

Result<std::unique_ptr<Security>> Security::start(Environment environment, Begun begun,
                                                  loop::Loop& loop) {
    std::unique_ptr<Security> security(new Security(std::move(environment), loop));
    TRY(security->open(std::move(begun)));
    return security;
}

Result<> Security::open(Begun begun) {
    host_ = facts_of_machine(environment_.node);
    TRY(open_outputs());

    security::ContainerResolver::Options containers;
    containers.cgroup_mount = environment_.cgroup_mount;
    for (const auto& storage : environment_.config.storages)
        containers.sources.storages.push_back(storage);
    cri_ = std::make_unique<security::CriClient>(security::CriClient::Options{
        .sockets = environment_.config.cri_sockets.value_or(security::CriClient::usual_sockets()),
        .most_wait = kCriWait,
        .pause_after_failure = kCriPause});
    containers.sources.kubernetes = [this](const security::ContainerId& id,
                                           security::Container& container) {
        return cri_->describe(id, container);
    };
    containers.changed = [this, alive = std::weak_ptr<int>(alive_)](std::uint64_t cgroup) {
        loop_.post([this, alive, cgroup] {
            if (alive.expired()) return;
            if (cgroup != 0) set_scope(cgroup);
            if (guard_) guard_->place_again(cgroup);
        });
    };
    containers_ = std::make_unique<security::ContainerResolver>(std::move(containers));

    ring_ready_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    if (!ring_ready_) return fail_errno(errno, "cannot watch the event rings");
    if (begun.sensor.valid()) TRY(sense(TRY(begun.sensor.get())));

    security::EventSource source;
    source.fd = ring_ready_.get();
    source.consume = [this](const security::RecordHandler& handler) {
        auto* in_use = sensing();
        return in_use == nullptr ? 0 : in_use->ring->consume(handler);
    };
    source.capture = [this](const security::Capture& capture) { return set_capture(capture); };
    source.lost = [this] { return lost(); };
    source.snapshot = [this](bool environment, const security::RecordHandler& handler) {
        return snapshot(environment, [&](std::span<const std::byte> record) {
            tell_name(record);
            handler(record);
        });
    };
    if (environment_.flows != nullptr) {
        observe::FlowFilter filter;
        filter.follow = true;
        flow_reader_.emplace(environment_.flows->read(std::move(filter)));
        source.next_flow = [this] { return flow_reader_->next(); };
    }

    security::Guard::Options options;
    options.tree.boot_time_ns = host_->boot_time_ns;
    options.engine = environment_.config.engine;
    options.rules = environment_.config.rules;
    options.first_rules = std::move(begun.rules);
    options.host = host_;
    options.placement = [this, seen = std::set<std::uint64_t>{},
                         alive = std::weak_ptr<int>(alive_)](std::uint64_t cgroup) mutable {
        if (cgroup != 0 && sensing() != nullptr && seen.insert(cgroup).second) {
            if (seen.size() > kCgroupsKnown) seen.clear(); // cgroups come and go
            loop_.post([this, cgroup, alive] {
                if (!alive.expired()) set_scope(cgroup);
            });
        }
        return containers_->placement(cgroup);
    };
    options.sink = [this](model::Alert&& alert) { dispatcher_->send(std::move(alert)); };
    guard_ = TRY(security::Guard::start(std::move(options), std::move(source)));
    if (!guard_->loaded().successful())
        log_error("the rule files have errors, no rule is in force",
                  kv("see", "beeline rules reload"));
    TRY(watch_rules());
    resolve_names();
    timers_.push_back(loop_.every(kNamesPeriodMs, [this] { resolve_names(); }));
    timers_.push_back(loop_.every(kTidyPeriodMs, [this] { guard_->tidy(); }));
    return {};
}

Result<> Security::sense(std::unique_ptr<security::Sensor> sensor) {
    auto sensing = std::make_unique<Sensing>();
    sensing->ring =
        TRY(ebpf::MergedRing::open(std::array{sensor->procs_ring(), sensor->events_ring()}));
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(ring_ready_.get(), EPOLL_CTL_ADD, sensing->ring->fd(), &event) != 0)
        return fail_errno(errno, "cannot watch the event rings");
    sensing->sensor = std::move(sensor);
    sensing_ = std::move(sensing);
    sensing_in_use_.store(sensing_.get(), std::memory_order_release);
    for (const auto cgroup : workload_cgroups_)
        set_scope(cgroup);
    return {};
}

Result<> Security::set_capture(const security::Capture& capture) {
    if (capture == security::Capture{}) {
        if (sensing_) sensing_->sensor->stop();
        return {};
    }
    if (!sensing_) TRY(sense(TRY(security::Sensor::load(sensor_options(environment_)))));
    return sensing_->sensor->set(capture);
}

Result<> Security::open_outputs() {
    const auto& config = environment_.config;
    std::vector<std::pair<std::string, std::unique_ptr<security::Channel>>> channels;
    if (config.to_stdout) channels.emplace_back("stdout", security::stdout_channel());
    if (config.to_syslog) channels.emplace_back("syslog", security::syslog_channel());
    if (config.file) channels.emplace_back("file", security::file_channel(*config.file));
    if (config.program)
        channels.emplace_back("program", security::program_channel(*config.program));
    if (config.http) channels.emplace_back("http", TRY(security::http_channel(*config.http)));
    security::DispatchOptions options;
    options.json = config.json;
    options.iso_8601 = config.iso_8601;
    options.queue = config.queue;
    options.per_second = config.alerts_per_second;
    options.burst = config.alert_burst;
    options.complete = [this](model::Alert& alert) { add_flows(alert); };
    dispatcher_ =
        std::make_unique<security::Dispatcher>(std::move(options), store_, std::move(channels));
    return {};
}

// The newest flows of the process, oldest first.
void Security::add_flows(model::Alert& alert) const {
    if (environment_.flows == nullptr || alert.pid == 0) return;
    observe::FlowFilter filter;
    filter.pids = {alert.pid};
    filter.since_ns = alert.time_ns - kFlowsBackNs;
    auto reader = environment_.flows->read(std::move(filter), observe::Order::newest_first);
    while (alert.flows.size() < kFlowsOfAlert) {
        const auto flow = reader.next();
        if (!flow) break;
        if (flow->kind != model::Flow::Kind::lost)
            alert.flows.push_back(observe::to_json(*flow, environment_.node));
    }
    std::reverse(alert.flows.begin(), alert.flows.end());
}

// Folders and files are watched where they lie.
Result<> Security::watch_rules() {
    std::set<std::string> folders;
    for (const auto& path : environment_.config.rules) {
        struct stat info{};
        const bool folder = stat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode);
        folders.insert(folder ? path : path.substr(0, path.rfind('/')));
    }
    for (const auto& folder : folders) {
        watches_.push_back(TRY(source::FolderWatch::create(loop_, folder, kSettleMs, [this] {
            if (const auto done = reload(); !done)
                log_error("rules were not changed", kv("error", done.error().message));
        })));
    }
    return {};
}

// Names that rules compare addresses with, looked up where it may take its time: each name has a few seconds, and what is
// found counts at once. Nobody waits for the threads, so they touch nothing of this.
void Security::resolve_names() {
    auto names = guard_->names();
    if (names.empty() || !resolving_.expired()) return;
    struct Work {
        std::mutex mutex;
        std::vector<std::string> names;
    };
    auto work = std::make_shared<Work>();
    work->names = std::move(names);
    resolving_ = work;
    const auto threads = std::min(kNameThreads, work->names.size());
    for (std::size_t i = 0; i < threads; ++i) {
        std::thread([this, work, &loop = loop_, alive = std::weak_ptr<int>(alive_)] {
            (void)res_init();
            _res.retrans = 1;
            _res.retry = 1;
            for (;;) {
                std::string name;
                {
                    const std::lock_guard lock(work->mutex);
                    if (work->names.empty() || alive.expired()) return;
                    name = std::move(work->names.back());
                    work->names.pop_back();
                }
                auto addresses = addresses_of(name);
                const auto still = alive.lock();
                if (addresses.empty() || !still) continue;
                loop.post([this, alive, name, addresses = std::move(addresses)] {
                    if (!alive.expired()) resolved(name, addresses);
                });
            }
        }).detach();
    }
}

void Security::resolved(const std::string& name, const std::vector<std::string>& addresses) {
    const auto known = host_->resolved.find(name);
    if (known != host_->resolved.end() && known->second == addresses) return;
    auto facts = std::make_shared<HostFacts>(*host_);
    facts->resolved[name] = addresses;
    host_ = facts;
    guard_->set_host(host_);
}

void Security::identify(const std::shared_ptr<observe::ProcessInfo>& info) {
    if (guard_->rules_in_force() == 0) return; // no sensor runs, so nothing is known
    if (identifying_.fetch_add(1, std::memory_order_relaxed) >= kMostIdentified) {
        identifying_.fetch_sub(1, std::memory_order_relaxed);
        unidentified_.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    guard_->find({info->key.pid, info->key.start_ns}, [this, info](const auto* process) {
        identifying_.fetch_sub(1, std::memory_order_relaxed);
        if (process != nullptr) identify_as(*info, *process);
    });
}

void Security::set_workloads(const std::vector<model::Workload>& workloads) {
    std::map<std::uint64_t, security::Workload> known;
    for (const auto& workload : workloads) {
        if (workload.cgroup_id == 0) continue;
        auto& one = known[workload.cgroup_id];
        one.name = workload.name.to_string();
        one.container_id = workload.container;
        for (const auto& [key, value] : workload.labels)
            one.labels[key] = value;
    }
    containers_->set_workloads(known);
    workload_cgroups_.clear();
    for (const auto& [cgroup, workload] : known) {
        workload_cgroups_.push_back(cgroup);
        set_scope(cgroup);
    }
    guard_->place_again(0);
}

// What the kernel side must know of a cgroup to keep containers and the host apart.
void Security::set_scope(std::uint64_t cgroup) {
    if (!sensing_) return;
    if (const auto done = sensing_->sensor->set_scope(cgroup, containers_->scope_flags(cgroup));
        !done)
        log_debug("scope of a cgroup", kv("error", done.error().message));
}

nlohmann::json Security::status() {
    const auto guard = guard_->stats();
    const auto alerts = dispatcher_->stats();
    json outputs = json::array();
    for (const auto& channel : alerts.channels) {
        json one{{"name", channel.name},
                 {"sent", channel.sent},
                 {"failed", channel.failed},
                 {"dropped", channel.dropped}};
        if (!channel.last_error.empty()) one["last_error"] = channel.last_error;
        outputs.push_back(std::move(one));
    }
    json runtimes = json::array();
    for (const auto& runtime : cri_->stats()) {
        if (runtime.answers + runtime.failures == 0) continue;
        json one{
            {"socket", runtime.path}, {"answers", runtime.answers}, {"failures", runtime.failures}};
        if (!runtime.last_error.empty()) one["last_error"] = runtime.last_error;
        runtimes.push_back(std::move(one));
    }
    json sensors = json::object();
    json attached = json::array();
    if (const auto* in_use = sensing()) {
        attached = in_use->sensor->attached();
        const auto stats = in_use->sensor->stats();
        for (const auto& [name, value] : stats.value_or(std::vector<security::Sensor::Stat>{}))
            sensors[std::string(name)] = value;
    }
    return {{"rules", guard_->rules_in_force()},
            {"rules_faulty", !guard_->loaded().successful()},
            {"records", guard.records},
            {"refused", guard.refused},
            {"lost", guard.lost},
            {"flows", guard.flows},
            {"rule_loads", guard.reloads},
            {"unidentified", unidentified_.load(std::memory_order_relaxed)},
            {"processes",
             {{"live", guard.tree.live},
              {"exited", guard.tree.exited},
              {"guessed", guard.tree.guessed},
              {"forgotten", guard.tree.forgotten}}},
            {"alerts",
             {{"matches", guard.matches},
              {"limited", alerts.limited},
              {"dropped", alerts.dropped},
              {"stored", store_.stats().stored}}},
            {"sensors", std::move(sensors)},
            {"attached", std::move(attached)},
            {"container_runtimes", std::move(runtimes)},
            {"outputs", std::move(outputs)}};
}

nlohmann::json Security::rules() {
    const auto limited = dispatcher_->stats().limited_by_rule;
    json list = json::array();
    for (const auto& rule : guard_->rule_stats()) {
        json one{{"name", rule.name},
                 {"source", rule.source},
                 {"priority", model::priority_name(rule.priority)},
                 {"tags", rule.tags},
                 {"enabled", rule.enabled},
                 {"kinds", rule.kinds},
                 {"pushed_down", rule.pushed_down},
                 {"events", rule.events},
                 {"matches", rule.matches}};
        if (const auto held = limited.find(rule.name); held != limited.end())
            one["limited"] = held->second;
        if (rule.sampled_events > 0) {
            one["ns_per_event"] =
                static_cast<double>(rule.sampled_ns) / static_cast<double>(rule.sampled_events);
        }
        list.push_back(std::move(one));
    }
    return {{"rules", std::move(list)},
            {"load", json::parse(security::rules::to_json(guard_->loaded()), nullptr, false)}};
}

Result<nlohmann::json> Security::reload() {
    TRY(guard_->load_rules());
    const auto& loaded = guard_->loaded();
    if (!loaded.successful()) {
        return fail(Code::invalid, "the rules in force stay, the files have errors:\n{}",
                    security::rules::to_text(loaded));
    }
    resolve_names();
    log_info("rules are in force", kv("rules", loaded.set.rules.size()));
    return json{{"rules", loaded.set.rules.size()},
                {"warnings", security::rules::to_text(loaded)},
                {"load", json::parse(security::rules::to_json(loaded), nullptr, false)}};
}

std::unique_ptr<api::LineStream> Security::alerts(const security::AlertFilter& filter) const {
    return std::make_unique<AlertLines>(store_.read(filter), filter.follow);
}

std::unique_ptr<api::LineStream> Security::events(const api::EventQuery& query) {
    return std::make_unique<TapLines>(
        guard_->watch([query](const security::Event& event) { return wants(query, event); }));
}

Result<std::unique_ptr<api::LineStream>> Security::record(bool all) {
    auto tap = TRY(guard_->record(all ? security::everything() : security::Capture{}));
    std::vector<std::string> first{security::recording_header()};
    TRY(snapshot(true, [&](std::span<const std::byte> record) {
        first.push_back(security::frame(security::FrameType::event, record));
    }));
    return std::make_unique<RecordingBytes>(std::move(tap), std::move(first),
                                            [this] { return recording_context(); });
}

Result<> Security::snapshot(bool environment, const security::RecordHandler& handler) const {
    security::SnapshotOptions options;
    options.cgroup_mount = environment_.cgroup_mount;
    options.environment = environment;
    if (const auto scope = scope_path(environment_); !scope.empty()) {
        struct stat folder{};
        if (stat(scope.c_str(), &folder) != 0)
            return fail_errno(errno, "cannot look at the cgroup " + scope);
        options.scope_cgroup = folder.st_ino;
    }
    TRY(security::snapshot(options, handler));
    return {};
}

// Of a record of the snapshot: the kernel's filters know programs by name.
void Security::tell_name(std::span<const std::byte> record) const {
    security::Event event;
    if (security::decode(record, event) != security::DecodeError::none || event.task == nullptr)
        return;
    const std::string_view comm(event.task->comm,
                                strnlen(event.task->comm, sizeof event.task->comm));
    auto* in_use = sensing();
    if (in_use == nullptr) return;
    if (const auto done = in_use->sensor->tell_name(event.task->pid, event.task->start_ns, comm);
        !done)
        log_debug("name of a process", kv("error", done.error().message));
}

std::uint64_t Security::lost() const {
    std::uint64_t total = 0;
    const auto* in_use = sensing();
    if (in_use == nullptr) return 0;
    if (const auto stats = in_use->sensor->stats()) {
        for (const auto& [name, value] : *stats)
            // "nested": another sensor was at work on that CPU, so there was no room to write.
            total += name.starts_with("lost_") || name == "nested" ? value : 0;
    }
    return total;
}

std::string Security::recording_context() {
    const security::RecordingContext context{*host_, containers_->placements()};
    return security::to_json(context);
}

} // namespace beeline::agent
