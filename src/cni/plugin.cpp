#include "cni/plugin.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "api/client/client.h"
#include "base/fd.h"
#include "base/log.h"
#include "cni/local_cleanup.h"
#include "net/cni_protocol.h"
#include "net/namespace.h"

namespace beeline::cni {
namespace {

using net::CniError;
namespace code = net::cni_code;

constexpr int kAddTimeoutMs = 45'000;
constexpr int kDelTimeoutMs = 10'000;
constexpr int kOtherTimeoutMs = 20'000;

constexpr std::string_view kAbout =
    "beeline-cni attaches containers to the network of the Beeline agent on this machine.\n"
    "CNI protocol versions supported: 0.3.1, 0.4.0, 1.0.0, 1.1.0\n";

Output refuse(const CniError& error, std::string_view version) {
    return {1, error_json(error, version), {}};
}

Output print_version(const Invocation& invocation) {
    const nlohmann::json answer{{"cniVersion", invocation.version},
                                {"supportedVersions", net::kCniVersions}};
    return {0, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n", {}};
}

// ADD and CHECK act on a namespace that must be there and must not be the plugin's own.
std::optional<CniError> check_netns(const Environment& environment) {
    const auto netns = net::Namespace::open(environment.netns);
    if (!netns) return CniError{code::kNetns, "CNI_NETNS: " + netns.error().message, {}};
    const auto own = net::Namespace::current();
    if (own && own->inode() == netns->inode() && !environment.netns_override) {
        return CniError{
            code::kNetns,
            fmt::format("CNI_NETNS '{}' is the plugin's own network namespace", environment.netns),
            "CNI_NETNS_OVERRIDE=1 lets it pass"};
    }
    return {};
}

bool listens(const std::string& socket) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, socket.data(), socket.size());
    const Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    // EAGAIN: it listens, with a full queue.
    return fd &&
           (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
            errno == EAGAIN);
}

void wait_until_it_listens(const std::string& socket, int patience_ms) {
    using Clock = std::chrono::steady_clock;
    const auto deadline = Clock::now() + std::chrono::milliseconds(patience_ms);
    while (!listens(socket) && Clock::now() < deadline)
        ::poll(nullptr, 0, 50);
}

int timeout_of(Verb verb) {
    switch (verb) {
    case Verb::add: return kAddTimeoutMs;
    case Verb::del: return kDelTimeoutMs;
    default: return kOtherTimeoutMs;
    }
}

class Call {
public:
    Call(const Invocation& invocation, const api::Paths& paths)
        : invocation_(invocation), paths_(paths), client_(paths.socket()),
          tombstones_(paths.tombstones()) {
        const auto& environment = invocation.environment;
        body_ = nlohmann::json{{"container", environment.container}, {"netns", environment.netns},
                               {"interface", environment.interface}, {"args", environment.args},
                               {"path", environment.path},           {"config", invocation.config}}
                    .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }

    Output run() {
        const auto& environment = invocation_.environment;
        if (invocation_.verb == Verb::add) {
            wait_until_it_listens(paths_.socket(), kAddPatienceMs);
            // A note about an earlier attachment of the same name must not undo this one.
            tombstones_.erase(environment.container, environment.interface);
        }
        const auto response = send();
        if (response) return answer(*response);
        return agent_is_down(response.error());
    }

private:
    Result<api::Response> send() {
        return client_.request("POST", fmt::format("/v1/cni/{}", verb_name(invocation_.verb)),
                               body_, timeout_of(invocation_.verb));
    }

    Output answer(const api::Response& response) {
        const auto body = nlohmann::json::parse(response.body, nullptr, false);
        if (!body.is_object()) {
            return error(code::kFailed, "the agent's answer is not a JSON object",
                         fmt::format("HTTP status {}", response.status));
        }
        if (response.ok()) {
            if (invocation_.verb != Verb::add) return {};
            return {0, body.dump() + "\n", {}};
        }
        const auto number = body.find("code");
        const auto text = body.find("msg");
        if (number == body.end() || !number->is_number_integer() || text == body.end() ||
            !text->is_string()) {
            return error(code::kFailed,
                         fmt::format("the agent answered with HTTP status {}", response.status),
                         response.body);
        }
        const auto details = body.find("details");
        return error(number->get<int>(), text->get<std::string>(),
                     details != body.end() && details->is_string() ? details->get<std::string>()
                                                                   : "");
    }

    Output agent_is_down(const Error& why) {
        switch (invocation_.verb) {
        case Verb::del: return del_without_agent(why);
        case Verb::gc:
        case Verb::status: return error(code::kUnavailable, why.message);
        default: break;
        }
        if (why.code == Code::unavailable) return error(code::kTryLater, why.message);
        return error(why.code == Code::denied ? code::kIo : code::kFailed, why.message);
    }

    // Must not keep a container from being removed: the agent does the rest when it is back.
    Output del_without_agent(const Error& why) {
        const auto& environment = invocation_.environment;
        log_warn("DEL without the agent", kv("container", environment.container),
                 kv("reason", why.message));
        const auto removed =
            remove_interface(environment.container, environment.interface, environment.netns);
        if (!removed) log_warn("interface not removed", kv("error", removed.error().message));
        const auto noted = tombstones_.write(environment.container, environment.interface, body_);
        if (!noted) {
            // At its start the agent also drops workloads whose interface is gone.
            log_warn("no note left for the agent", kv("error", noted.error().message));
            return {};
        }
        // It may have started, and read the notes, before this one was there.
        if (!listens(paths_.socket())) return {};
        const auto again = send();
        if (!again) return {};
        tombstones_.erase(environment.container, environment.interface);
        return answer(*again);
    }

    Output error(int number, std::string message, std::string details = {}) {
        return refuse({number, std::move(message), std::move(details)}, invocation_.version);
    }

    const Invocation& invocation_;
    const api::Paths& paths_;
    api::Client client_;
    Tombstones tombstones_;
    std::string body_;
};

} // namespace

Output run_plugin(const Environment& environment, std::string_view input, const PathsOf& paths_of) {
    if (environment.command.empty()) return {0, {}, std::string(kAbout)};
    const auto invocation = parse_invocation(environment, input);
    if (!invocation) return refuse(invocation.error(), {});
    if (invocation->verb == Verb::version) return print_version(*invocation);
    if (invocation->verb == Verb::add || invocation->verb == Verb::check) {
        if (const auto wrong = check_netns(environment)) return refuse(*wrong, invocation->version);
    }
    const auto paths = paths_of(invocation->instance);
    if (!paths) {
        const bool configured = !invocation->instance.empty();
        return refuse({configured ? code::kConfig : code::kEnvironment,
                       fmt::format("{}: {}", configured ? "'instance'" : "BEELINE_INSTANCE",
                                   paths.error().message),
                       {}},
                      invocation->version);
    }
    return Call(*invocation, *paths).run();
}

} // namespace beeline::cni
