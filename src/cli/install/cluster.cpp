#include "cli/install/cluster.h"

#include <algorithm>
#include <thread>

namespace beeline::cli::install {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr auto kInterval = std::chrono::milliseconds(500);

struct Kind {
    std::string_view name;
    std::string_view version;
    std::string_view root;
    std::string_view plural;
    bool spaced;
};
constexpr Kind kKinds[] = {
    {"ServiceAccount", "v1", "/api/v1", "serviceaccounts", true},
    {"ConfigMap", "v1", "/api/v1", "configmaps", true},
    {"ClusterRole", "rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1",
     "clusterroles", false},
    {"ClusterRoleBinding", "rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1",
     "clusterrolebindings", false},
    {"DaemonSet", "apps/v1", "/apis/apps/v1", "daemonsets", true},
};

std::string text(const json& object, const char* key) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && found != object.end() && found->is_string()
               ? found->get<std::string>()
               : "";
}

const json& member(const json& object, const char* key) {
    static const json kNothing;
    if (!object.is_object()) return kNothing;
    const auto found = object.find(key);
    return found == object.end() ? kNothing : *found;
}

std::int64_t number(const json& object, const char* key) {
    const auto& value = member(object, key);
    return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

Result<json> parsed(const std::string& body, const std::string& path) {
    json out = json::parse(body, nullptr, false);
    if (!out.is_object()) return fail(Code::unavailable, "{}: the answer is no object", path);
    return out;
}

// What the server notes about an object, which no change of its content is.
json content(json object) {
    if (auto metadata = object.find("metadata");
        metadata != object.end() && metadata->is_object()) {
        for (const char* key :
             {"managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"})
            metadata->erase(key);
    }
    object.erase("status");
    return object;
}

// Why a pod is not ready, in one line; empty when nothing is said.
std::string reason_of(const json& pod) {
    const auto& status = member(pod, "status");
    for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
        for (const auto& container : member(status, list)) {
            const auto& waiting = member(member(container, "state"), "waiting");
            const auto reason = text(waiting, "reason");
            if (!reason.empty() && reason != "PodInitializing")
                return fmt::format("{}: {} {}", text(container, "name"), reason,
                                   text(waiting, "message"));
        }
    }
    for (const auto& condition : member(status, "conditions")) {
        if (text(condition, "status") == "False" && !text(condition, "message").empty())
            return text(condition, "message");
    }
    return {};
}

// Of the first pod that has a trouble to tell.
std::string trouble(kube::Client& client, const Object& set) {
    const auto body =
        client.get(fmt::format("/api/v1/namespaces/{}/pods?limit=500&labelSelector={}", set.space,
                               kube::escaped("app.kubernetes.io/name=" + set.name)));
    if (!body) return {};
    const json list = json::parse(*body, nullptr, false);
    for (const auto& pod : member(list, "items")) {
        if (const auto why = reason_of(pod); !why.empty())
            return fmt::format("pod {} on {}: {}", text(member(pod, "metadata"), "name"),
                               text(member(pod, "spec"), "nodeName"), why);
    }
    return {};
}

struct Progress {
    bool done = false;
    std::string text;
};

Progress progress_of(const json& set) {
    const auto& status = member(set, "status");
    const auto wanted = number(status, "desiredNumberScheduled");
    const auto newest = number(status, "updatedNumberScheduled");
    const auto ready = number(status, "numberReady");
    if (number(status, "observedGeneration") < number(member(set, "metadata"), "generation"))
        return {false, "the cluster's controller has not seen the DaemonSet yet"};
    if (wanted == 0) return {false, "no node is there that shall have the agent"};
    return {newest >= wanted && ready >= wanted,
            fmt::format("{} of {} nodes have this version, {} are ready", newest, wanted, ready)};
}

} // namespace

std::string Object::title() const {
    return space.empty() ? fmt::format("{} {}", kind, name)
                         : fmt::format("{} {}/{}", kind, space, name);
}

