// How much workloads may send and receive: programs bl_limit_out and bl_limit_in, map bl_limit. Control loop only.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "abi/limit.h"
#include "base/result.h"
#include "datapath/kernel.h"
#include "ebpf/object.h"
#include "model/workload.h"

namespace beeline::datapath {

// The kernel's form of a limit. A burst that was not asked for, or is longer than 100 ms of the rate, is cut to that, and
// is 128 KiB at least: smaller ones lose what one segment of TCP holds, larger ones are none (containerd asks for 512 MiB).
bl_limit_way limit_way(const model::Rate& rate);

class Shaper {
public:
    // Nothing is loaded until a workload has a limit.
    explicit Shaper(Kernel& kernel) : kernel_(kernel) {}

    // In force when this returns, with the budget it had, if it was in force already. Nothing for workloads without limits.
    Result<> attach(const model::Workload& workload);
    void detach(const model::Workload& workload);
    // After a start: those of an earlier run.
    void detach_all_but(const std::vector<model::Workload>& workloads);
    // Devices that send with fq may change at any time.
    Result<> look_at_devices();

    [[nodiscard]] Result<bl_limit> usage(const model::Workload& workload) const;
    [[nodiscard]] const std::set<std::uint32_t>& fq_devices() const { return fq_; }

private:
    Result<> load();
    Result<> attach_inside(const model::Workload& workload);
    [[nodiscard]] std::string link(const model::Workload& workload, const char* where) const;

    Kernel& kernel_;
    std::unique_ptr<ebpf::Object> object_;
    std::set<std::uint32_t> fq_;
};

} // namespace beeline::datapath
