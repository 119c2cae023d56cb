#include <algorithm>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include "api/server/v1.h"

namespace beeline::api {
namespace {

class NoBackend : public Backend {
public:
    Result<nlohmann::json> status() override { return {}; }
    Result<nlohmann::json> workloads() override { return {}; }
    Result<nlohmann::json> services() override { return {}; }
    Result<nlohmann::json> objects(const ObjectQuery&) override { return {}; }
    Result<nlohmann::json> apply(const std::string&, bool) override { return {}; }
    Result<nlohmann::json> remove(const std::string&, const model::ObjectName&) override {
        return {};
    }
    Result<std::unique_ptr<LineStream>> flows(const observe::FlowFilter&) override { return {}; }
    Result<nlohmann::json> explain(const ExplainQuery&) override { return {}; }
    Result<nlohmann::json> why(const WhyQuery&) override { return {}; }
    Result<nlohmann::json> top(std::int64_t) override { return {}; }
    Result<nlohmann::json> maps() override { return {}; }
    Result<nlohmann::json> map(const std::string&, std::size_t) override { return {}; }
    Result<std::unique_ptr<LineStream>> alerts(const security::AlertFilter&) override { return {}; }
    Result<std::unique_ptr<LineStream>> events(const EventQuery&) override { return {}; }
    Result<std::unique_ptr<LineStream>> record(bool) override { return {}; }
    Result<nlohmann::json> rules() override { return {}; }
    Result<nlohmann::json> reload_rules() override { return {}; }
    Result<CniReply> cni(const CniCall&) override { return {}; }
};

// "GET /v1/flows" -> its parameters: "follow", "pod*" (repeatable), "{name}" (in the path).
using Calls = std::map<std::string, std::set<std::string>>;

Calls of_router() {
    NoBackend backend;
    Calls calls;
    const Router router = v1_routes(backend);
    for (const auto& route : router.routes()) {
        auto& parameters = calls[route.method + " " + route.pattern];
        for (const auto& parameter : route.parameters)
            parameters.insert(std::string(parameter.name) + (parameter.repeatable ? "*" : ""));
        for (std::size_t at = 0; (at = route.pattern.find('{', at)) != std::string::npos; ++at)
            parameters.insert(route.pattern.substr(at, route.pattern.find('}', at) - at + 1));
    }
    return calls;
}

Calls of_document(const YAML::Node& document) {
    Calls calls;
    for (const auto& path : document["paths"]) {
        for (const auto& operation : path.second) {
            std::string method = operation.first.as<std::string>();
            std::transform(method.begin(), method.end(), method.begin(),
                           [](unsigned char c) { return std::toupper(c); });
            auto& parameters = calls[method + " " + path.first.as<std::string>()];
            for (const auto& parameter : operation.second["parameters"]) {
                const auto name = parameter["name"].as<std::string>();
                const bool repeatable = parameter["schema"]["type"].as<std::string>() == "array";
                parameters.insert(parameter["in"].as<std::string>() == "path"
                                      ? "{" + name + "}"
                                      : name + (repeatable ? "*" : ""));
            }
        }
    }
    return calls;
}

TEST(OpenApi, DocumentAndRouterListTheSameCalls) {
    EXPECT_EQ(of_document(YAML::Load(std::string(openapi_document()))), of_router());
}

void check_references(const YAML::Node& node, const YAML::Node& document, int& count) {
    if (node.IsMap() && node["$ref"]) {
        std::string reference = node["$ref"].as<std::string>();
        ASSERT_TRUE(reference.starts_with("#/components/")) << reference;
        const std::string rest = reference.substr(std::string("#/components/").size());
        const auto slash = rest.find('/');
        EXPECT_TRUE(document["components"][rest.substr(0, slash)][rest.substr(slash + 1)])
            << reference;
        ++count;
    }
    if (node.IsMap()) {
        for (const auto& member : node)
            check_references(member.second, document, count);
    } else if (node.IsSequence()) {
        for (const auto& item : node)
            check_references(item, document, count);
    }
}

TEST(OpenApi, ReferencesResolveAndEveryCallDocumentsItsErrors) {
    const YAML::Node document = YAML::Load(std::string(openapi_document()));
    int references = 0;
    check_references(document, document, references);
    EXPECT_GT(references, 20);
    std::set<std::string> operations;
    for (const auto& path : document["paths"]) {
        for (const auto& operation : path.second) {
            const auto id = operation.second["operationId"].as<std::string>();
            EXPECT_TRUE(operations.insert(id).second) << id;
            EXPECT_TRUE(operation.second["summary"]) << id;
            EXPECT_TRUE(operation.second["responses"]["200"]) << id;
            EXPECT_TRUE(id == "getOpenapi" || operation.second["responses"]["default"]) << id;
        }
    }
}

} // namespace
} // namespace beeline::api
