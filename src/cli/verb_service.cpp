#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;

std::string ports_of(const json& service) {
    std::vector<std::string> ports;
    for (const auto& port : list(service, "ports")) {
        const std::string name = text(port, "name");
        ports.push_back(fmt::format("{}{}/{}", name.empty() ? "" : name + ":", text(port, "port"),
                                    text(port, "protocol")));
    }
    return joined(ports, ",");
}

// "2/3" when three backends are known and two of them get connections.
std::string ready_of(const json& service) {
    std::vector<std::string> counts;
    for (const auto& port : list(service, "ports")) {
        const auto& backends = list(port, "backends");
        std::size_t ready = 0;
        for (const auto& backend : backends)
            ready += flag(backend, "ready") ? 1 : 0;
        counts.push_back(fmt::format("{}/{}", ready, backends.size()));
    }
    return joined(counts, ",");
}

std::string backends_of(const json& service) {
    std::vector<std::string> backends;
    for (const auto& port : list(service, "ports")) {
        for (const auto& backend : list(port, "backends"))
            backends.push_back(address_port(text(backend, "address"), number(backend, "port")) +
                               (flag(backend, "ready") ? "" : "(not ready)"));
    }
    return joined(backends, ",");
}

} // namespace

void register_service_commands(CLI::App& app, Context& context) {
    auto* service = add_verb(app, "service", "Services and their backends", "beeline service list");
    service->require_subcommand(1);
    auto* show = add_verb(*service, "list", "Services with the backends that the datapath uses",
                          "beeline service list -o wide");
    add_format(show, context,
               {Format::table, Format::wide, Format::json, Format::jsonl, Format::yaml});
    on_run(show, context, [&context]() -> Result<int> {
        const json answer = TRY(TRY(context.client()).get("/v1/services"));
        print_list(
            context, list(answer, "services"),
            {column("NAMESPACE", "namespace"),
             column("NAME", "name"),
             {"ADDRESSES", [](const json& each) { return joined(texts(each, "addresses"), ","); }},
             {"PORTS", ports_of},
             {"READY", ready_of},
             {"AFFINITY",
              [](const json& each) {
                  const auto seconds = number(each, "affinity_s");
                  return seconds == 0 ? "" : duration_text(seconds * 1000);
              },
              true},
             {"BACKENDS", backends_of, true}},
            "no services");
        return kDone;
    });
}

} // namespace beeline::cli
