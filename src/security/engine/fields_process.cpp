// proc.*, thread.*
#include <algorithm>

#include "security/engine/fields.h"
#include "security/engine/names.h"

namespace beeline::security::engine {
namespace {

using FromProcess = bool (*)(Scene&, const Process&, const Field&, Value&);

template <FromProcess get>
bool own(Scene& scene, const Field& field, Cursor&, Value& out) {
    return scene.process != nullptr && get(scene, *scene.process, field, out);
}

template <FromProcess get>
bool of_parent(Scene& scene, const Field& field, Cursor&, Value& out) {
    const Process* parent = scene.ancestor(1);
    return parent != nullptr && get(scene, *parent, field, out);
}

// With [n] one generation, else every ancestor in turn. What is absent in one is skipped.
template <FromProcess get>
bool of_ancestor(Scene& scene, const Field& field, Cursor& cursor, Value& out) {
    if (field.has_index) {
        const Process* one = scene.ancestor(field.index);
        return one != nullptr && get(scene, *one, field, out);
    }
    const auto* at = static_cast<const Process*>(cursor.at);
    while (cursor.index < kDeepest) {
        at = cursor.index == 0 ? scene.ancestor(1) : at->parent;
        ++cursor.index;
        if (at == nullptr) {
            cursor.index = kDeepest;
            return false;
        }
        cursor.at = at;
        if (get(scene, *at, field, out)) return true;
    }
    return false;
}

const Process* session_leader(Scene& scene) {
    return scene.tree == nullptr || scene.process == nullptr
               ? nullptr
               : scene.tree->session_leader(*scene.process);
}

template <FromProcess get>
bool of_session(Scene& scene, const Field& field, Cursor&, Value& out) {
    const Process* leader = session_leader(scene);
    return leader != nullptr && get(scene, *leader, field, out);
}

// The leader of the process group: the process with that pid, else the eldest ancestor of the same group.
const Process* group_leader(Scene& scene) {
    if (scene.process == nullptr) return nullptr;
    const std::uint32_t group = scene.process->pgid;
    const Process* found = nullptr;
    std::size_t steps = 0;
    for (const Process* at = scene.process; at != nullptr && steps < kDeepest;
         at = at->parent, ++steps) {
        if (at->pgid != group) break;
        found = at;
        if (at->key.pid == group) break;
    }
    return found;
}

template <FromProcess get>
bool of_group(Scene& scene, const Field& field, Cursor&, Value& out) {
    const Process* leader = group_leader(scene);
    return leader != nullptr && get(scene, *leader, field, out);
}

bool number(Value& out, std::uint64_t value) {
    out.number = value;
    return true;
}

bool name(Scene&, const Process& p, const Field&, Value& v) {
    v.text = p.name;
    return true;
}
bool exe(Scene&, const Process& p, const Field&, Value& v) {
    v.text = p.image->exe;
    return !p.guessed || !p.image->exe.empty();
}
bool exepath(Scene&, const Process& p, const Field&, Value& v) {
    v.text = p.image->exepath;
    return !p.image->exepath.empty();
}
bool command(Scene&, const Process& p, const Field&, Value& v) {
    v.text = p.cmdline;
    return !p.guessed || !p.cmdline.empty();
}
bool exe_line(Scene& s, const Process& p, const Field&, Value& v) {
    Writer out(s.arena);
    out.add(p.image->exe);
    if (!p.image->args.empty()) {
        out.add(' ');
        out.add(p.image->args);
    }
    v.text = out.finish();
    return true;
}
bool working_directory(Scene&, const Process& p, const Field&, Value& v) {
    v.text = p.cwd;
    return !p.cwd.empty();
}

// Number `index` of texts that are each closed by a NUL.
bool nth(std::string_view texts, std::size_t index, std::string_view& out) {
    std::size_t at = 0;
    for (std::size_t i = 0; at < texts.size(); ++i) {
        const std::size_t end = std::min(texts.find('\0', at), texts.size());
        if (i == index) {
            out = texts.substr(at, end - at);
            return true;
        }
        at = end + 1;
    }
    return false;
}

bool arguments(Scene&, const Process& p, const Field& f, Value& v) {
    if (f.has_index) return nth(p.image->argv, std::size_t{f.index} + 1, v.text);
    v.text = p.image->args;
    return true;
}

bool argument_list(Scene& s, const Field&, Cursor& cursor, Value& v) {
    return s.process != nullptr && nth(s.process->image->argv, ++cursor.index, v.text);
}

bool argument_count(Scene&, const Process& p, const Field&, Value& v) {
    std::uint64_t count = 0;
    for (const char c : p.image->argv)
        count += c == '\0' ? 1 : 0;
    return number(v, count == 0 ? 0 : count - 1);
}
bool command_length(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.image->args.size());
}

bool environment(Scene& s, const Process& p, const Field& f, Value& v) {
    const std::string_view all = p.image->env;
    if (f.has_argument && !f.has_index) {
        std::string_view entry;
        for (std::size_t at = 0; at < all.size();) {
            const std::size_t end = std::min(all.find('\0', at), all.size());
            entry = all.substr(at, end - at);
            at = end + 1;
            if (entry.size() > f.argument.size() && entry[f.argument.size()] == '=' &&
                entry.substr(0, f.argument.size()) == f.argument) {
                v.text = entry.substr(f.argument.size() + 1);
                return true;
            }
        }
        return false;
    }
    Writer out(s.arena);
    std::string_view trimmed = all;
    if (!trimmed.empty() && trimmed.back() == '\0') trimmed.remove_suffix(1);
    for (const char c : trimmed)
        out.add(c == '\0' ? ' ' : c);
    v.text = out.finish();
    return true;
}

bool pid(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.key.pid); }
bool parent_pid(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.parent != nullptr ? p.parent->key.pid : p.ppid);
}
bool own_vpid(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.vpid != 0 ? p.vpid : p.key.pid);
}
bool sid(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.sid); }
bool pgid(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.pgid); }
bool vpgid(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.vpgid); }
bool vsid(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.vsid); }
bool tty(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.tty); }
bool leads_group(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.vpgid == p.vpid);
}
bool leads_pgid(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.pgid == p.key.pid);
}
bool leads_session(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.vsid == p.vpid);
}
bool duration(Scene& s, const Process& p, const Field&, Value& v) {
    if (p.started_ns == 0) return false;
    return number(v, s.event->time_ns > p.started_ns
                         ? static_cast<std::uint64_t>(s.event->time_ns - p.started_ns)
                         : 0);
}
bool started(Scene&, const Process& p, const Field&, Value& v) {
    return p.started_ns != 0 && number(v, static_cast<std::uint64_t>(p.started_ns));
}
bool pidns_started(Scene& s, const Process& p, const Field&, Value& v) {
    return number(v, static_cast<std::uint64_t>(s.host->boot_time_ns) + p.pidns_start_ns);
}

