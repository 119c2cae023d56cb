#include "cli/completion.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace beeline::cli {
namespace {

struct Option {
    std::vector<std::string> names; // "--follow", "-f"
    std::string description;
    std::vector<std::string> values; // what may follow, when that is a short list
    bool takes_value = false;
};

struct Verb {
    std::vector<std::string> path; // "policy", "explain"
    std::string description;
    std::vector<std::string> verbs; // below it
    std::vector<Option> options;
};

// "table|wide|json (default table)" of an option's help.
std::vector<std::string> choices(const std::string& help) {
    const std::string list = help.substr(0, help.find(' '));
    std::vector<std::string> out;
    if (list.find('|') == std::string::npos) return out;
    for (std::size_t begin = 0; begin <= list.size();) {
        const std::size_t end = std::min(list.find('|', begin), list.size());
        out.push_back(list.substr(begin, end - begin));
        begin = end + 1;
    }
    return out;
}

std::vector<const CLI::App*> shown_verbs(const CLI::App& app) {
    return app.get_subcommands([](const CLI::App* each) { return !each->get_group().empty(); });
}

std::vector<Option> options_of(const CLI::App& app) {
    std::vector<Option> out;
    for (const auto* option : app.get_options()) {
        if (option->get_positional() || option->get_group().empty()) continue;
        Option each;
        for (const auto& name : option->get_lnames())
            each.names.push_back("--" + name);
        for (const auto& name : option->get_snames())
            each.names.push_back("-" + name);
        each.description = option->get_description();
        each.values = choices(option->get_option_text());
        each.takes_value = option->get_items_expected_max() > 0;
        out.push_back(std::move(each));
    }
    return out;
}

void collect(const CLI::App& app, const std::vector<std::string>& path, std::vector<Verb>& out) {
    Verb verb{path, app.get_description(), {}, options_of(app)};
    for (const auto* below : shown_verbs(app))
        verb.verbs.push_back(below->get_name());
    out.push_back(std::move(verb));
    for (const auto* below : shown_verbs(app)) {
        auto longer = path;
        longer.push_back(below->get_name());
        collect(*below, longer, out);
    }
}

std::vector<Verb> verbs_of(const CLI::App& app) {
    std::vector<Verb> out;
    collect(app, {}, out);
    return out;
}

std::string words(const std::vector<std::string>& list) {
    return fmt::format("{}", fmt::join(list, " "));
}

std::vector<std::string> option_names(const Verb& verb) {
    std::vector<std::string> out;
    for (const auto& option : verb.options)
        out.insert(out.end(), option.names.begin(), option.names.end());
    return out;
}

// In single quotes of any shell.
std::string shell_quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

// Cases of a bash function, which zsh understands too: what fits at `path`, and behind an option.
std::string cases(const std::vector<Verb>& verbs) {
    std::string out = "    case \"$path\" in\n";
    for (const auto& verb : verbs) {
        std::string values;
        for (const auto& option : verb.options) {
            if (!option.takes_value) continue;
            const std::string pattern = fmt::format("{}", fmt::join(option.names, "|"));
            const bool file =
                std::find(option.names.begin(), option.names.end(), "--file") != option.names.end();
            values += fmt::format("        {}) words={}; {} ;;\n", pattern,
                                  shell_quoted(words(option.values)), file ? "files=1" : "files=");
        }
        out += fmt::format("    {})\n        words={}\n", shell_quoted(words(verb.path)),
                           shell_quoted(words(verb.verbs) + (verb.verbs.empty() ? "" : " ") +
                                        words(option_names(verb))));
        if (!values.empty()) out += "        case \"$before\" in\n" + values + "        esac\n";
        out += "        ;;\n";
    }
    return out + "    esac\n";
}

// Sets path to the verbs on the command line: of the words that stand there, those that lead to a known path.
std::string path_finder(const std::vector<Verb>& verbs) {
    std::string out = "        case \"$path $word\" in\n";
    std::vector<std::string> paths;
    for (const auto& verb : verbs) {
        if (verb.path.empty()) continue;
        const std::string joined = words(verb.path);
        paths.push_back(shell_quoted((verb.path.size() == 1 ? " " : "") + joined));
    }
    out += fmt::format("        {}) path=\"${{path:+$path }}$word\" ;;\n", fmt::join(paths, "|"));
    return out + "        esac\n";
}

} // namespace

std::string bash_completion(const CLI::App& app) {
    const auto verbs = verbs_of(app);
    return fmt::format(R"(# bash completion of beeline: source <(beeline completion bash)
_beeline() {{
    local path= word words= files= before=${{COMP_WORDS[COMP_CWORD-1]}} current=${{COMP_WORDS[COMP_CWORD]}}
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [ "$word" = -- ] && return 124
{}    done
{}    if [ -n "$files" ]; then
        compopt -o filenames
        COMPREPLY=($(compgen -f -- "$current"))
    else
        COMPREPLY=($(compgen -W "$words" -- "$current"))
    fi
}}
complete -F _beeline beeline
)",
                       path_finder(verbs), cases(verbs));
}

std::string zsh_completion(const CLI::App& app) {
    const auto verbs = verbs_of(app);
    return fmt::format(R"(#compdef beeline
# zsh completion of beeline: beeline completion zsh >"${{fpath[1]}}/_beeline"
_beeline() {{
    local path_= word list= files= before=${{words[CURRENT-1]}}
    local -a typed
    typed=("${{(@)words[2,CURRENT-1]}}")
    _beeline_words
    if [[ -n "$files" ]]; then
        _files
    else
        compadd -- ${{=list}}
    fi
}}
_beeline_words() {{
    emulate -L sh
    local path= words=
    for word in "${{typed[@]}}"; do
{}    done
{}    list=$words
}}
_beeline "$@"
)",
                       path_finder(verbs), cases(verbs));
}

std::string fish_completion(const CLI::App& app) {
    std::string out = "# fish completion of beeline: beeline completion fish | source\n"
                      "complete -c beeline -f\n";
    for (const auto& verb : verbs_of(app)) {
        std::string condition = "true";
        if (!verb.path.empty()) {
            condition = "__fish_seen_subcommand_from " + verb.path[0];
            for (std::size_t i = 1; i < verb.path.size(); ++i)
                condition += "; and __fish_seen_subcommand_from " + verb.path[i];
        }
        if (!verb.verbs.empty()) {
            const std::string none =
                verb.path.empty()
                    ? "__fish_use_subcommand"
                    : condition + "; and not __fish_seen_subcommand_from " + words(verb.verbs);
            for (const auto& below : verb.verbs)
                out += fmt::format("complete -c beeline -n {} -a {}\n", shell_quoted(none), below);
        }
        for (const auto& option : verb.options) {
            out += fmt::format("complete -c beeline -n {}", shell_quoted(condition));
            for (const auto& name : option.names)
                out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
            if (option.takes_value) out += " -r";
            const bool file =
                std::find(option.names.begin(), option.names.end(), "--file") != option.names.end();
            if (file) out += " -F";
            if (!option.values.empty()) out += " -a " + shell_quoted(words(option.values));
            out += " -d " + shell_quoted(option.description) + "\n";
        }
    }
    return out;
}

} // namespace beeline::cli
