#include "observe/metrics/follower.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <utility>

namespace beeline::observe::metrics {
namespace {

constexpr int kTidyMs = 1000;

FlowFilter everything_to_come() {
    FlowFilter filter;
    filter.follow = true;
    return filter;
}

} // namespace

Follower::Follower(const Store& store, const Options& options, prometheus::Registry& registry)
    : reader_(store.read(everything_to_come())), hubble_(options, registry) {}

Result<std::unique_ptr<Follower>> Follower::start(const Store& store, const Options& options,
                                                  prometheus::Registry& registry) {
    std::unique_ptr<Follower> follower(new Follower(store, options, registry));
    follower->stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!follower->stop_ || follower->reader_.fd() < 0)
        return fail_errno(errno, "cannot make an event descriptor for the metrics");
    follower->thread_ = std::thread([raw = follower.get()] { raw->run(); });
    return follower;
}

Follower::~Follower() {
    if (!thread_.joinable()) return;
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

void Follower::set_directory(std::shared_ptr<const model::Directory> directory) {
    const std::lock_guard lock(mutex_);
    directory_ = std::move(directory);
}

void Follower::run() {
    pollfd ready[2] = {{stop_.get(), POLLIN, 0}, {reader_.fd(), POLLIN, 0}};
    while (true) {
        drain();
        tidy();
        if (::poll(ready, 2, kTidyMs) > 0 && ready[0].revents != 0) return;
    }
}

void Follower::drain() {
    std::uint64_t counted = 0;
    while (const auto next = reader_.next_record()) {
        if (next->overtaken > 0) {
            missed_.fetch_add(next->overtaken, std::memory_order_relaxed);
            hubble_.missed(next->overtaken);
        } else {
            hubble_.count(next->record);
            if (next->record.kind == model::Flow::Kind::closed) add_forwarded(next->record);
        }
        // Under a load without end the other duties still have their turn.
        if (++counted % 65536 == 0) tidy();
    }
    counted_.fetch_add(counted, std::memory_order_relaxed);
}

// What a workload receives is its ingress: the client's packets at the server, the server's at the client.
void Follower::add_forwarded(const RecordView& record) {
    const bool here[2] = {record.context->source->endpoint != 0,
                          record.context->destination->endpoint != 0};
    for (std::size_t sender = 0; sender < 2; ++sender) {
        for (std::size_t direction = 0; direction < 2; ++direction) {
            const std::size_t end = direction == 0 ? 1 - sender : sender;
            if (!here[end]) continue;
            unshared_.packets[direction] += record.packets[sender];
            unshared_.bytes[direction] += record.bytes[sender];
        }
    }
}

Follower::Forwarded Follower::forwarded() const {
    const std::lock_guard lock(mutex_);
    return forwarded_;
}

void Follower::tidy() {
    std::shared_ptr<const model::Directory> directory;
    {
        const std::lock_guard lock(mutex_);
        forwarded_ = unshared_;
        directory = std::exchange(directory_, nullptr);
    }
    const auto now = std::chrono::steady_clock::now();
    if (directory) hubble_.set_directory(*directory, now);
    hubble_.remove_stale(now);
}

} // namespace beeline::observe::metrics
