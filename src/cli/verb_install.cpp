#include <algorithm>
#include <chrono>
#include <memory>

#include "base/file.h"
#include "cli/install/chart.h"
#include "cli/install/cluster.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "kube/access.h"
#include "kube/client.h"

namespace beeline::cli {
namespace {

using install::Object;
using nlohmann::json;

constexpr std::size_t kLargestValues = 1U << 20;

struct Arguments {
    kube::AccessOptions access;
    std::string space = "kube-system";
    std::string image;
    std::vector<std::string> files;
    std::vector<std::string> sets;
    bool dry_run = false;
    bool force = false;
    bool wait = false;
    unsigned timeout_s = 300;
};

Result<install::Values> values_of(const Arguments& arguments) {
    auto values = TRY(install::Values::defaults());
    for (const auto& path : arguments.files) {
        const auto text = TRY(read_file(path, kLargestValues));
        TRY(values.merge(TRY(install::read_yaml(text, path)), path));
    }
    if (!arguments.image.empty()) TRY(values.set_image(arguments.image));
    for (const auto& each : arguments.sets)
        TRY(values.set(each));
    return values;
}

Result<std::vector<Object>> objects_of(const install::Values& values, const std::string& space) {
    std::vector<Object> out;
    for (const auto& each : install::templates()) {
        const auto text = TRY(install::render(each, values, space));
        out.push_back(TRY(install::object_of(TRY(install::read_yaml(text, each.name)))));
    }
    return out;
}

void tell(Context& context, const std::string& title, install::Outcome outcome, bool dry_run) {
    context.out << printable(fmt::format("{} {}{}", title, install::outcome_name(outcome),
                                         dry_run ? " (dry run)" : ""))
                << std::endl;
}

Result<kube::Client> connect(const Arguments& arguments, Context& context) {
    auto access = TRY(kube::find_access(arguments.access));
    context.err << printable(fmt::format("API server {} ({})", access.server, access.origin))
                << std::endl;
    return kube::Client(std::move(access));
}

Result<int> install_verb(const Arguments& arguments, Context& context) {
    const auto values = TRY(values_of(arguments));
    if (context.format == Format::yaml) {
        context.out << TRY(install::render_all(values, arguments.space));
        return kDone;
    }
    const auto objects = TRY(objects_of(values, arguments.space));
    auto client = TRY(connect(arguments, context));
    const auto made = TRY(install::make_namespace(client, arguments.space, arguments.dry_run));
    if (made == install::Outcome::created) {
        tell(context, "Namespace " + arguments.space, made, arguments.dry_run);
        // Nothing can be tried in a namespace that is not there.
        if (arguments.dry_run) return kDone;
    }
    for (const auto& object : objects) {
        const auto outcome =
            TRY(install::apply(client, object, {arguments.dry_run, arguments.force}));
        tell(context, object.title(), outcome, arguments.dry_run);
    }
    if (!arguments.wait || arguments.dry_run) return kDone;
    const auto set = std::find_if(objects.begin(), objects.end(),
                                  [](const Object& each) { return each.kind == "DaemonSet"; });
    TRY(install::wait_ready(
        client, *set, std::chrono::seconds(arguments.timeout_s),
        [&](const std::string& text) { context.err << printable(text) << std::endl; }));
    return kDone;
}

Result<int> uninstall_verb(const Arguments& arguments, Context& context) {
    auto objects = TRY(objects_of(TRY(install::Values::defaults()), arguments.space));
    auto client = TRY(connect(arguments, context));
    // The agents first: they must not lose their rights while they run.
    std::reverse(objects.begin(), objects.end());
    bool any = false;
    for (const auto& object : objects) {
        const auto outcome = TRY(install::remove(client, object, arguments.dry_run));
        any = any || outcome == install::Outcome::removed;
        tell(context, object.title(), outcome, arguments.dry_run);
    }
    if (any && !arguments.dry_run) {
        context.err << "The nodes keep their datapath, so that pods stay connected, and the "
                       "plugin's files; docs/install.md says how to remove them."
                    << std::endl;
    }
    return kDone;
}

void add_access(CLI::App* verb, Arguments& arguments) {
    verb->add_option("--kubeconfig", arguments.access.kubeconfig,
                     "How to reach the cluster (default: $KUBECONFIG, else ~/.kube/config)")
        ->option_text("FILE");
    verb->add_option("--context", arguments.access.context,
                     "Context of that file (default: the current one)")
        ->option_text("NAME");
    verb->add_option("-n,--namespace", arguments.space,
                     "Namespace of the agents (default kube-system)")
        ->option_text("NAME");
    verb->add_flag("--dry-run", arguments.dry_run,
                   "Let the server judge everything, and change nothing");
}

} // namespace

void register_install_commands(CLI::App& app, Context& context) {
    auto wanted = std::make_shared<Arguments>();
    auto* verb = add_verb(app, "install", "Put the agent on every node of a Kubernetes cluster",
                          "beeline install --image images.example.org/beeline:0.1.0 --wait\n"
                          "beeline install --set config.network.mode=direct --dry-run\n"
                          "beeline install -o yaml >beeline.yaml");
    add_format(verb, context, {Format::table, Format::yaml});
    add_access(verb, *wanted);
    verb->add_option("--image", wanted->image, "Image of the agent (default beeline:0.1.0)")
        ->option_text("REPOSITORY[:TAG]");
    verb->add_option("-f,--values", wanted->files, "Values over those of the chart")
        ->option_text("FILE")
        ->allow_extra_args(false);
    verb->add_option("--set", wanted->sets, "One value over those of the chart and the files")
        ->option_text("NAME=VALUE")
        ->allow_extra_args(false);
    verb->add_flag("--force", wanted->force, "Take over fields that others manage");
    verb->add_flag("--wait", wanted->wait, "Wait until every node has the agent, ready");
    verb->add_option("--timeout", wanted->timeout_s, "Wait so long (default 300)")
        ->option_text("SECONDS")
        ->check(CLI::Range(1U, 86'400U));
    on_run(verb, context,
           [&context, wanted]() -> Result<int> { return install_verb(*wanted, context); });

    auto unwanted = std::make_shared<Arguments>();
    verb = add_verb(app, "uninstall", "Remove what 'install' has put into a cluster",
                    "beeline uninstall\n"
                    "beeline uninstall --kubeconfig admin.conf --dry-run");
    add_access(verb, *unwanted);
    on_run(verb, context,
           [&context, unwanted]() -> Result<int> { return uninstall_verb(*unwanted, context); });
}

} // namespace beeline::cli
