// The agent of one node: everything wired together, on one control loop.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/cluster.h"
#include "agent/config.h"
#include "agent/hubble.h"
#include "agent/kernel_drops.h"
#include "agent/l7.h"
#include "agent/pod_ranges.h"
#include "agent/security.h"
#include "agent/service_map.h"
#include "api/client/paths.h"
#include "datapath/cni.h"
#include "datapath/compile.h"
#include "datapath/ipam.h"
#include "datapath/kernel.h"
#include "datapath/plumbing.h"
#include "datapath/shaper.h"
#include "datapath/workloads.h"
#include "ebpf/ring.h"
#include "ebpf/system.h"
#include "loop/loop.h"
#include "net/netlink.h"
#include "observe/consumer.h"
#include "observe/history/history.h"
#include "observe/ingest.h"
#include "observe/metrics/timing.h"
#include "observe/store.h"
#include "source/source.h"

namespace beeline::agent {

// Everything but what is marked otherwise belongs to the loop's thread.
class Node {
public:
    // Loads, takes over what an earlier run left, and brings the maps to the desired state. The agent's network namespace is the
    // node's. `loop` must outlive the node.
    static Result<std::unique_ptr<Node>> start(Config config, api::Paths paths, loop::Loop& loop);
    ~Node();
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;

    // Compiles the desired state and makes the kernel's maps equal to it.
    Result<> reconcile();
    // Why the last desired state is not in force; empty when it is.
    [[nodiscard]] const std::string& unenforced() const { return unenforced_; }

    [[nodiscard]] const Config& config() const { return config_; }
    [[nodiscard]] const api::Paths& paths() const { return paths_; }
    [[nodiscard]] datapath::Kernel& kernel() { return *kernel_; }
    // Set by start(), before anybody has a Node.
    [[nodiscard]] datapath::CniContext& cni() {
        return *cni_; // NOLINT(bugprone-unchecked-optional-access)
    }
    [[nodiscard]] const datapath::Shaper& shaper() const { return *shaper_; }
    [[nodiscard]] source::Source& source() { return *source_; }
    // The desired state; empty, never null, while nothing is known.
    [[nodiscard]] const std::shared_ptr<const model::Objects>& objects() const { return objects_; }
    [[nodiscard]] const datapath::Tables& tables() const { return tables_; }
    [[nodiscard]] const std::shared_ptr<const model::Directory>& directory() const {
        return directory_;
    }
    [[nodiscard]] std::vector<model::Workload> workloads() const { return workloads_->all(); }
    [[nodiscard]] const std::vector<net::Ip>& host_addresses() const { return host_addresses_; }
    [[nodiscard]] const std::vector<ebpf::Feature>& features() const { return features_; }
    [[nodiscard]] std::uint32_t connections() const { return connections_; }
    [[nodiscard]] std::int64_t started() const { return started_; } // seconds since the epoch
    // The node's ranges of workloads changed: the agent must begin anew. It has told itself to stop.
    [[nodiscard]] bool must_restart() const { return must_restart_; }
    // Null when it is off or could not start: then security_error() says why.
    [[nodiscard]] Security* security() { return security_.get(); }
    [[nodiscard]] const std::string& security_error() const { return security_error_; }
    // How long it took to bring a desired state into the kernel, and to sweep the connection table.
    [[nodiscard]] const observe::metrics::Timing& applies() const { return applies_; }
    [[nodiscard]] const observe::metrics::Timing& sweeps() const { return sweeps_; }
    [[nodiscard]] std::uint64_t swept() const { return swept_; }
    // A part of the status document that others than the node know of; null takes it out.
    using StatusPart = std::function<nlohmann::json()>;
    void add_status(const std::string& name, StatusPart part);
    [[nodiscard]] const std::map<std::string, StatusPart>& status_parts() const { return parts_; }
    // Null when it is off or could not start: then hubble_error() says why.
    [[nodiscard]] const HubbleApi* hubble() const { return hubble_.get(); }
    [[nodiscard]] const std::string& hubble_error() const { return hubble_error_; }
    // Any thread.
    [[nodiscard]] const KernelDropWatch& kernel_drops() const { return kernel_drops_; }
    // Null when it is off.
    [[nodiscard]] const L7* l7() const { return l7_.get(); }
    // What the status says of the web page; set before the loop runs.
    void set_web_status(nlohmann::json status) { web_status_ = std::move(status); }
    [[nodiscard]] const nlohmann::json& web_status() const { return web_status_; }
    // Any thread.
    [[nodiscard]] ServiceMap& service_map() { return service_map_; }
    [[nodiscard]] const observe::Store& store() const { return store_; }
    [[nodiscard]] const observe::Ingest& ingest() const { return ingest_; }
    [[nodiscard]] const observe::history::History& history() const {
        return *history_; // NOLINT(bugprone-unchecked-optional-access): set by start()
    }

private:
    Node(Config config, api::Paths paths, loop::Loop& loop);
    Result<> prepare();
    Result<> take_over();
    Result<> run();

