#include "agent/l7_tls.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>

namespace beeline::agent {
namespace {

namespace fs = std::filesystem;

constexpr auto kPeriod = std::chrono::milliseconds(500);
constexpr std::uint64_t kLongestPause = 64; // rounds
constexpr std::size_t kMostProcesses = 4096;
constexpr int kDepth = 8;

void add_processes(const fs::path& folder, int depth, std::set<std::uint32_t>& out) {
    std::ifstream file(folder / "cgroup.procs");
    for (std::uint32_t pid = 0; file >> pid;) {
        if (out.size() >= kMostProcesses) return;
        if (pid != 0) out.insert(pid);
    }
    if (depth == 0) return;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        std::error_code ignored;
        if (entry.is_directory(ignored)) add_processes(entry.path(), depth - 1, out);
    }
}

} // namespace

Result<std::unique_ptr<TlsWatch>> TlsWatch::start(const datapath::Kernel& kernel) {
    std::unique_ptr<TlsWatch> watch(new TlsWatch(TRY(datapath::TlsProbes::load(kernel))));
    watch->thread_ = std::thread([raw = watch.get()] { raw->run(); });
    return watch;
}

TlsWatch::~TlsWatch() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void TlsWatch::set_places(std::vector<Place> places) {
    const std::lock_guard lock(mutex_);
    if (places == places_) return;
    places_ = std::move(places);
    changed_ = true;
    wake_.notify_one();
}

void TlsWatch::run() {
    ::pthread_setname_np(::pthread_self(), "bl-tls");
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const std::vector<Place> places = places_;
        changed_ = false;
        lock.unlock();
        look(places);
        lock.lock();
        const auto due = [this] { return stopping_ || changed_; };
        if (places.empty()) {
            wake_.wait(lock, due);
        } else {
            wake_.wait_for(lock, kPeriod, due);
        }
    }
}

void TlsWatch::look(const std::vector<Place>& places) {
    ++round_;
    if (places.empty()) {
        known_.clear();
        probes_->clear();
        return;
    }
    std::set<std::uint32_t> processes;
    for (const auto& place : places) {
        if (!place.cgroup.empty()) add_processes(place.cgroup, kDepth, processes);
        if (place.pid != 0) processes.insert(place.pid);
    }
    for (const std::uint32_t pid : processes) {
        Known& known = known_[pid];
        known.seen = round_;
        if (known.next > round_) continue;
        probes_->look_at(pid);
        known.next = round_ + known.pause;
        known.pause = std::min(2 * known.pause, kLongestPause);
    }
    probes_->help_unknown();
    std::erase_if(known_, [this](const auto& entry) { return entry.second.seen != round_; });
}

} // namespace beeline::agent
