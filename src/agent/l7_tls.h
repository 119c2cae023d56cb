// Looks for TLS libraries in the processes of the chosen workloads, on a thread of its own.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "datapath/kernel.h"
#include "datapath/tls_probes.h"

namespace beeline::agent {

class TlsWatch {
public:
    // Of one workload: its cgroup's folder, empty if not known, and the process that it began with, 0 if not known.
    struct Place {
        std::string cgroup;
        std::uint32_t pid = 0;
        bool operator==(const Place&) const = default;
    };

    static Result<std::unique_ptr<TlsWatch>> start(const datapath::Kernel& kernel);
    ~TlsWatch();
    TlsWatch(const TlsWatch&) = delete;
    TlsWatch& operator=(const TlsWatch&) = delete;

    // Any thread. Without any the probes are taken away.
    void set_places(std::vector<Place> places);
    [[nodiscard]] datapath::TlsProbes::Counts counts() const { return probes_->counts(); }

private:
    explicit TlsWatch(std::unique_ptr<datapath::TlsProbes> probes) : probes_(std::move(probes)) {}
    void run();
    void look(const std::vector<Place>& places);

    std::unique_ptr<datapath::TlsProbes> probes_;
    // A process may load a library at any time: it is looked at again after 1, 2, 4, ... rounds.
    struct Known {
        std::uint64_t next = 0; // round
        std::uint64_t pause = 1;
        std::uint64_t seen = 0;
    };
    std::unordered_map<std::uint32_t, Known> known_;
    std::uint64_t round_ = 0;

    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<Place> places_; // under mutex_, as the next two
    bool changed_ = false;
    bool stopping_ = false;
    std::thread thread_;
};

} // namespace beeline::agent