template <unsigned flag>
bool image_flag(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, (p.image->flags & flag) != 0);
}
bool exe_inode(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.image->ino); }
bool exe_ctime(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.image->ctime_ns);
}
bool exe_mtime(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.image->mtime_ns);
}
bool exe_age_at_start(Scene&, const Process& p, const Field&, Value& v) {
    if (p.started_ns == 0 || p.image->ctime_ns == 0) return false;
    const auto start = static_cast<std::uint64_t>(p.started_ns);
    return start > p.image->ctime_ns && number(v, start - p.image->ctime_ns);
}
bool exe_age_at_pidns_start(Scene& s, const Process& p, const Field&, Value& v) {
    if (p.pidns_start_ns == 0 || p.image->ctime_ns == 0) return false;
    const std::uint64_t start = static_cast<std::uint64_t>(s.host->boot_time_ns) + p.pidns_start_ns;
    return start > p.image->ctime_ns && number(v, start - p.image->ctime_ns);
}

bool capabilities(Scene& s, std::uint64_t set, Value& v) {
    Writer out(s.arena);
    for (unsigned bit = 0; bit < 64; ++bit) {
        const std::string_view text = capability_name(bit);
        if ((set >> bit & 1) == 0 || text.empty()) continue;
        if (!out.empty()) out.add(' ');
        out.add(text);
    }
    v.text = out.finish();
    return true;
}
bool cap_permitted(Scene& s, const Process& p, const Field&, Value& v) {
    return capabilities(s, p.cap_permitted, v);
}
bool cap_effective(Scene& s, const Process& p, const Field&, Value& v) {
    return capabilities(s, p.cap_effective, v);
}
bool cap_inheritable(Scene& s, const Process& p, const Field&, Value& v) {
    return capabilities(s, p.cap_inheritable, v);
}