    Result<> reconcile(const std::vector<model::Workload>& workloads);
    void set_directory(const std::shared_ptr<const model::Directory>& directory);
    Result<> apply(const std::vector<model::Workload>& workloads);
    Result<> attach(const model::Workload& workload);
    void detach(const model::Workload& workload);
    void publish(std::shared_ptr<const model::Objects> objects);
    void check_ranges();
    [[nodiscard]] Security::Environment security_environment() const;
    void start_security();
    void start_hubble();
    void route_host_ports(const std::vector<datapath::HostPortRoute>& routes);
    [[nodiscard]] Result<> enforced(const model::Workload& workload) const;
    void end_connections(const std::vector<datapath::GoneBackend>& gone,
                         const std::vector<model::Workload>& workloads);
    Result<> watch_addresses();
    Result<bool> read_addresses(); // whether they changed
    void sweep();

    Config config_;
    api::Paths paths_;
    loop::Loop& loop_;
    Fd lock_;
    std::string cgroup_mount_;
    std::future<std::vector<ebpf::Feature>> probing_;
    std::vector<ebpf::Feature> features_;
    std::int64_t started_ = 0;

    std::unique_ptr<datapath::Ipam> ipam_;
    std::unique_ptr<datapath::Plumbing> plumbing_;
    std::unique_ptr<Cluster> cluster_;
    std::unique_ptr<datapath::Kernel> kernel_;
    std::unique_ptr<datapath::Shaper> shaper_;
    std::unique_ptr<datapath::Workloads> workloads_;
    std::optional<datapath::CniContext> cni_;
    std::unique_ptr<source::Source> source_;
    std::unique_ptr<net::Netlink> netlink_;
    std::optional<net::NetlinkMonitor> monitor_;

    std::shared_ptr<const model::Objects> objects_ = std::make_shared<model::Objects>();
    std::vector<net::Ip> host_addresses_;
    datapath::Tables tables_;                                        // as written
    std::optional<std::vector<datapath::HostPortRoute>> host_ports_; // as in the firewall
    std::shared_ptr<const model::Directory> directory_ = std::make_shared<model::Directory>();
    std::vector<std::string> warnings_;
    std::string unenforced_;
    std::string no_ranges_; // why workloads cannot have addresses; empty: they can
    bool must_restart_ = false;
    bool known_ = false; // a desired state has been published
    bool ready_ = false; // before that, changes wait for the first reconcile
    std::uint32_t connections_ = 0;
    std::uint64_t ct_full_ = 0;
    observe::metrics::Timing applies_;
    observe::metrics::Timing sweeps_;
    std::uint64_t swept_ = 0;
    std::map<std::string, StatusPart> parts_;

    observe::Store store_;
    std::optional<observe::history::History> history_;
    std::shared_ptr<observe::DnsNames> names_ = std::make_shared<observe::DnsNames>();
    observe::Ingest ingest_;
    ServiceMap service_map_;
    nlohmann::json web_status_;
    std::unique_ptr<ebpf::Ring> ring_;
    std::unique_ptr<observe::Consumer> consumer_;
    std::unique_ptr<L7> l7_;
    KernelDropWatch kernel_drops_;

    std::optional<Security::Begun> security_begun_; // until start_security()
    std::unique_ptr<Security> security_;
    std::string security_error_;
    std::unique_ptr<HubbleApi> hubble_;
    std::string hubble_error_;
};

} // namespace beeline::agent
