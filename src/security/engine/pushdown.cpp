#include "security/engine/pushdown.h"

#include <algorithm>
#include <map>

#include "security/engine/event_args.h"

namespace beeline::security::engine {
namespace {

using rules::Operator;

constexpr std::size_t kMostPaths = 4096;
constexpr std::size_t kMostNames = 64; // of a kind: there are 8,192 for all of them
constexpr std::uint32_t kEveryClass = 0xf;
constexpr std::uint32_t kOpenClasses = BL_CLASS_READ | BL_CLASS_WRITE | BL_CLASS_EXEC;

std::uint32_t classes_of(std::uint16_t kind) {
    return kind_is_open(kind) ? kOpenClasses : std::uint32_t{BL_CLASS_OTHER};
}

// The longest run of plain bytes in a glob.
Capture::PathText glob_text(std::string_view glob) {
    Capture::PathText best;
    std::string run;
    bool start = true, run_start = true;
    const auto close = [&](bool at_end) {
        if (run.size() > best.text.size())
            best = {.text = run, .at_start = run_start, .at_end = at_end, .classes = 0};
        run.clear();
        run_start = false;
    };
    for (std::size_t i = 0; i < glob.size(); ++i) {
        const char c = glob[i];
        if (c == '[') { // what follows may be a set of bytes: not looked into
            close(false);
            return best;
        }
        if (c == '*' || c == '?') {
            close(false);
        } else if (c == '\\' && i + 1 < glob.size()) {
            run += glob[++i];
        } else {
            run += c;
        }
        start = false;
    }
    (void)start;
    close(true);
    return best;
}

std::string without_last_slashes(std::string_view text) {
    while (text.size() > 1 && text.back() == '/')
        text.remove_suffix(1);
    return std::string(text);
}

// "/a//b/" in pmatch is /a/b.
std::string path_start(std::string_view path) {
    std::string out;
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string_view part = path.substr(0, slash);
        path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
        if (part.empty()) continue;
        if (has_glob(part)) return out.empty() ? "/" : out + "/";
        out += '/';
        out += part;
    }
    return out;
}

enum class Part : std::uint8_t { whole, directory, file };

// Texts of which one occurs in the path when the check holds. False: nothing can be said.
bool path_texts(const Check& check, Part part, std::vector<Capture::PathText>& out) {
    for (const std::string& value : check.texts) {
        Capture::PathText text;
        switch (check.op) {
        case Operator::equal:
        case Operator::in:
        case Operator::intersects:
            text = {.text = value, .at_start = true, .at_end = true, .classes = 0};
            if (part == Part::directory) {
                // The path goes on, or is the directory itself.
                text.text = without_last_slashes(value);
                text.at_end = false;
            } else if (part == Part::file) {
                text = {.text = "/" + value, .at_start = false, .at_end = true, .classes = 0};
            }
            break;
        case Operator::startswith:
            text = {.text = value, .at_start = true, .at_end = false, .classes = 0};
            if (part == Part::file) text = {.text = "/" + value, .at_start = false};
            break;
        case Operator::endswith:
            text = {.text = value, .at_start = false, .at_end = true, .classes = 0};
            if (part == Part::directory) text.at_end = false;
            break;
        case Operator::contains:
            text = {.text = value, .at_start = false, .at_end = false, .classes = 0};
            break;
        case Operator::glob:
            text = glob_text(value);
            if (part == Part::directory) text.at_end = false;
            if (part == Part::file) text.at_start = false;
            break;
        case Operator::pmatch:
            if (part == Part::file) return false;
            text = {.text = path_start(value), .at_start = true, .at_end = false, .classes = 0};
            break;
        default: return false;
        }
        if (text.text.empty() || text.text.size() > 255) return false;
        if (text.text == "/" && !text.at_end) return false;
        out.push_back(std::move(text));
    }
    return true;
}

// Which path field a check is about, if it is one.
bool path_part(const Check& check, std::uint16_t kind, Part& part) {
    const std::string_view name = check.left.field.row->name;
    if (kind_is_open(kind)) {
        part = Part::whole;
        if (name == "fd.name" || name == "fd.nameraw") return true;
        part = name == "fd.directory" ? Part::directory : Part::file;
        if (name == "fd.directory" || name == "fd.filename") return true;
    }
    part = Part::whole;
    if (name == "evt.arg" && !check.left.field.has_index) {
        const ArgRow* row = event_arg(kind, check.left.field.argument);
        if (row == nullptr) return false;
        if (row->render == Render::path) return true;
        return row->render == Render::text && kind_shape(kind) != BL_SHAPE_exec &&
               kind != BL_EVENT_comm;
    }
    return name.starts_with("evt.abspath");
}

// The kernel looks at a text as given where it is absolute, and at the directory with it where it is not.
bool texts_are_seen(const Check& check, std::uint16_t kind, std::vector<Capture::PathText>& texts) {
    const bool absolute =
        std::all_of(texts.begin(), texts.end(), [](const Capture::PathText& text) {
            return text.at_start && text.text.front() == '/';
        });
    if (check.left.field.row->name == "fd.nameraw") {
        for (Capture::PathText& text : texts)
            if (text.text.front() != '/') text.at_start = false;
        return true;
    }
    if (check.left.field.row->name != "evt.arg") return true;
    const ArgRow* row = event_arg(kind, check.left.field.argument);
    return row == nullptr || row->render != Render::text || absolute;
}

bool all_numbers(const Check& check, bool (*is)(std::int64_t)) {
    return !check.numbers.empty() && std::all_of(check.numbers.begin(), check.numbers.end(), is);
}

Need::Result result_of(const Check& check) {
    const auto success = [](std::int64_t n) { return n >= 0 || n == -115; };
    const auto failure = [](std::int64_t n) { return n < 0 && n != -115; };
    switch (check.op) {
    case Operator::equal:
    case Operator::in:
    case Operator::intersects:
        if (all_numbers(check, success)) return Need::Result::success;
        if (all_numbers(check, failure)) return Need::Result::failure;
        return Need::Result::any;
    case Operator::greater_equal:
        return check.numbers[0] >= 0 ? Need::Result::success : Need::Result::any;
    case Operator::greater:
        return check.numbers[0] >= -1 ? Need::Result::success : Need::Result::any;
    case Operator::less_equal:
        return check.numbers[0] < 0 ? Need::Result::failure : Need::Result::any;
    case Operator::less: return check.numbers[0] <= 0 ? Need::Result::failure : Need::Result::any;
    default: return Need::Result::any;
    }
}

Need::Result result_of_text(const Check& check) {
    const auto all = [&](auto&& is) {
        return !check.texts.empty() && std::all_of(check.texts.begin(), check.texts.end(), is);
    };
    switch (check.op) {
    case Operator::equal:
    case Operator::in:
    case Operator::intersects:
        if (all([](const std::string& t) { return t == "SUCCESS" || t == "EINPROGRESS"; }))
            return Need::Result::success;
        if (all([](const std::string& t) { return t != "SUCCESS" && t != "EINPROGRESS"; }))
            return Need::Result::failure;
        return Need::Result::any;
    case Operator::startswith:
        if (all([](const std::string& t) { return t.starts_with("S"); })) return Need::Result::any;
        // "E": every error, also the one that counts as a success.
        return all([](const std::string& t) {
            return t.starts_with("E") && !std::string_view("EINPROGRESS").starts_with(t);
        })
                   ? Need::Result::failure
               : all([](const std::string& t) { return t == "E"; }) ? Need::Result::failure
                                                                    : Need::Result::any;
    default: return Need::Result::any;
    }
}

bool is_one_of(const Check& check, std::initializer_list<std::string_view> names) {
    if (check.op != Operator::equal && check.op != Operator::in && check.op != Operator::intersects)
        return false;
    return !check.texts.empty() &&
           std::all_of(check.texts.begin(), check.texts.end(), [&](const std::string& text) {
               return std::find(names.begin(), names.end(), text) != names.end();
           });
}

// The value a boolean check asks for, if it asks for one.
int wanted_truth(const Check& check, bool negated) {
    if (check.numbers.size() != 1) return -1;
    const bool value = check.numbers[0] != 0;
    if (check.op == Operator::equal || check.op == Operator::in) return value != negated ? 1 : 0;
    if (check.op == Operator::not_equal) return value == negated ? 1 : 0;
    return -1;
}

bool is_text_check(const Check& check) {
    return !check.right && check.modifier == rules::Modifier::none &&
           check.left.kind == Term::Kind::field && check.op != Operator::exists;
}

void need_of_host(const Check& check, bool negated, Need& need) {
    if (check.texts != std::vector<std::string>{"host"}) return;
    const bool equal = check.op == Operator::equal || check.op == Operator::in;
    if (!equal && check.op != Operator::not_equal) return;
    need.scope = equal != negated ? Need::Scope::host : Need::Scope::container;
}

Need need_of_check(const Check& check, bool negated, std::uint16_t kind) {
    Need need;
    if (check.left.kind != Term::Kind::field || check.modifier != rules::Modifier::none)
        return need;
    const std::string_view name = check.left.field.row->name;
    const unsigned flags = check.left.flags;
    if (name == "container.id" && is_text_check(check)) need_of_host(check, negated, need);
    if (!negated && (flags & kNotHost) != 0) need.scope = Need::Scope::container;
    if (name == "evt.failed" && is_text_check(check)) {
        const int wanted = wanted_truth(check, negated);
        if (wanted == 1) need.result = Need::Result::failure;
        if (wanted == 0) need.result = Need::Result::success;
    }
    if (kind_is_open(kind) && name.starts_with("evt.is_open_") && is_text_check(check) &&
        wanted_truth(check, negated) == 1) {
        if (name == "evt.is_open_read") need.classes = BL_CLASS_READ;
        if (name == "evt.is_open_write") need.classes = BL_CLASS_WRITE;
        if (name == "evt.is_open_exec") need.classes = BL_CLASS_EXEC;
    }
    if (negated) {
        if (name == "evt.rawres" && is_text_check(check)) {
            // Always present: the opposite holds.
            const Need::Result result = result_of(check);
            const bool exact = (check.op == Operator::greater_equal && check.numbers[0] == 0) ||
                               (check.op == Operator::less && check.numbers[0] == 0);
            if (exact)
                need.result =
                    result == Need::Result::success ? Need::Result::failure : Need::Result::success;
        }
    } else if (is_text_check(check)) {
        if (name == "proc.name" && (check.op == Operator::equal || check.op == Operator::in ||
                                    check.op == Operator::intersects)) {
            need.names_known = true;
            need.names.insert(check.texts.begin(), check.texts.end());
        }
        if (name == "evt.rawres") need.result = result_of(check);
        if (name == "evt.res") need.result = result_of_text(check);
        if (name == "fd.num" && kind_makes_fd(kind)) need.result = result_of(check);
        if (name == "fd.typechar" && is_one_of(check, {"4", "6"})) need.inet = true;
        if (name == "fd.type" && is_one_of(check, {"ipv4", "ipv6"})) need.inet = true;
        if (name == "fd.sockfamily" && is_one_of(check, {"ip"})) need.inet = true;
        if (name == "fd.l4proto" && is_one_of(check, {"tcp", "udp", "icmp", "raw"}))
            need.inet = true;
        if (name == "fd.l4proto") {
            need.not_tcp =
                is_one_of(check, {"udp", "icmp", "raw", "<NA>"}) ||
                (check.op == Operator::not_equal && check.texts == std::vector<std::string>{"tcp"});
        }
        Part part = Part::whole;
        if (kind_has_path(kind) && path_part(check, kind, part)) {
            std::vector<Capture::PathText> texts;
            if (path_texts(check, part, texts) && texts_are_seen(check, kind, texts)) {
                need.paths_known = true;
                need.paths = std::move(texts);
            }
        }
    }
    if (name == "fd.name_changed" && is_text_check(check) && wanted_truth(check, negated) == 1)
        need.name_changed = true;
    const Type type = check.left.type;
    if (!negated && name.starts_with("fd.") &&
        (type == Type::ip || type == Type::net || type == Type::port))
        need.inet = true;
    // EINPROGRESS counts as a success there, but is an error by its text.
    if (need.result == Need::Result::failure &&
        (kind_is_socket(kind) || kind_shape(kind) == BL_SHAPE_io ||
         kind_shape(kind) == BL_SHAPE_fd))
        need.result = Need::Result::any;
    return need;
}

// How much a set of texts keeps away: the shortest of them counts.
std::size_t strength(const std::vector<Capture::PathText>& paths) {
    std::size_t least = 1000;
    for (const Capture::PathText& text : paths)
        least = std::min(least, text.text.size() + (text.at_start ? 2 : 0) + (text.at_end ? 4 : 0));
    return least;
}

Need both(const Need& a, const Need& b) {
    Need out = a;
    out.never = a.never || b.never;
    if (a.result == Need::Result::any) {
        out.result = b.result;
    } else if (b.result != Need::Result::any && a.result != b.result) {
        out.never = true;
    }
    if (a.scope == Need::Scope::any) {
        out.scope = b.scope;
    } else if (b.scope != Need::Scope::any && a.scope != b.scope) {
        // A process that is not known is in neither.
        out.scope = Need::Scope::any;
    }
    out.inet |= b.inet;
    out.name_changed |= b.name_changed;
    out.not_tcp |= b.not_tcp;
    // Opened for reading and for writing: either class lets it through.
    if ((a.classes & b.classes) != 0) {
        out.classes = a.classes & b.classes;
    } else {
        out.classes = std::min(a.classes, b.classes);
    }
    if (b.paths_known && (!a.paths_known || strength(b.paths) > strength(a.paths))) {
        out.paths_known = true;
        out.paths = b.paths;
    }
    if (b.names_known && (!a.names_known || b.names.size() < a.names.size())) {
        out.names_known = true;
        out.names = b.names;
    }
    return out;
}

Need either(const Need& a, const Need& b) {
    if (a.never) return b;
    if (b.never) return a;
    Need out;
    out.result = a.result == b.result ? a.result : Need::Result::any;
    out.scope = a.scope == b.scope ? a.scope : Need::Scope::any;
    out.inet = a.inet && b.inet;
    out.name_changed = a.name_changed && b.name_changed;
    out.not_tcp = a.not_tcp && b.not_tcp;
    out.classes = a.classes | b.classes;
    out.paths_known = a.paths_known && b.paths_known;
    if (out.paths_known) {
        out.paths = a.paths;
        for (const Capture::PathText& text : b.paths)
            if (std::find(out.paths.begin(), out.paths.end(), text) == out.paths.end())
                out.paths.push_back(text);
        if (out.paths.size() > kMostPaths) {
            out.paths_known = false;
            out.paths.clear();
        }
    }
    out.names_known = a.names_known && b.names_known;
    if (out.names_known) {
        out.names = a.names;
        out.names.insert(b.names.begin(), b.names.end());
    }
    return out;
}

void shrink(std::vector<Need>& needs, std::size_t most) {
    std::erase_if(needs, [](const Need& need) { return need.never; });
    while (needs.size() > most) {
        Need last = std::move(needs.back());
        needs.pop_back();
        needs.back() = either(needs.back(), last);
    }
}

// One of them knows nothing: then all of them together do not.
bool says_nothing(const std::vector<Need>& needs) {
    return std::any_of(needs.begin(), needs.end(), [](const Need& need) {
        return !need.never && need.result == Need::Result::any && need.scope == Need::Scope::any &&
               !need.inet && !need.name_changed && !need.not_tcp && need.classes == kEveryClass &&
               !need.paths_known && !need.names_known;
    });
}

} // namespace

