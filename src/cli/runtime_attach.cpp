#include "cli/runtime_attach.h"

#include <sys/random.h>

#include <array>

#include "cli/runtime_files.h"

namespace beeline::cli {
namespace {

constexpr const char* kInterface = "eth0";
constexpr int kAddTimeoutMs = 30'000;
constexpr int kDelTimeoutMs = 5'000;

// {"cniVersion","code","msg","details"}
Failure cni_failure(const api::Response& response) {
    std::string text = response.body;
    const auto json = nlohmann::json::parse(response.body, nullptr, false);
    if (json.is_object() && json.contains("msg") && json["msg"].is_string()) {
        text = json["msg"];
        if (json.contains("details") && json["details"].is_string() && !json["details"].empty())
            text += ": " + json["details"].get<std::string>();
    }
    return fail(Code::unavailable, "the agent refused to attach the workload (HTTP status {}): {}",
                response.status, text);
}

} // namespace

Result<std::string> new_container_id() {
    std::array<unsigned char, 32> bytes{};
    if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
        return fail_errno(errno, "getrandom");
    std::string id;
    for (const auto byte : bytes)
        id += fmt::format("{:02x}", byte);
    return id;
}

nlohmann::json attachment_body(const RunSpec& spec, const RunRecord& record) {
    auto labels = nlohmann::json::array();
    for (const auto& [key, value] : spec.labels)
        labels.push_back({{"key", key}, {"value", value}});
    auto ports = nlohmann::json::array();
    for (const auto& port : spec.ports) {
        const char* protocol = port.protocol == model::Protocol::udp    ? "UDP"
                               : port.protocol == model::Protocol::sctp ? "SCTP"
                                                                        : "TCP";
        ports.push_back({{"name", port.name}, {"protocol", protocol}, {"port", port.port}});
    }
    return {
        {"container", record.container},
        {"netns", record.netns},
        {"interface", kInterface},
        {"args", fmt::format("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", spec.space,
                             spec.name)},
        {"path", ""},
        {"config",
         {{"cniVersion", "1.1.0"},
          {"name", "beeline"},
          {"type", "beeline-cni"},
          {"args",
           {{"cni", {{"labels", labels}}},
            {"beeline",
             {{"cgroup", record.cgroup},
              {"pid", record.pid},
              {"source", "run"},
              {"ports", ports}}}}}}},
    };
}

Result<std::vector<std::string>> attach(const api::Client& client, const RunRecord& record) {
    const auto response =
        TRY(client.request("POST", "/v1/cni/add", record.attachment.dump(), kAddTimeoutMs));
    if (!response.ok()) return cni_failure(response);
    std::vector<std::string> addresses;
    const auto result = TRY(response.json());
    if (result.is_object() && result.contains("ips") && result["ips"].is_array()) {
        for (const auto& ip : result["ips"]) {
            if (!ip.is_object() || !ip.contains("address") || !ip["address"].is_string()) continue;
            const auto text = ip["address"].get<std::string>();
            addresses.push_back(text.substr(0, text.find('/')));
        }
    }
    return addresses;
}

Result<> detach(const api::Client& client, const api::Paths& paths, const RunRecord& record) {
    if (!record.attachment.is_object()) return {};
    const auto body = record.attachment.dump();
    const auto response = client.request("POST", "/v1/cni/del", body, kDelTimeoutMs);
    if (response && response->ok()) return {};
    TRY(make_folder(paths.tombstones()));
    return replace_file(
        fmt::format("{}/{}-{}.json", paths.tombstones(), record.container, kInterface), body,
        Durable::no);
}

} // namespace beeline::cli
