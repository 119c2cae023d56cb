// beelined: the agent of one node.
#include <malloc.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include <CLI/CLI.hpp>

#include "agent/backend.h"
#include "agent/cleanup.h"
#include "agent/config.h"
#include "agent/hubble.h"
#include "agent/node.h"
#include "agent/telemetry.h"
#include "agent/web.h"
#include "api/client/paths.h"
#include "api/server/server.h"
#include "api/server/v1.h"
#include "base/log.h"
#include "ebpf/object.h"
#include "loop/loop.h"

namespace {

using namespace beeline;

struct Options {
    std::string config;
    std::string instance;
    bool cleanup = false;
    bool check = false;
    bool relay = false;
    std::vector<std::string> peers; // of the relay
    std::string notifier;
    std::string relay_listen;
    std::string relay_socket;
    char** argv = nullptr;
};

// True: the agent must begin anew.
Result<bool> serve(agent::Config config, const api::Paths& paths) {
    ebpf::route_libbpf_logs();
    const auto loop = TRY(loop::Loop::create());
    std::unique_ptr<api::Server> server;
    std::unique_ptr<agent::Telemetry> telemetry;
    agent::WebPage web;
    std::thread stopper;
    // Handlers need the running loop until the server is down, so another thread takes it down.
    TRY(loop->on_signals({SIGTERM, SIGINT}, [&](int signal) {
        if (stopper.joinable()) return;
        log_info("stopping; the datapath stays in place", kv("signal", signal));
        stopper = std::thread([&] {
            if (telemetry) telemetry->stop();
            if (web.server) web.server->stop();
            if (server) server->stop();
            loop->stop();
        });
    }));
    signal(SIGPIPE, SIG_IGN);

    const auto node = TRY(agent::Node::start(std::move(config), paths, *loop));
    agent::NodeBackend backend(*node, *loop);
    server = TRY(api::Server::create(api::v1_routes(backend)));
    TRY(server->serve_unix(paths.socket()));
    telemetry = agent::Telemetry::start(*node, *loop);
    web = agent::start_web(node->config().web, paths.state, backend);
    node->set_web_status(web.status());
    log_info("ready", kv("node", node->config().node), kv("instance", paths.instance),
             kv("api", paths.socket()), kv("workloads", node->workloads().size()),
             kv("source", node->source().state().place));
    ::malloc_trim(0); // of the kernel's types and programs, which the start alone needed
    loop->run();
    if (stopper.joinable()) stopper.join();
    telemetry.reset();
    web.server.reset();
    server.reset();
    return node->must_restart();
}

Result<> relay(const Options& options, hubble::RelaySection config) {
    if (!options.peers.empty()) config.peers.targets = options.peers;
    if (!options.notifier.empty()) config.peers.notifier = options.notifier;
    if (!options.relay_socket.empty()) config.socket = options.relay_socket;
    if (options.relay_listen == "none") {
        config.listen.clear();
    } else if (!options.relay_listen.empty()) {
        config.listen = TRY(hubble::listen_address(options.relay_listen, hubble::kRelayPort));
    }
    return agent::run_relay(std::move(config));
}

Result<> run(const Options& options) {
    const auto paths = TRY(api::paths_from_environment(options.instance));
    if (options.cleanup) return agent::cleanup(paths);
    // Without a file the embedded defaults hold.
    auto config = TRY(options.config.empty() ? agent::parse_config("", "defaults")
                                             : agent::read_config(options.config));
    if (options.check) return {};
    set_log_level(config.log_level);
    if (options.relay) return relay(options, std::move(config.hubble.relay));
    if (!TRY(serve(std::move(config), paths))) return {};
    log_info("beginning anew");
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv("/proc/self/exe", options.argv);
    return fail_errno(errno, "cannot begin anew");
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"beelined: connects, watches and guards the workloads of this machine.\n"
                 "Example: beelined --config /etc/beeline/beeline.yaml"};
    Options options;
    options.argv = argv;
    app.add_option("--config", options.config, "Configuration file; absent: the embedded defaults");
    app.add_option("--instance", options.instance,
                   "Name of this agent when several run on one machine");
    auto* cleanup = app.add_flag("--cleanup", options.cleanup,
                                 "Remove everything this instance ever made, and exit");
    app.add_flag("--check", options.check, "Check the configuration and exit")->excludes(cleanup);
    auto* relay =
        app.add_flag("--relay", options.relay, "Serve the flows of several agents as one stream");
    relay->excludes(cleanup);
    app.add_option("--peers", options.peers,
                   "Agents that the relay follows: unix:///PATH or HOST:PORT, by commas")
        ->delimiter(',')
        ->needs(relay);
    app.add_option("--notifier", options.notifier,
                   "An agent that tells the relay of all others (Peer.Notify)")
        ->needs(relay);
    app.add_option("--relay-listen", options.relay_listen,
                   "Where the relay listens: HOST:PORT, :PORT or none (default: the configuration)")
        ->needs(relay);
    app.add_option("--relay-socket", options.relay_socket, "Unix socket of the relay")
        ->needs(relay);
    app.set_version_flag("--version", BEELINE_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    if (const auto done = run(options); !done) {
        fmt::print(stderr, "beelined: {}\n", done.error().message);
        return 1;
    }
    return 0;
}