std::vector<Need> needs_of(const Program& program, Ref ref, std::uint16_t kind) {
    if (ref == kFalse) return {};
    if (ref == kTrue) return {Need{}};
    const Program::Node& node = program.node(ref);
    const bool negated = (ref & 1) != 0;
    if (node.kind == Program::Kind::check)
        return {need_of_check(program.check(node), negated, kind)};
    const bool all = (node.kind == Program::Kind::all) != negated;
    std::vector<Need> out;
    if (all) out.emplace_back();
    for (const Ref child : node.children) {
        std::vector<Need> part = needs_of(program, child ^ (negated ? 1U : 0U), kind);
        if (!all) {
            out.insert(out.end(), part.begin(), part.end());
            shrink(out, kMostNeeds);
            if (says_nothing(out)) return {Need{}};
            continue;
        }
        if (says_nothing(part)) continue;
        shrink(part, std::max<std::size_t>(1, kMostNeeds / std::max<std::size_t>(1, out.size())));
        std::vector<Need> joined;
        for (const Need& a : out)
            for (const Need& b : part)
                joined.push_back(both(a, b));
        shrink(joined, kMostNeeds);
        out = std::move(joined);
    }
    return out;
}

void push_down(std::uint16_t kind, const std::vector<Need>& needs, Capture& capture) {
    Capture::Kind& row = capture.kinds[kind];
    if (needs.empty()) return;
    const auto every = [&](auto&& is) { return std::all_of(needs.begin(), needs.end(), is); };
    row.want |= BL_WANT_ON;
    if (every([](const Need& n) { return n.result == Need::Result::success; }))
        row.want |= BL_WANT_SUCCESS;
    if (every([](const Need& n) { return n.result == Need::Result::failure; }))
        row.want |= BL_WANT_FAILURE;
    if (every([](const Need& n) { return n.scope == Need::Scope::container; }))
        row.want |= BL_WANT_CONTAINER;
    if (every([](const Need& n) { return n.scope == Need::Scope::host; })) row.want |= BL_WANT_HOST;
    const int shape = kind_shape(kind);
    // A socket() that failed made no socket to look at.
    if ((kind_is_socket(kind) || shape == BL_SHAPE_fd || shape == BL_SHAPE_io) &&
        kind != BL_EVENT_socket && every([](const Need& n) { return n.inet; }))
        row.want |= BL_WANT_INET;
    if ((shape == BL_SHAPE_sock_send || shape == BL_SHAPE_sock_recv) &&
        every([](const Need& n) { return n.name_changed && n.not_tcp; }))
        row.want |= BL_WANT_NOT_TCP;
    std::set<std::string> names;
    for (const Need& need : needs)
        names.insert(need.names.begin(), need.names.end());
    if (every([](const Need& n) { return n.names_known; }) && names.size() <= kMostNames) {
        row.want |= BL_WANT_COMM;
        row.comms = std::move(names);
    }
    if (!kind_has_path(kind)) return;
    row.want |= BL_WANT_PATH;
    for (const Need& need : needs) {
        std::uint32_t classes = need.classes & classes_of(kind);
        if (need.scope == Need::Scope::container) classes <<= BL_CLASS_CONTAINER_SHIFT;
        std::uint32_t with_result = classes;
        if (need.result == Need::Result::failure) with_result = classes << BL_CLASS_FAILED_SHIFT;
        if (need.result == Need::Result::any) with_result |= classes << BL_CLASS_FAILED_SHIFT;
        if (!need.paths_known) {
            row.path_any |= with_result;
            continue;
        }
        for (Capture::PathText text : need.paths) {
            text.classes = with_result;
            capture.paths.push_back(std::move(text));
        }
    }
    // Everything passes: no need to look.
    const std::uint32_t plain = classes_of(kind);
    const std::uint32_t most = (plain & ~std::uint32_t{BL_CLASS_EXEC});
    if ((row.path_any & most) == most && (row.path_any >> BL_CLASS_FAILED_SHIFT & most) == most) {
        row.want &= ~std::uint32_t{BL_WANT_PATH};
        row.path_any = 0;
    }
}

