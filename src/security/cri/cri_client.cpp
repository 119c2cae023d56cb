#include "security/cri/cri_client.h"

#include <sys/stat.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include <cri/cri.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include "security/events/container_metadata.h"

namespace beeline::security {
namespace {

namespace cri = runtime::v1;
using Clock = std::chrono::steady_clock;

constexpr int kMostAnswer = 16 << 20;
constexpr std::string_view kSha256 = "sha256:";

bool is_socket(const std::string& path) {
    struct stat is{};
    return ::stat(path.c_str(), &is) == 0 && S_ISSOCK(is.st_mode);
}

const char* propagation_name(cri::MountPropagation propagation) {
    switch (propagation) {
    case cri::PROPAGATION_BIDIRECTIONAL: return "rshared";
    case cri::PROPAGATION_HOST_TO_CONTAINER: return "rslave";
    default: return "private";
    }
}

std::map<std::string, std::string>
map_of(const google::protobuf::Map<std::string, std::string>& from) {
    return {from.begin(), from.end()};
}

std::string digest_in(std::string_view reference) {
    const auto at = reference.find('@');
    return at == std::string_view::npos ? std::string() : std::string(reference.substr(at + 1));
}

// The digest under which the container's repository knows the image, else any.
std::string digest_of(const cri::Image& image, std::string_view repository) {
    for (const auto& reference : image.repo_digests()) {
        if (std::string_view(reference).substr(0, reference.find('@')) == repository)
            return digest_in(reference);
    }
    return image.repo_digests().empty() ? std::string() : digest_in(image.repo_digests(0));
}

// A name that users would recognise; images without a tag are given by their id.
std::string image_name(const cri::ContainerStatus& status, const cri::Image& image) {
    if (!status.image().user_specified_image().empty())
        return status.image().user_specified_image();
    const auto& given = status.image().image();
    if (!given.empty() && given != image.id() && !given.starts_with(kSha256)) return given;
    if (!image.repo_tags().empty()) return image.repo_tags(0);
    return image.repo_digests().empty() ? given : image.repo_digests(0);
}

void add_image(const cri::ContainerStatus& status, const cri::Image& image, Container& container) {
    if (auto name = image_name(status, image); !name.empty()) set_image(container, std::move(name));
    if (auto digest = digest_in(status.image_ref()); !digest.empty())
        container.image_digest = std::move(digest);
    if (container.image_digest.empty())
        container.image_digest = digest_of(image, container.image_repository);
    for (const auto& id : {image.id(), status.image_id(), status.image_ref()}) {
        if (id.empty() || id.find('@') != std::string::npos) continue;
        container.image_id = id.starts_with(kSha256) ? id.substr(kSha256.size()) : id;
        break;
    }
}

void add_status(const cri::ContainerStatus& status, Container& container) {
    if (!status.metadata().name().empty()) container.name = status.metadata().name();
    for (auto& [key, value] : map_of(status.labels()))
        container.labels.insert_or_assign(key, std::move(value));
    // The runtime's own spec has the kubelet's mounts too, with all their options.
    if (!container.mounts.empty()) return;
    for (const auto& mount : status.mounts())
        container.mounts.push_back({.source = mount.host_path(),
                                    .destination = mount.container_path(),
                                    .mode = mount.selinux_relabel() ? "Z" : "",
                                    .writable = !mount.readonly(),
                                    .propagation = propagation_name(mount.propagation())});
}

void add_pod(const cri::PodSandboxStatus& pod, Container& container) {
    container.pod_sandbox_id = pod.id();
    container.pod_name = pod.metadata().name();
    container.pod_namespace = pod.metadata().namespace_();
    container.pod_uid = pod.metadata().uid();
    container.pod_labels = map_of(pod.labels());
    std::vector<std::string> addresses;
    if (!pod.network().ip().empty()) addresses.push_back(pod.network().ip());
    for (const auto& more : pod.network().additional_ips())
        addresses.push_back(more.ip());
    if (!addresses.empty()) container.addresses = std::move(addresses);
}

} // namespace

struct CriClient::State {
    struct Runtime {
        SocketStats stats;
        std::shared_ptr<grpc::Channel> channel;
        std::unique_ptr<cri::RuntimeService::Stub> containers;
        std::unique_ptr<cri::ImageService::Stub> images;
        std::string name; // as containers show it
        Clock::time_point quiet_until{};
    };

    explicit State(Options given) : options(std::move(given)) {
        for (const auto& path : options.sockets)
            runtimes.emplace_back().stats.path = path;
    }

    // The calls about one container share one deadline.
    struct Call {
        State& state;
        Runtime& runtime;
        std::chrono::system_clock::time_point deadline;

        template <typename Stub, typename Request, typename Answer>
        bool operator()(Stub& stub,
                        grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Answer*),
                        const Request& request, Answer& answer) {
            grpc::ClientContext context;
            context.set_deadline(deadline);
            const auto status = (stub.*method)(&context, request, &answer);
            if (status.ok()) return true;
            // That a container is not there is an answer too.
            if (status.error_code() == grpc::StatusCode::NOT_FOUND) return false;
            failed = true;
            const std::lock_guard lock(state.mutex);
            ++runtime.stats.failures;
            runtime.stats.last_error = status.error_message();
            return false;
        }
        bool failed = false;
    };

