#include "agent/own_node.h"

#include <signal.h>

#include <chrono>
#include <thread>

#include "base/file.h"
#include "base/log.h"
#include "kube/client.h"
#include "source/json.h"
#include "source/manifest.h"

namespace beeline::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPause = std::chrono::milliseconds(500);
constexpr auto kLogPeriod = std::chrono::seconds(10);

Result<model::ClusterNode> fetch(kube::Client& client, const std::string& name) {
    const auto text = TRY(client.get("/api/v1/nodes/" + kube::escaped(name)));
    source::JsonReader reader;
    const auto document = TRY(reader.read(text, "Node " + name));
    auto manifest = TRY(source::read_manifest(source::ObjectKind::node, document.root()));
    auto* node = std::get_if<model::ClusterNode>(&manifest.object);
    if (!node || node->pod_ranges.empty()) {
        return fail(Code::unavailable,
                    "Node {} has no podCIDRs: does a controller give them out? Or set network.ipv4 "
                    "and network.ipv6",
                    name);
    }
    return std::move(*node);
}

void take(Config& config, const std::vector<net::Prefix>& ranges) {
    for (const auto& range : ranges)
        (range.is_v4() ? config.range4 : config.range6) = range;
}

std::vector<net::Prefix> known_ranges(const std::string& file) {
    std::vector<net::Prefix> out;
    const auto text = read_file(file, 4096);
    if (!text) return out;
    std::string_view rest(*text);
    while (!rest.empty()) {
        const auto end = std::min(rest.find('\n'), rest.size());
        if (const auto range = net::Prefix::parse(rest.substr(0, end), false))
            out.push_back(*range);
        rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return out;
}

// The loop that would deliver the signal does not run yet.
bool told_to_stop() {
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
}

} // namespace

Result<> settle_ranges(Config& config, const std::string& state) {
    if (!config.ranges_from_node) return {};
    const auto& options = config.source.kubernetes;
    kube::Client client(TRY(kube::find_access({options.kubeconfig, options.context})));
    const auto file = state + "/pod-ranges";
    const auto known = known_ranges(file);
    const auto deadline = Clock::now() + std::chrono::seconds(options.node_wait_s);
    auto next_log = Clock::now();
    for (;;) {
        const auto node = fetch(client, config.node);
        if (node) {
            take(config, node->pod_ranges);
            std::string text;
            for (const auto& range : node->pod_ranges)
                text += range.to_string() + "\n";
            TRY(replace_file(file, text));
            log_info("pod ranges of the own Node", kv("node", config.node),
                     kv("first", node->pod_ranges.front().to_string()));
            return {};
        }
        if (!known.empty()) {
            log_warn("the own Node cannot be read, the pod ranges of the last run stay",
                     kv("node", config.node), kv("why", node.error().message));
            take(config, known);
            return {};
        }
        const auto now = Clock::now();
        if (now >= deadline || told_to_stop()) return Failure(node.error().with("pod ranges"));
        if (now >= next_log) {
            log_warn("waiting for the pod ranges of the own Node", kv("node", config.node),
                     kv("why", node.error().message));
            next_log = now + kLogPeriod;
        }
        std::this_thread::sleep_for(kPause);
    }
}

} // namespace beeline::agent
