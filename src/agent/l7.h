// Application protocols of one node: payload from the datapath -> messages in the store.
#pragma once

#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/l7_config.h"
#include "agent/l7_tls.h"
#include "base/result.h"
#include "datapath/kernel.h"
#include "datapath/l7.h"
#include "ebpf/ring.h"
#include "model/directory.h"
#include "model/objects.h"
#include "model/workload.h"
#include "observe/consumer.h"
#include "observe/dns_names.h"
#include "observe/l7_ingest.h"
#include "observe/store.h"

namespace beeline::agent {

// Control thread.
class L7 {
public:
    // `kernel` and `store` must outlive this.
    static Result<std::unique_ptr<L7>> start(const L7Config& config, const datapath::Kernel& kernel,
                                             observe::Store& store,
                                             std::shared_ptr<observe::DnsNames> names,
                                             std::string cgroup_mount);
    ~L7();
    L7(const L7&) = delete;
    L7& operator=(const L7&) = delete;

    void set_directory(std::shared_ptr<const model::Directory> directory);
    // Whose payload is read, and who pays for it. What the datapath copies is decided by the endpoints' flags.
    void set_workloads(const std::vector<model::Workload>& workloads,
                       const model::Objects& objects);
    [[nodiscard]] nlohmann::json status() const;

private:
    L7(const L7Config& config, datapath::L7 maps) : config_(config), maps_(maps) {}

    L7Config config_;
    datapath::L7 maps_;
    std::unique_ptr<observe::L7Ingest> ingest_;
    std::unique_ptr<ebpf::Ring> ring_;
    std::unique_ptr<observe::Consumer> consumer_;
    std::string cgroup_mount_;
    std::unique_ptr<TlsWatch> tls_; // null: off, or it could not start: then tls_error_ says why
    std::string tls_error_;
    std::shared_ptr<const observe::L7Ingest::Chosen> chosen_ =
        std::make_shared<observe::L7Ingest::Chosen>();
};

} // namespace beeline::agent