Result<Object> object_of(json body) {
    Object out;
    out.kind = text(body, "kind");
    out.name = text(member(body, "metadata"), "name");
    const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                    [&](const Kind& each) { return each.name == out.kind; });
    if (kind == std::end(kKinds) || text(body, "apiVersion") != kind->version || out.name.empty())
        return fail(Code::internal, "the chart has an object of an unknown kind '{}'", out.kind);
    out.path = kind->root;
    if (kind->spaced) {
        out.space = text(member(body, "metadata"), "namespace");
        out.path += "/namespaces/" + kube::escaped(out.space);
    }
    out.path += fmt::format("/{}/{}", kind->plural, kube::escaped(out.name));
    out.body = std::move(body);
    return out;
}

std::string_view outcome_name(Outcome outcome) {
    switch (outcome) {
    case Outcome::created: return "created";
    case Outcome::changed: return "changed";
    case Outcome::unchanged: return "unchanged";
    case Outcome::removed: return "removed";
    case Outcome::absent: return "was not there";
    }
    return "";
}

Result<Outcome> apply(kube::Client& client, const Object& object, const ApplyOptions& options) {
    const auto before = TRY(client.send({.method = "GET", .path = object.path}));
    if (!before.good() && before.status != 404)
        return kube::failure_of({.method = "GET", .path = object.path}, before);
    kube::Request request{.method = "PATCH",
                          .path = object.path + "?fieldManager=beeline",
                          .body = object.body.dump(),
                          .content_type = "application/apply-patch+yaml"};
    if (options.dry_run) request.path += "&dryRun=All";
    if (options.force) request.path += "&force=true";
    const auto after = TRY(client.send(request));
    if (after.status == 409) {
        return fail(Code::exists, "{}: {}; --force takes those fields over", object.title(),
                    kube::problem_of(after.status, after.body));
    }
    if (!after.good())
        return Failure(kube::failure_of(request, after).value().with(object.title()));
    if (before.status == 404) return Outcome::created;
    const auto was = TRY(parsed(before.body, object.path));
    const auto is = TRY(parsed(after.body, object.path));
    return content(was) == content(is) ? Outcome::unchanged : Outcome::changed;
}

Result<Outcome> remove(kube::Client& client, const Object& object, bool dry_run) {
    kube::Request request{.method = "DELETE",
                          .path = object.path + "?propagationPolicy=Background"};
    if (dry_run) request.path += "&dryRun=All";
    const auto answer = TRY(client.send(request));
    if (answer.status == 404) return Outcome::absent;
    if (!answer.good())
        return Failure(kube::failure_of(request, answer).value().with(object.title()));
    return Outcome::removed;
}

Result<Outcome> make_namespace(kube::Client& client, const std::string& space, bool dry_run) {
    const std::string path = "/api/v1/namespaces";
    const auto found =
        TRY(client.send({.method = "GET", .path = path + "/" + kube::escaped(space)}));
    if (found.good()) return Outcome::unchanged;
    if (found.status != 404) return kube::failure_of({.method = "GET", .path = path}, found);
    const json body{
        {"apiVersion", "v1"},
        {"kind", "Namespace"},
        {"metadata",
         {{"name", space}, {"labels", {{"pod-security.kubernetes.io/enforce", "privileged"}}}}}};
    const kube::Request request{
        .method = "POST", .path = path + (dry_run ? "?dryRun=All" : ""), .body = body.dump()};
    const auto made = TRY(client.send(request));
    if (!made.good()) return kube::failure_of(request, made);
    return Outcome::created;
}

Result<> wait_ready(kube::Client& client, const Object& daemon_set, std::chrono::seconds timeout,
                    const std::function<void(const std::string&)>& progress) {
    const auto end = Clock::now() + timeout;
    std::string told;
    for (;;) {
        // A server that hiccups is asked again.
        const auto body = client.get(daemon_set.path);
        Progress now{false, body ? "" : body.error().message};
        if (body) now = progress_of(TRY(parsed(*body, daemon_set.path)));
        if (now.text != told) progress(now.text);
        told = now.text;
        if (now.done) return {};
        if (Clock::now() >= end) {
            const auto why = trouble(client, daemon_set);
            return fail(Code::unavailable, "not ready after {} s: {}{}{}", timeout.count(), told,
                        why.empty() ? "" : "; ", why);
        }
        std::this_thread::sleep_for(kInterval);
    }
}

} // namespace beeline::cli::install
