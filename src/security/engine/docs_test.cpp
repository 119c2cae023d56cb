// docs/rule-fields.md is what the tables say. BEELINE_WRITE_DOCS=1 writes it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "security/engine/engine.h"
#include "security/engine/event_args.h"
#include "security/engine/fields.h"

namespace beeline::security {
namespace {

std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '|') out += '\\';
        out += c;
    }
    return out;
}

std::string document() {
    std::string out =
        "# Fields and events of rules\n\n"
        "Written by a test (`src/security/engine/docs_test.cpp`) from the tables of the engine; "
        "`beeline rules fields` prints the same.\n\n"
        "- A field that an event does not have makes every comparison false, `!=` too; `exists` "
        "says whether it is there. An empty text is there.\n"
        "- Fields of ancestors without a number hold if they do for any ancestor, the process "
        "itself not counted; `[0]` is the process, `[1]` its parent.\n"
        "- `fd.ip`, `fd.net`, `fd.port`: either end of a connection; `!=` only if both differ. "
        "They cannot be printed.\n"
        "- `fd.name`, `fd.directory`, `fd.filename`, `evt.arg` of paths: the path as it was asked "
        "for, made absolute, with `.` and `..` folded by "
        "text. Where the file that was reached has another path (a symbolic link, a bind mount, a "
        "changed argument), the rule is judged a second "
        "time with that one, and matches if either does. The alert prints the path by which it "
        "matched; `beeline.event.path` is always the one "
        "reached, `fd.nameraw` the one asked for.\n"
        "- A call that failed made no descriptor: `fd.num` is -1 whatever the error, which "
        "`evt.res` and `evt.rawres` tell.\n"
        "- `proc.name` is the name since the last exec: a process that renames itself keeps it.\n"
        "- Argument: what stands in brackets or after a dot, as in `proc.aname[2]`, "
        "`proc.env[PATH]`, `evt.arg.flags`.\n\n"
        "## Fields\n\n| field | type | argument | meaning |\n|---|---|---|---|\n";
    for (const FieldInfo& field : Engine::fields())
        out += fmt::format("| `{}` | {}{} | {} | {} |\n", field.name, field.list ? "list of " : "",
                           field.type, field.argument, cell(field.description));
    out += "\n## Events\n\n"
           "Names for `evt.type` and the parameters that `evt.arg.NAME` can take of each. `fork`, "
           "`vfork` and `clone3` are `clone`; `umount` is "
           "`umount2`. A successful `execveat` is an `execve`. Other system calls may be named, "
           "but are not recorded.\n\n"
           "| event | parameters |\n|---|---|\n";
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        if (!engine::kind_is_event(kind)) continue;
        out += fmt::format("| `{}` |", engine::kind_text(kind));
        const char* separator = " ";
        for (const engine::ArgRow& row : engine::event_args(kind)) {
            out += fmt::format("{}{}", separator, row.name);
            separator = ", ";
        }
        out += " |\n";
    }
    return out;
}

TEST(Docs, RuleFields) {
    const std::string path = BEELINE_TEST_DATA "/../../docs/rule-fields.md";
    const std::string wanted = document();
    if (std::getenv("BEELINE_WRITE_DOCS") != nullptr) std::ofstream(path) << wanted;
    std::stringstream found;
    found << std::ifstream(path).rdbuf();
    EXPECT_TRUE(found.str() == wanted)
        << "write it anew: BEELINE_WRITE_DOCS=1 "
           "build/dev/bin/security_engine_test --gtest_filter=Docs.*";
}

} // namespace
} // namespace beeline::security