bool thread_id(Scene& s, const Process&, const Field&, Value& v) {
    return number(v, s.event->head.tid);
}
bool is_main_thread(Scene& s, const Process&, const Field&, Value& v) {
    return number(v, s.event->head.tid == s.event->head.pid);
}
bool guessed(Scene&, const Process& p, const Field&, Value& v) { return number(v, p.guessed); }
bool exit_code(Scene&, const Process& p, const Field&, Value& v) {
    return p.exit_boot_ns != 0 && number(v, static_cast<std::uint64_t>(p.exit_code));
}

template <std::uint32_t Process::* member>
bool ns_inode(Scene&, const Process& p, const Field&, Value& v) {
    return number(v, p.*member);
}

// The eldest ancestor in a row of shells.
bool login_shell(Scene& s, const Process&, const Field&, Value& v) {
    const Process* found = nullptr;
    std::size_t steps = 0;
    for (const Process* at = s.process; at != nullptr && steps < kDeepest; at = at->parent, ++steps)
        if (at->name.size() >= 2 && at->name.compare(at->name.size() - 2, 2, "sh") == 0) found = at;
    return found != nullptr && number(v, found->key.pid);
}

bool absent(Scene&, const Process&, const Field&, Value&) { return false; }
bool never(std::uint16_t, std::string_view) { return false; }

constexpr unsigned kAncestor = kNoRight | kNoTransform;

