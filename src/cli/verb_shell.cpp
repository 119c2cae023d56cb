#include <memory>

#include <fmt/format.h>

#include "cli/app.h"
#include "cli/completion.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

std::string completion_script(const CLI::App& app, const std::string& shell) {
    if (shell == "bash") return bash_completion(app);
    return shell == "zsh" ? zsh_completion(app) : fish_completion(app);
}

void write_page(std::ostream& out, const CLI::App& app, const std::string& path) {
    // The help of a verb is asked from above, so that its usage line shows the whole path.
    const std::string above =
        path.substr(0, path.rfind(' ') == std::string::npos ? 0 : path.rfind(' '));
    std::string help = app.help(above);
    help.erase(help.find_last_not_of('\n') + 1);
    out << fmt::format("\n## {}\n\n```text\n{}\n```\n", path, help);
    for (const auto* verb :
         app.get_subcommands([](const CLI::App* each) { return !each->get_group().empty(); }))
        write_page(out, *verb, path + " " + verb->get_name());
}

constexpr std::string_view kPageHead = R"(# The command line

This page is made from the program's own help by `tools/gen-cli-docs`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; the message on stderr says what to do next |
| 2 | wrong usage |

`beeline run` passes on the exit code of the workload.

| variable | meaning |
|---|---|
| `BEELINE_INSTANCE` | the instance to talk to when `--instance` is not given |
| `NO_COLOR` | when set, no colours; there are none either when the output is no terminal |

`-o table` and `-o wide` are for people and may change; `-o json`, `jsonl` and `yaml` carry the documents of the
[local API](api.md).
)";

} // namespace

void register_shell_commands(CLI::App& app, Context& context) {
    auto shell = std::make_shared<std::string>();
    auto* completion = add_verb(app, "completion", "Print a completion script for a shell",
                                "source <(beeline completion bash)\n"
                                "beeline completion zsh >\"${fpath[1]}/_beeline\"\n"
                                "beeline completion fish | source");
    completion->add_option("SHELL", *shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}));
    on_run(completion, context, [&app, &context, shell]() -> Result<int> {
        context.out << completion_script(app, *shell);
        return kDone;
    });

    auto* page = app.add_subcommand("cli-docs", "Print docs/cli.md")->group("");
    on_run(page, context, [&context]() -> Result<int> {
        context.out << kPageHead;
        // Not the app that runs: it would show the help of the verb that it has parsed.
        const auto fresh = make_app(context);
        write_page(context.out, *fresh, fresh->get_name());
        return kDone;
    });
}

} // namespace beeline::cli