    void connect(Runtime& runtime) const {
        if (runtime.channel) return;
        grpc::ChannelArguments arguments;
        arguments.SetMaxReceiveMessageSize(kMostAnswer);
        arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
        arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS,
                         static_cast<int>(options.pause_after_failure.count()));
        runtime.channel = grpc::CreateCustomChannel("unix:" + runtime.stats.path,
                                                    grpc::InsecureChannelCredentials(), arguments);
        runtime.containers = cri::RuntimeService::NewStub(runtime.channel);
        runtime.images = cri::ImageService::NewStub(runtime.channel);
    }

    // "containerd", "cri-o"
    static void ask_name(Runtime& runtime, Call& call) {
        if (!runtime.name.empty()) return;
        cri::VersionRequest request;
        request.set_version("v1");
        cri::VersionResponse answer;
        if (call(*runtime.containers, &cri::RuntimeService::Stub::Version, request, answer))
            runtime.name = answer.runtime_name();
    }

    static bool ask_pod(Runtime& runtime, Call& call, const std::string& id, Container& out) {
        cri::PodSandboxStatusRequest request;
        request.set_pod_sandbox_id(id);
        cri::PodSandboxStatusResponse answer;
        if (!call(*runtime.containers, &cri::RuntimeService::Stub::PodSandboxStatus, request,
                  answer) ||
            answer.status().id() != id)
            return false;
        add_pod(answer.status(), out);
        return true;
    }

    static void ask_image(Runtime& runtime, Call& call, const cri::ContainerStatus& status,
                          Container& out) {
        cri::ImageStatusRequest request;
        request.mutable_image()->set_image(!status.image_id().empty()    ? status.image_id()
                                           : !status.image_ref().empty() ? status.image_ref()
                                                                         : status.image().image());
        cri::ImageStatusResponse answer;
        call(*runtime.images, &cri::ImageService::Stub::ImageStatus, request, answer);
        add_image(status, answer.image(), out);
    }

    static bool ask_container(Runtime& runtime, Call& call, const std::string& id, Container& out) {
        cri::ContainerStatusRequest request;
        request.set_container_id(id);
        cri::ContainerStatusResponse answer;
        if (!call(*runtime.containers, &cri::RuntimeService::Stub::ContainerStatus, request,
                  answer) ||
            answer.status().id() != id)
            return false;
        add_status(answer.status(), out);
        ask_image(runtime, call, answer.status(), out);
        // A status does not say which pod it is of.
        cri::ListContainersRequest list;
        list.mutable_filter()->set_id(id);
        cri::ListContainersResponse listed;
        if (call(*runtime.containers, &cri::RuntimeService::Stub::ListContainers, list, listed)) {
            for (const auto& one : listed.containers()) {
                if (one.id() == id) ask_pod(runtime, call, one.pod_sandbox_id(), out);
            }
        }
        return true;
    }

    bool ask(Runtime& runtime, const std::string& id, Container& container) {
        if (Clock::now() < runtime.quiet_until || !is_socket(runtime.stats.path)) return false;
        connect(runtime);
        Call call{*this, runtime, std::chrono::system_clock::now() + options.most_wait};
        Container found = container;
        const bool has = ask_container(runtime, call, id, found) ||
                         (!call.failed && ask_pod(runtime, call, id, found));
        if (has) ask_name(runtime, call);
        if (call.failed) runtime.quiet_until = Clock::now() + options.pause_after_failure;
        if (!has) return false;
        if (!runtime.name.empty()) found.runtime = runtime.name;
        found.complete = true;
        container = std::move(found);
        const std::lock_guard lock(mutex);
        ++runtime.stats.answers;
        return true;
    }

    const Options options;
    std::vector<Runtime> runtimes;
    mutable std::mutex mutex; // the stats of the runtimes
};

CriClient::CriClient(Options options) : state_(std::make_unique<State>(std::move(options))) {}

CriClient::~CriClient() = default;

bool CriClient::describe(const ContainerId& id, Container& container) {
    return std::any_of(state_->runtimes.begin(), state_->runtimes.end(),
                       [&](auto& runtime) { return state_->ask(runtime, id.id, container); });
}

std::vector<CriClient::SocketStats> CriClient::stats() const {
    const std::lock_guard lock(state_->mutex);
    std::vector<SocketStats> out;
    for (const auto& runtime : state_->runtimes)
        out.push_back(runtime.stats);
    return out;
}

std::vector<std::string> CriClient::usual_sockets() {
    return {"/run/containerd/containerd.sock", "/run/crio/crio.sock",
            "/run/k3s/containerd/containerd.sock", "/run/k0s/containerd.sock"};
}

} // namespace beeline::security