constexpr FieldRow kFields[] = {
    {"proc.exe", Type::text, Many::one, Takes::nothing, 0, own<exe>, nullptr,
     "first argument of the command (argv[0])"},
    {"proc.pexe", Type::text, Many::one, Takes::nothing, 0, of_parent<exe>, nullptr,
     "the same of the parent"},
    {"proc.aexe", Type::text, Many::any, Takes::optional_index, kAncestor, of_ancestor<exe>,
     nullptr, "the same of any ancestor, or of the one n generations up"},
    {"proc.exepath", Type::path, Many::one, Takes::nothing, 0, own<exepath>, nullptr,
     "full path of the executable"},
    {"proc.pexepath", Type::path, Many::one, Takes::nothing, 0, of_parent<exepath>, nullptr,
     "the same of the parent"},
    {"proc.aexepath", Type::path, Many::any, Takes::optional_index, kAncestor, of_ancestor<exepath>,
     nullptr, "the same of any ancestor, or of the one n generations up"},
    {"proc.name", Type::text, Many::one, Takes::nothing, 0, own<name>, nullptr,
     "name of the process since its exec, at most 15 bytes"},
    {"proc.pname", Type::text, Many::one, Takes::nothing, 0, of_parent<name>, nullptr,
     "the same of the parent"},
    {"proc.aname", Type::text, Many::any, Takes::optional_index, kAncestor, of_ancestor<name>,
     nullptr, "the same of any ancestor, or of the one n generations up ([0]: itself)"},
    {"proc.args", Type::text, Many::one, Takes::optional_index, 0, own<arguments>, nullptr,
     "arguments without the first, joined by blanks; [n]: one of them"},
    {"proc.aargs", Type::text, Many::any, Takes::optional_index, kAncestor, of_ancestor<command>,
     nullptr, "command line of an ancestor"},
    {"proc.cmdline", Type::text, Many::one, Takes::nothing, 0, own<command>, nullptr,
     "name and arguments"},
    {"proc.pcmdline", Type::text, Many::one, Takes::nothing, 0, of_parent<command>, nullptr,
     "the same of the parent"},
    {"proc.acmdline", Type::text, Many::any, Takes::optional_index, kAncestor, of_ancestor<command>,
     nullptr, "the same of any ancestor, or of the one n generations up"},
    {"proc.cmdnargs", Type::uint64, Many::one, Takes::nothing, 0, own<argument_count>, nullptr,
     "how many arguments, without the first"},
    {"proc.cmdlenargs", Type::uint64, Many::one, Takes::nothing, 0, own<command_length>, nullptr,
     "length of all arguments, without the first"},
    {"proc.exeline", Type::text, Many::one, Takes::nothing, 0, own<exe_line>, nullptr,
     "argv[0] and arguments"},
    {"proc.env", Type::text, Many::one, Takes::optional_key, kNeedsEnvironment, own<environment>,
     nullptr, "environment as K=V joined by blanks; [K]: one value"},
    {"proc.aenv", Type::text, Many::any, Takes::optional_key, kAncestor | kNeedsEnvironment,
     of_ancestor<environment>, nullptr,
     "environment of any ancestor, n generations up, or one value by name"},
    {"proc.cwd", Type::path, Many::one, Takes::nothing, kNeedsCwd, own<working_directory>, nullptr,
     "working directory, ends with a slash"},
    {"proc.loginshellid", Type::int64, Many::one, Takes::nothing, 0, own<login_shell>, nullptr,
     "pid of the eldest ancestor whose name ends with sh"},
    {"proc.tty", Type::uint64, Many::one, Takes::nothing, kNeedsSession, own<tty>, nullptr,
     "number of the controlling terminal, 0 for none"},
    {"proc.pid", Type::int64, Many::one, Takes::nothing, 0, own<pid>, nullptr, "process id"},
    {"proc.ppid", Type::int64, Many::one, Takes::nothing, 0, own<parent_pid>, nullptr,
     "pid of the parent"},
    {"proc.apid", Type::int64, Many::any, Takes::optional_index, kAncestor, of_ancestor<pid>,
     nullptr, "pid of any ancestor, or of the one n generations up"},
    {"proc.vpid", Type::int64, Many::one, Takes::nothing, 0, own<own_vpid>, nullptr,
     "pid in its own pid namespace"},
    {"proc.pvpid", Type::int64, Many::one, Takes::nothing, 0, of_parent<own_vpid>, nullptr,
     "the same of the parent"},
    {"proc.sid", Type::int64, Many::one, Takes::nothing, kNeedsSession, own<sid>, nullptr,
     "session id"},
    {"proc.vsid", Type::int64, Many::one, Takes::nothing, kNeedsSession, own<vsid>, nullptr,
     "session id in its own pid namespace"},
    {"proc.sname", Type::text, Many::one, Takes::nothing, kNeedsSession, of_session<name>, nullptr,
     "name of the session leader"},
    {"proc.sid.exe", Type::text, Many::one, Takes::nothing, kNeedsSession, of_session<exe>, nullptr,
     "argv[0] of the session leader"},
    {"proc.sid.exepath", Type::path, Many::one, Takes::nothing, kNeedsSession, of_session<exepath>,
     nullptr, "executable of the session leader"},
    {"proc.pgid", Type::int64, Many::one, Takes::nothing, kNeedsGroup, own<pgid>, nullptr,
     "process group"},
    {"proc.pgid.name", Type::text, Many::one, Takes::nothing, kNeedsGroup, of_group<name>, nullptr,
     "name of the group leader"},
    {"proc.pgid.exe", Type::text, Many::one, Takes::nothing, kNeedsGroup, of_group<exe>, nullptr,
     "argv[0] of the group leader"},
    {"proc.pgid.exepath", Type::path, Many::one, Takes::nothing, kNeedsGroup, of_group<exepath>,
     nullptr, "executable of the group leader"},
    {"proc.vpgid", Type::int64, Many::one, Takes::nothing, kNeedsGroup, own<vpgid>, nullptr,
     "process group in its own pid namespace"},
    {"proc.vpgid.name", Type::text, Many::one, Takes::nothing, kNeedsGroup, of_group<name>, nullptr,
     "name of the group leader"},
    {"proc.vpgid.exe", Type::text, Many::one, Takes::nothing, kNeedsGroup, of_group<exe>, nullptr,
     "argv[0] of the group leader"},
    {"proc.vpgid.exepath", Type::path, Many::one, Takes::nothing, kNeedsGroup, of_group<exepath>,
     nullptr, "executable of the group leader"},
    {"proc.is_sid_leader", Type::boolean, Many::one, Takes::nothing, kNeedsSession,
     own<leads_session>, nullptr, "leads its session"},
    {"proc.is_pgid_leader", Type::boolean, Many::one, Takes::nothing, kNeedsGroup, own<leads_pgid>,
     nullptr, "leads its process group"},
    {"proc.is_vpgid_leader", Type::boolean, Many::one, Takes::nothing, kNeedsGroup,
     own<leads_group>, nullptr, "leads its process group, seen in its own pid namespace"},
    {"proc.duration", Type::duration, Many::one, Takes::nothing, 0, own<duration>, nullptr,
     "ns since the process was made"},
    {"proc.ppid.duration", Type::duration, Many::one, Takes::nothing, 0, of_parent<duration>,
     nullptr, "the same of the parent"},
    {"proc.pid.ts", Type::time, Many::one, Takes::nothing, 0, own<started>, nullptr,
     "when the process was made, ns since the epoch"},
    {"proc.ppid.ts", Type::time, Many::one, Takes::nothing, 0, of_parent<started>, nullptr,
     "the same of the parent"},
    {"proc.is_exe_writable", Type::boolean, Many::one, Takes::nothing, 0,
     own<image_flag<BL_FILE_WRITABLE>>, nullptr, "who executed the file may write it"},
    {"proc.is_exe_upper_layer", Type::boolean, Many::one, Takes::nothing, 0,
     own<image_flag<BL_FILE_UPPER>>, nullptr, "executable is in the upper layer of an overlay"},
    {"proc.is_exe_lower_layer", Type::boolean, Many::one, Takes::nothing, 0,
     own<image_flag<BL_FILE_LOWER>>, nullptr, "executable is in a lower layer of an overlay"},
    {"proc.is_exe_from_memfd", Type::boolean, Many::one, Takes::nothing, 0,
     own<image_flag<BL_FILE_MEMFD>>, nullptr, "executable lives in memory only"},
    {"proc.exe_ino", Type::uint64, Many::one, Takes::nothing, 0, own<exe_inode>, nullptr,
     "inode of the executable"},
    {"proc.exe_ino.ctime", Type::time, Many::one, Takes::nothing, 0, own<exe_ctime>, nullptr,
     "last change of its inode, ns since the epoch"},
    {"proc.exe_ino.mtime", Type::time, Many::one, Takes::nothing, 0, own<exe_mtime>, nullptr,
     "last change of its content"},
    {"proc.exe_ino.ctime_duration_proc_start", Type::duration, Many::one, Takes::nothing, 0,
     own<exe_age_at_start>, nullptr, "ns between that change and the start of the process"},
    {"proc.exe_ino.ctime_duration_pidns_start", Type::duration, Many::one, Takes::nothing, 0,
     own<exe_age_at_pidns_start>, nullptr,
     "ns between that change and the start of the pid namespace"},
    {"proc.pidns_init_start_ts", Type::time, Many::one, Takes::nothing, 0, own<pidns_started>,
     nullptr, "start of the init of its pid namespace, ns since the epoch"},
    {"proc.nchilds", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.nthreads", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.fdopencount", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.fdlimit", Type::int64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.fdusage", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.vmsize", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.vmrss", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"proc.vmswap", Type::uint64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not followed: always absent"},
    {"thread.tid", Type::int64, Many::one, Takes::nothing, 0, own<thread_id>, nullptr,
     "id of the thread"},
    {"thread.ismain", Type::boolean, Many::one, Takes::nothing, 0, own<is_main_thread>, nullptr,
     "the first thread of its process"},
    {"thread.vtid", Type::int64, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not recorded: always absent"},
    {"thread.cgroups", Type::text, Many::one, Takes::nothing, kDeprecated, own<absent>, never,
     "not recorded: always absent"},
    {"thread.cap_permitted", Type::text, Many::one, Takes::nothing, kNeedsCredentials,
     own<cap_permitted>, nullptr, "names of the capabilities it may use"},
    {"thread.cap_effective", Type::text, Many::one, Takes::nothing, kNeedsCredentials,
     own<cap_effective>, nullptr, "names of the capabilities in force"},
    {"thread.cap_inheritable", Type::text, Many::one, Takes::nothing, kNeedsCredentials,
     own<cap_inheritable>, nullptr, "names of the capabilities that an exec may keep"},
    {"beeline.proc.argv", Type::text, Many::list, Takes::nothing, 0, argument_list, nullptr,
     "the arguments as a list, without the first"},
    {"beeline.proc.guessed", Type::boolean, Many::one, Takes::nothing, 0, own<guessed>, nullptr,
     "little is known of the process: its start was not seen"},
    {"beeline.proc.exit_code", Type::int64, Many::one, Takes::nothing, 0, own<exit_code>, nullptr,
     "how it ended, as wait() has it"},
    {"beeline.ns.mnt", Type::uint64, Many::one, Takes::nothing, 0, own<ns_inode<&Process::ns_mnt>>,
     nullptr, "inode of its mount namespace"},
    {"beeline.ns.pid", Type::uint64, Many::one, Takes::nothing, 0, own<ns_inode<&Process::ns_pid>>,
     nullptr, "inode of its pid namespace"},
    {"beeline.ns.net", Type::uint64, Many::one, Takes::nothing, 0, own<ns_inode<&Process::ns_net>>,
     nullptr, "inode of its network namespace"},
    {"beeline.ns.user", Type::uint64, Many::one, Takes::nothing, 0,
     own<ns_inode<&Process::ns_user>>, nullptr, "inode of its user namespace"},
};

} // namespace

std::span<const FieldRow> process_fields() { return kFields; }

} // namespace beeline::security::engine