std::string describe(const std::vector<Need>& needs) {
    if (needs.empty()) return "never";
    std::vector<std::string> parts;
    const auto every = [&](auto&& is) { return std::all_of(needs.begin(), needs.end(), is); };
    if (every([](const Need& n) { return n.result == Need::Result::success; }))
        parts.emplace_back("success");
    if (every([](const Need& n) { return n.result == Need::Result::failure; }))
        parts.emplace_back("failure");
    if (every([](const Need& n) { return n.scope == Need::Scope::container; }))
        parts.emplace_back("containers");
    if (every([](const Need& n) { return n.scope == Need::Scope::host; }))
        parts.emplace_back("host");
    if (every([](const Need& n) { return n.inet; })) parts.emplace_back("ip sockets");
    if (every([](const Need& n) { return n.name_changed && n.not_tcp; }))
        parts.emplace_back("new peers");
    std::uint32_t classes = 0;
    std::set<std::string> paths, names;
    for (const Need& need : needs) {
        classes |= need.classes;
        names.insert(need.names.begin(), need.names.end());
        for (const Capture::PathText& text : need.paths)
            paths.insert((text.at_start ? "" : "*") + text.text + (text.at_end ? "" : "*"));
    }
    if (classes == BL_CLASS_READ) parts.emplace_back("reads");
    if (classes == BL_CLASS_WRITE) parts.emplace_back("writes");
    if (classes == BL_CLASS_EXEC) parts.emplace_back("new executables");
    const auto list = [&](std::string_view what, const std::set<std::string>& texts) {
        std::string out(what);
        std::size_t shown = 0;
        for (const std::string& text : texts) {
            if (++shown > 4) break;
            out += ' ' + text;
        }
        if (texts.size() > 4) out += fmt::format(" and {} more", texts.size() - 4);
        parts.push_back(std::move(out));
    };
    if (every([](const Need& n) { return n.paths_known; })) list("paths", paths);
    if (every([](const Need& n) { return n.names_known; })) list("programs", names);
    std::string out;
    for (const std::string& part : parts)
        out += (out.empty() ? "" : ", ") + part;
    return out;
}

} // namespace beeline::security::engine
