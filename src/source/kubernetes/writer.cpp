#include "source/kubernetes/writer.h"

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace beeline::source {
namespace {

using Json = nlohmann::json;

constexpr double kBurst = 25;
constexpr double kPerSecond = 1;
constexpr std::int64_t kRepeatAfterS = 300; // the kubelet tries an ADD again every few seconds
constexpr std::size_t kLongestMessage = 1000;

std::string time_text(std::int64_t seconds) {
    const std::time_t time = seconds;
    std::tm parts{};
    gmtime_r(&time, &parts);
    char text[32];
    return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string dump(const Json& value) {
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

} // namespace

void Writer::network_works(bool works, const std::string& why) {
    if (works_ == works && why_ == why) return;
    works_ = works;
    why_ = why;
    write_condition();
}

void Writer::connected() {
    if (works_) write_condition();
}

void Writer::write_condition() {
    const auto now = time_text(std::time(nullptr));
    const Json condition{
        {"type", "NetworkUnavailable"},
        {"status",
         *works_ ? "False" : "True"}, // NOLINT(bugprone-unchecked-optional-access): asked before
        {"reason",
         *works_ ? "BeelineIsUp" : "BeelineFailed"}, // NOLINT(bugprone-unchecked-optional-access)
        {"message", *works_ ? "Beeline connects the pods of this node" : why_}, // NOLINT
        {"lastHeartbeatTime", now},
        {"lastTransitionTime", now}};
    kube::Request request;
    request.method = "PATCH";
    request.path = "/api/v1/nodes/" + kube::escaped(node_) + "/status";
    request.content_type = "application/strategic-merge-patch+json";
    request.body = dump({{"status", {{"conditions", Json::array({condition})}}}});
    send(std::move(request));
    kube::Request notes;
    notes.method = "PATCH";
    notes.path = "/api/v1/nodes/" + kube::escaped(node_);
    notes.content_type = "application/merge-patch+json";
    notes.body = dump({{"metadata", {{"annotations", {{"beeline.io/version", version_}}}}}});
    send(std::move(notes));
}

void Writer::pod_failed(const FailedPod& pod) {
    const auto now = static_cast<std::int64_t>(std::time(nullptr));
    std::erase_if(told_, [&](const auto& entry) {
        return entry.second + kRepeatAfterS < now || entry.second > now; // the clock may jump
    });
    const auto text = pod.name.to_string() + " " + pod.message;
    if (pod.name.space.empty() || told_.contains(text)) return;
    tokens_ = std::min(kBurst, tokens_ + kPerSecond * static_cast<double>(std::max<std::int64_t>(
                                                          now - filled_, 0)));
    filled_ = now;
    if (tokens_ < 1) return;
    tokens_ -= 1;
    told_[text] = now;
    const auto when = time_text(now);
    kube::Request request;
    request.method = "POST";
    request.path = "/api/v1/namespaces/" + kube::escaped(pod.name.space) + "/events";
    request.body =
        dump({{"metadata", {{"generateName", "beeline-"}, {"namespace", pod.name.space}}},
              {"involvedObject",
               {{"apiVersion", "v1"},
                {"kind", "Pod"},
                {"namespace", pod.name.space},
                {"name", pod.name.name},
                {"uid", pod.uid}}},
              {"type", "Warning"},
              {"reason", "NetworkNotReady"},
              {"message", pod.message.substr(0, kLongestMessage)},
              {"source", {{"component", "beeline"}, {"host", node_}}},
              {"firstTimestamp", when},
              {"lastTimestamp", when},
              {"count", 1}});
    send(std::move(request));
}

void Writer::send(kube::Request request) {
    const auto what = request.method + " " + request.path;
    kube::Session::Handler handler;
    handler.done = [what](const kube::Session::Outcome& outcome) {
        if (!outcome.good())
            log_warn("the API server was not told", kv("request", what),
                     kv("why", outcome.problem()));
    };
    session_.start(std::move(request), std::move(handler));
}

} // namespace beeline::source
