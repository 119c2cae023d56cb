#include <unistd.h>

#include <ctime>
#include <memory>

#include "cli/runtime.h"
#include "cli/sysdump.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

struct Arguments {
    std::string file;
    unsigned flows = 10'000;
    unsigned map_entries = 1'000;
};

std::string default_name(const api::Paths& paths) {
    char time[32] = {};
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    std::strftime(time, sizeof(time), "%Y%m%dT%H%M%SZ", &parts);
    char host[65] = {};
    ::gethostname(host, sizeof(host) - 1);
    return fmt::format("beeline-sysdump-{}{}-{}", host,
                       paths.instance.empty() ? "" : "-" + paths.instance, time);
}

Result<int> sysdump(const Arguments& arguments, Context& context) {
    TRY(require_root("sysdump"));
    const auto paths = TRY(context.paths());
    const auto client = TRY(context.client());
    const auto name = default_name(paths);
    const auto file = arguments.file.empty() ? name + ".tar.gz" : arguments.file;
    auto archive = TRY(Archive::create(file));
    const bool terminal = ::isatty(STDERR_FILENO) == 1;
    const SysdumpPlan plan{.paths = paths,
                           .folder = name,
                           .flows = arguments.flows,
                           .map_entries = arguments.map_entries,
                           .progress = [&](const std::string& what) {
                               if (terminal) context.err << "\r\033[K" << what << std::flush;
                           }};
    const auto summary = collect_sysdump(plan, client, archive);
    if (terminal) context.err << "\r\033[K" << std::flush;
    if (!summary) {
        ::unlink(file.c_str());
        return tl::unexpected(summary.error());
    }
    context.out << fmt::format("{}: {} files{}\n", file, summary->files,
                               summary->failures == 0
                                   ? ""
                                   : fmt::format(", {} parts could not be had (sysdump.json in it "
                                                 "says which)",
                                                 summary->failures));
    context.out << "Secrets are taken out where they can be told. Names, addresses and flows of "
                   "workloads are in it: look before you pass it on.\n";
    return kDone;
}

} // namespace

void register_sysdump_commands(CLI::App& app, Context& context) {
    auto* verb = add_verb(app, "sysdump",
                          "One archive of everything that is needed to understand this node from "
                          "afar, without secrets",
                          "beeline sysdump\n"
                          "beeline sysdump -f /tmp/node1.tar.gz --flows 1000");
    auto arguments = std::make_shared<Arguments>();
    verb->add_option("-f,--file", arguments->file,
                     "Where to write it (default: beeline-sysdump-HOST-TIME.tar.gz)")
        ->option_text("FILE");
    verb->add_option("--flows", arguments->flows,
                     "At most so many of the last flows (default 10000)")
        ->option_text("N")
        ->check(CLI::Range(1U, 100'000U));
    verb->add_option("--map-entries", arguments->map_entries,
                     "At most so many entries of each map (default 1000)")
        ->option_text("N")
        ->check(CLI::Range(1U, 100'000U));
    on_run(verb, context,
           [&context, arguments]() -> Result<int> { return sysdump(*arguments, context); });
}

} // namespace beeline::cli
