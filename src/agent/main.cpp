// beelined: the agent of one node.
#include <csignal>
#include <thread>

#include <CLI/CLI.hpp>

#include "agent/backend.h"
#include "agent/cleanup.h"
#include "agent/config.h"
#include "agent/node.h"
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
};

Result<> serve(agent::Config config, const api::Paths& paths) {
    ebpf::route_libbpf_logs();
    const auto loop = TRY(loop::Loop::create());
    std::unique_ptr<api::Server> server;
    agent::WebPage web;
    std::thread stopper;
    // Handlers need the running loop until the server is down, so another thread takes it down.
    TRY(loop->on_signals({SIGTERM, SIGINT}, [&](int signal) {
        if (stopper.joinable()) return;
        log_info("stopping; the datapath stays in place", kv("signal", signal));
        stopper = std::thread([&] {
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
    web = agent::start_web(node->config().web, paths.state, backend);
    node->set_web_status(web.status());
    log_info("ready", kv("node", node->config().node), kv("instance", paths.instance),
             kv("api", paths.socket()), kv("workloads", node->workloads().size()),
             kv("manifests", node->config().manifests));
    loop->run();
    if (stopper.joinable()) stopper.join();
    web.server.reset();
    server.reset();
    return {};
}

Result<> run(const Options& options) {
    const auto paths = TRY(api::paths_from_environment(options.instance));
    if (options.cleanup) return agent::cleanup(paths);
    // Without a file the embedded defaults hold.
    auto config = TRY(options.config.empty() ? agent::parse_config("", "defaults")
                                             : agent::read_config(options.config));
    if (options.check) return {};
    set_log_level(config.log_level);
    return serve(std::move(config), paths);
}

} // namespace

int main(int argc, char** argv) {
    CLI::App app{"beelined: connects, watches and guards the workloads of this machine.\n"
                 "Example: beelined --config /etc/beeline/beeline.yaml"};
    Options options;
    app.add_option("--config", options.config, "Configuration file; absent: the embedded defaults");
    app.add_option("--instance", options.instance,
                   "Name of this agent when several run on one machine");
    auto* cleanup = app.add_flag("--cleanup", options.cleanup,
                                 "Remove everything this instance ever made, and exit");
    app.add_flag("--check", options.check, "Check the configuration and exit")->excludes(cleanup);
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
