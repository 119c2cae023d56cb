#include "security/guard/guard.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <future>
#include <utility>

#include "base/log.h"
#include "security/guard/event_line.h"

namespace beeline::security {
namespace {

// A wake-up for each record would cost more than the record; so the thread looks by itself: 1 ms after it found
// something, doubling to 30 ms. The kernel ends the sleep when a ring is a quarter full.
constexpr int kShortestSleepMs = 1;
constexpr int kLongestSleepMs = 30;
constexpr std::size_t kWatchLines = 16'384;
constexpr std::size_t kRecordFrames = 262'144;
constexpr std::int64_t kLossCheckNs = 1'000'000'000;
constexpr std::int64_t kLossPeriodNs = 30'000'000'000;

std::int64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

template <typename List>
void drop_ended(List& list) {
    std::erase_if(list, [](const auto& entry) {
        if constexpr (requires { entry.first; }) {
            return entry.first.expired();
        } else {
            return entry.expired();
        }
    });
}

} // namespace

Capture united(const Capture& a, const Capture& b) {
    Capture out = a;
    // A restriction stays only when both have it.
    constexpr std::uint32_t kNarrows = BL_WANT_SUCCESS | BL_WANT_FAILURE | BL_WANT_PATH |
                                       BL_WANT_COMM | BL_WANT_CONTAINER | BL_WANT_HOST |
                                       BL_WANT_INET | BL_WANT_NOT_TCP;
    for (std::size_t i = 0; i < out.kinds.size(); ++i) {
        auto& mine = out.kinds[i];
        const auto& other = b.kinds[i];
        if ((other.want & BL_WANT_ON) == 0) continue;
        if ((mine.want & BL_WANT_ON) == 0) {
            mine = other;
            continue;
        }
        mine.want = (mine.want & other.want & kNarrows) | ((mine.want | other.want) & ~kNarrows);
        mine.path_any |= other.path_any;
        mine.comms.insert(other.comms.begin(), other.comms.end());
    }
    out.paths.insert(out.paths.end(), b.paths.begin(), b.paths.end());
    return out;
}

Result<rules::LoadResult> read_rules(const std::vector<std::string>& paths) {
    std::vector<std::string> present;
    for (const auto& path : paths) {
        struct stat info{};
        if (stat(path.c_str(), &info) == 0) present.push_back(path);
    }
    return rules::load(TRY(rules::read_files(present)), Engine::catalog());
}

Capture everything() {
    Capture out;
    for (std::uint16_t kind = 1; kind < BL_EVENT_flow; ++kind) {
        if (!kind_name(kind).empty()) out.kinds[kind].want = BL_WANT_ON;
    }
    // The data streams themselves would drown the rest.
    for (const auto kind : {BL_EVENT_read, BL_EVENT_write, BL_EVENT_pread64, BL_EVENT_pwrite64,
                            BL_EVENT_readv, BL_EVENT_writev, BL_EVENT_preadv, BL_EVENT_pwritev,
                            BL_EVENT_close, BL_EVENT_io_uring_enter})
        out.kinds[kind].want = 0;
    return out;
}

Guard::Guard(Options options, EventSource source)
    : options_(std::move(options)), source_(std::move(source)),
      tree_(options_.tree, options_.placement) {}

Result<std::unique_ptr<Guard>> Guard::start(Options options, EventSource source) {
    std::unique_ptr<Guard> guard(new Guard(std::move(options), std::move(source)));
    guard->epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    guard->wake_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!guard->epoll_ || !guard->wake_) return fail_errno(errno, "cannot watch the event rings");
    for (const int fd : {guard->source_.fd, guard->wake_.get()}) {
        if (fd < 0) continue;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        if (epoll_ctl(guard->epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
            return fail_errno(errno, "cannot watch the event rings");
    }
    TRY(guard->load_rules());
    guard->thread_ = std::thread([raw = guard.get()] { raw->run(); });
    return guard;
}

Guard::~Guard() {
    stopping_ = true;
    post([] {});
    if (thread_.joinable()) thread_.join();
}

Result<> Guard::load_rules() {
    auto result =
        TRY(options_.first_rules.valid() ? options_.first_rules.get() : read_rules(options_.rules));
    if (result.successful()) {
        // Tasks are copyable, an engine is not.
        auto next = std::make_shared<std::unique_ptr<Engine>>(
            TRY(Engine::compile(result.set, options_.engine, options_.host, tree_)));
        const Capture capture = (*next)->capture();
        auto names = (*next)->names();
        // First what both rule sets need, so that neither misses an event.
        if (source_.capture) TRY(source_.capture(wanted_now(united(rules_capture_, capture))));
        // Without rules no sensor ran and the tree is empty or old. The sensors run by now, so that nobody slips in between.
        if (rules_capture_ == Capture{} && capture != Capture{}) TRY(take_snapshot(capture));
        on_guard([this, next] { engine_ = std::move(*next); });
        flows_wanted_ = (capture.kinds[BL_EVENT_flow].want & BL_WANT_ON) != 0;
        rules_capture_ = capture;
        rules_in_force_ = result.set.rules.size();
        names_ = std::move(names);
        if (source_.capture) TRY(source_.capture(wanted_now(rules_capture_)));
        reloads_.fetch_add(1, std::memory_order_relaxed);
    }
    loaded_ = std::move(result);
    return {};
}

Result<> Guard::take_snapshot(const Capture& capture) {
    if (!source_.snapshot) return {};
    const bool environment = (capture.kinds[BL_EVENT_execve].want & BL_WANT_ENV) != 0;
    Result<> done;
    on_guard([&] {
        done = source_.snapshot(environment, [&](std::span<const std::byte> r) { take(r); });
    });
    return done;
}

Capture Guard::wanted_now(const Capture& rules) {
    const std::lock_guard lock(mutex_);
    Capture out = rules;
    drop_ended(recordings_);
    for (const auto& [tap, wider] : recordings_)
        out = united(out, wider);
    return out;
}

void Guard::tidy() {
    std::size_t before = 0;
    {
        const std::lock_guard lock(mutex_);
        before = recordings_.size();
        drop_ended(recordings_);
        if (recordings_.size() == before) return;
    }
    if (!source_.capture) return;
    if (const auto done = source_.capture(wanted_now(rules_capture_)); !done)
        log_error("the sensors could not be narrowed", kv("error", done.error().message));
}

void Guard::on_guard(const std::function<void()>& task) {
    if (!thread_.joinable()) {
        task();
        return;
    }
    std::promise<void> done;
    post([&] {
        task();
        done.set_value();
    });
    done.get_future().wait();
}

void Guard::post(std::function<void()> task) {
    {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    const std::uint64_t one = 1;
    (void)write(wake_.get(), &one, sizeof one);
}

void Guard::find(ProcessKey key, std::function<void(const Process*)> visit) {
    post([this, key, visit = std::move(visit)] { visit(tree_.find(key)); });
}

void Guard::place_again(std::uint64_t cgroup) {
    post([this, cgroup] { tree_.place_again(cgroup); });
}

void Guard::set_host(std::shared_ptr<const HostFacts> host) {
    post([this, host = std::move(host)] {
        options_.host = host;
        if (engine_) engine_->set_host(host);
    });
}

std::vector<RuleStats> Guard::rule_stats() {
    std::vector<RuleStats> out;
    on_guard([&] {
        if (engine_) out = engine_->stats();
    });
    return out;
}

GuardStats Guard::stats() {
    GuardStats out;
    out.records = records_.load(std::memory_order_relaxed);
    out.refused = refused_.load(std::memory_order_relaxed);
    out.matches = matches_.load(std::memory_order_relaxed);
    out.flows = flows_.load(std::memory_order_relaxed);
    out.reloads = reloads_.load(std::memory_order_relaxed);
    out.lost = source_.lost ? source_.lost() : 0;
    on_guard([&] { out.tree = tree_.stats(); });
    return out;
}

std::shared_ptr<Tap> Guard::watch(EventTest wanted) {
    auto tap = std::make_shared<Tap>(kWatchLines);
    on_guard([&] { watchers_.emplace_back(tap, std::move(wanted)); });
    return tap;
}

Result<std::shared_ptr<Tap>> Guard::record(const Capture& wider) {
    auto tap = std::make_shared<Tap>(kRecordFrames);
    {
        const std::lock_guard lock(mutex_);
        recordings_.emplace_back(tap, wider);
    }
    if (source_.capture) TRY(source_.capture(wanted_now(rules_capture_)));
    on_guard([&] { recorders_.push_back(tap); });
    return tap;
}

void Guard::run() {
    int sleep_ms = kShortestSleepMs;
    const RecordHandler handler = [this](std::span<const std::byte> record) { take(record); };
    while (!stopping_) {
        std::size_t count = 0;
        if (source_.consume) count += source_.consume(handler);
        if (source_.next_flow && flows_wanted_.load(std::memory_order_relaxed)) {
            while (const auto flow = source_.next_flow()) {
                take(*flow);
                ++count;
            }
        }
        check_losses();
        std::vector<std::function<void()>> tasks;
        {
            const std::lock_guard lock(mutex_);
            tasks.swap(tasks_);
        }
        for (const auto& task : tasks)
            task();
        sleep_ms = count > 0 ? kShortestSleepMs : std::min(2 * sleep_ms, kLongestSleepMs);
        epoll_event events[2];
        if (epoll_wait(epoll_.get(), events, 2, sleep_ms) > 0) {
            std::uint64_t woken = 0;
            (void)read(wake_.get(), &woken, sizeof woken);
        }
    }
    // Whoever still waits for a task gets it.
    const std::lock_guard lock(mutex_);
    for (const auto& task : tasks_)
        task();
    tasks_.clear();
}

void Guard::take(std::span<const std::byte> record) {
    records_.fetch_add(1, std::memory_order_relaxed);
    if (!recorders_.empty()) {
        drop_ended(recorders_);
        for (const auto& entry : recorders_) {
            if (const auto tap = entry.lock())
                tap->push({reinterpret_cast<const char*>(record.data()), record.size()});
        }
    }
    Event event;
    if (decode(record, event) != DecodeError::none) {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return;
    }
    judge(event);
}

void Guard::take(const model::Flow& flow) {
    flows_.fetch_add(1, std::memory_order_relaxed);
    const auto& process =
        flow.source.process.pid != 0 ? flow.source.process : flow.destination.process;
    Event event;
    event.flow = &flow;
    event.head.kind = BL_EVENT_flow;
    event.head.pid = process.pid;
    event.head.tid = process.pid;
    event.head.uid = process.uid;
    event.head.start_ns = process.start_ns;
    event.head.time_ns = static_cast<__u64>(flow.time_ns - options_.tree.boot_time_ns);
    judge(event);
}

void Guard::judge(Event& event) {
    tree_.apply(event);
    if (engine_) {
        engine_->evaluate(event, [this](model::Alert&& alert) {
            matches_.fetch_add(1, std::memory_order_relaxed);
            options_.sink(std::move(alert));
        });
    }
    if (watchers_.empty()) return;
    drop_ended(watchers_);
    for (const auto& [entry, wanted] : watchers_) {
        const auto tap = entry.lock();
        if (tap && wanted(event)) tap->push(event_line(event));
    }
}

// Lost records are told as an alert of their own, not only as a number.
void Guard::check_losses() {
    const std::int64_t now = now_ns();
    if (!source_.lost || now < next_loss_check_ns_) return;
    next_loss_check_ns_ = now + kLossCheckNs;
    const std::uint64_t lost = source_.lost();
    if (lost == lost_seen_) return;
    if (now - loss_told_ns_ < kLossPeriodNs) return;
    model::Alert alert;
    alert.time_ns = now;
    alert.rule = "Beeline internal: events lost";
    alert.source = "internal";
    alert.priority = model::Priority::warning;
    alert.hostname = options_.host ? options_.host->hostname : "";
    alert.message = fmt::format("{} security events were lost: the ring between kernel and agent "
                                "was full (events of processes have a ring of their own)",
                                lost - lost_seen_);
    alert.fields = {{"n_drops", lost - lost_seen_},
                    {"n_evts", records_.load(std::memory_order_relaxed)}};
    lost_seen_ = lost;
    loss_told_ns_ = now;
    options_.sink(std::move(alert));
}

} // namespace beeline::security
