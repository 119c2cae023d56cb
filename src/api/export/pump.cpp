#include "api/export/pump.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <cerrno>

namespace beeline::exporting {
namespace {

constexpr int kIdleMs = 1000;
constexpr int kAtOnce = 4096; // flows between two looks at the other duties
constexpr int kAtEnd = 65'536;

observe::FlowFilter everything_to_come() {
    observe::FlowFilter filter;
    filter.follow = true;
    return filter;
}

} // namespace

Pump::Pump(const observe::Store& store, Sink& sink)
    : reader_(store.read(everything_to_come())), sink_(sink) {}

Result<std::unique_ptr<Pump>> Pump::start(const observe::Store& store, Sink& sink) {
    std::unique_ptr<Pump> pump(new Pump(store, sink));
    pump->stop_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!pump->stop_ || pump->reader_.fd() < 0)
        return fail_errno(errno, "cannot make an event descriptor for an exporter");
    pump->thread_ = std::thread([raw = pump.get()] { raw->run(); });
    return pump;
}

Pump::~Pump() {
    if (!thread_.joinable()) return;
    ::eventfd_write(stop_.get(), 1);
    thread_.join();
}

int Pump::drain(int most) {
    int taken = 0;
    while (taken < most) {
        const auto flow = reader_.next();
        if (!flow) break;
        sink_.take(*flow);
        ++taken;
    }
    sink_.idle();
    return taken;
}

void Pump::run() {
    pollfd ready[2] = {{stop_.get(), POLLIN, 0}, {reader_.fd(), POLLIN, 0}};
    while (true) {
        const bool more = drain(kAtOnce) == kAtOnce;
        ready[0].revents = 0;
        if (::poll(ready, 2, more ? 0 : kIdleMs) > 0 && ready[0].revents != 0) break;
    }
    drain(kAtEnd);
}

} // namespace beeline::exporting
