// What the readers of application protocols need of the datapath: connections by key, and how to end the copying of
// payload. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "abi/l7.h"
#include "base/result.h"
#include "datapath/kernel.h"

namespace beeline::datapath {

class L7 {
public:
    // Borrows the kernel's descriptors: `kernel` must outlive this.
    static Result<L7> of(const Kernel& kernel);

    [[nodiscard]] int ring() const { return ring_; }
    // The connection between these ends, in any direction, as an event of this moment; of one to a service, that to its backend.
    [[nodiscard]] std::optional<bl_flow_event> connection(const bl_flow_key& ends) const;
    // No more payload of this connection.
    void stop(const bl_flow_key& ends, std::uint64_t opened_ns) const;

    // Makes the accounts those of `wanted`, by workload; what a workload has left stays when its limits stay.
    struct Limits {
        std::uint64_t rate = 0;
        std::uint64_t burst = 0;
        std::uint32_t client = 0; // bytes of one packet
        std::uint32_t server = 0;
        bool operator==(const Limits&) const = default;
    };
    Result<> set_accounts(const std::unordered_map<std::uint32_t, Limits>& wanted) const;
    [[nodiscard]] Result<std::unordered_map<std::uint32_t, bl_l7_account>> accounts() const;

private:
    int ring_ = -1;
    int accounts_ = -1;
    int connections_ = -1;
    int stop_ = -1;
};

} // namespace beeline::datapath
