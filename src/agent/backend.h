// The local API's calls, carried out on the node's control loop.
#pragma once

#include "agent/node.h"
#include "api/server/backend.h"
#include "loop/loop.h"

namespace beeline::agent {

class NodeBackend final : public api::Backend {
public:
    // Both must outlive this. Until the loop stops.
    NodeBackend(Node& node, loop::Loop& loop) : node_(node), loop_(loop) {}

    Result<nlohmann::json> status() override;
    Result<nlohmann::json> workloads() override;
    Result<nlohmann::json> services() override;
    Result<nlohmann::json> objects(const api::ObjectQuery& query) override;
    Result<nlohmann::json> apply(const std::string& yaml, bool dry_run) override;
    Result<nlohmann::json> remove(const std::string& kind, const model::ObjectName& name) override;
    Result<std::unique_ptr<api::LineStream>> flows(const observe::FlowFilter& query) override;
    Result<nlohmann::json> edges(const observe::history::EdgeQuery& query) override;
    Result<nlohmann::json> explain(const api::ExplainQuery& query) override;
    Result<nlohmann::json> why(const api::WhyQuery& query) override;
    Result<nlohmann::json> kernel_drops(std::size_t limit) override;
    Result<nlohmann::json> top(std::int64_t window_ns) override;
    Result<nlohmann::json> maps() override;
    Result<nlohmann::json> map(const std::string& name, std::size_t limit) override;
    Result<std::unique_ptr<api::LineStream>> alerts(const security::AlertFilter& filter) override;
    Result<std::unique_ptr<api::LineStream>> events(const api::EventQuery& query) override;
    Result<std::unique_ptr<api::LineStream>> record(bool all) override;
    Result<nlohmann::json> rules() override;
    Result<nlohmann::json> reload_rules() override;
    Result<std::unique_ptr<api::LineStream>> service_map(const api::MapQuery& query) override;
    Result<std::string> map_series(const api::MapSeriesQuery& query) override;
    Result<nlohmann::json> workload(const model::ObjectName& name) override;
    Result<nlohmann::json> policy_matrix(const api::MatrixQuery& query) override;
    Result<api::CniReply> cni(const api::CniCall& call) override;

private:
    Result<Security*> security(); // loop thread
    void tell_of_failure(const api::CniCall& call, const std::string& message);
    ServiceMap::Directory directory();
    Node& node_;
    loop::Loop& loop_;
};

} // namespace beeline::agent
