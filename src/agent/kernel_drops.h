// The kernel's own drops of this node's workloads: watched, explained, and as documents.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "datapath/kernel_drops.h"
#include "model/directory.h"
#include "model/workload.h"
#include "observe/clock.h"

namespace beeline::agent {

class KernelDropWatch {
public:
    // Loads on a thread of its own. `kernel` must outlive this.
    void begin(const datapath::Kernel& kernel);
    // Waits for it. When it cannot be done that is logged and told by the status.
    void finish(const std::vector<model::Workload>& workloads);
    void set_workloads(const std::vector<model::Workload>& workloads);

    // Any thread once finished. Null: error() says why.
    [[nodiscard]] const datapath::KernelDrops* drops() const { return drops_.get(); }
    [[nodiscard]] const std::string& error() const { return error_; }
    [[nodiscard]] nlohmann::json status() const;

private:
    std::future<Result<std::unique_ptr<datapath::KernelDrops>>> loading_;
    std::unique_ptr<datapath::KernelDrops> drops_;
    std::string error_;
};

// What a reason of the kernel means, for people; empty when its name has to do.
std::string_view explain_drop(std::string_view reason);

// Documents of drops. Names are those of the directory; places those of the workloads' network namespaces.
class KernelDropDocuments {
public:
    KernelDropDocuments(const model::Directory& directory,
                        const std::vector<model::Workload>& workloads)
        : directory_(directory), workloads_(workloads) {}
    nlohmann::json operator()(const datapath::KernelDrop& drop);

private:
    [[nodiscard]] nlohmann::json end(const net::Ip& address) const;
    const model::Directory& directory_;
    const std::vector<model::Workload>& workloads_;
    observe::EventClock clock_;
};

// The `limit` newest.
Result<nlohmann::json> kernel_drops_document(const KernelDropWatch& watch,
                                             const model::Directory& directory,
                                             const std::vector<model::Workload>& workloads,
                                             std::size_t limit);

} // namespace beeline::agent
