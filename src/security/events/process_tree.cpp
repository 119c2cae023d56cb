#include "security/events/process_tree.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <unordered_map>
#include <vector>

namespace beeline::security {
namespace {

// Start times in /proc are in clock ticks of 10 ms (USER_HZ), those of the kernel side in nanoseconds.
constexpr std::uint64_t kTickNs = 10'000'000;

bool is_tick(std::uint64_t start_ns) { return start_ns % kTickNs == 0; }

const std::shared_ptr<const Image>& no_image() {
    static const auto image = std::make_shared<const Image>();
    return image;
}

// "a\0b\0c\0" without its first part, joined by blanks.
std::string joined_arguments(std::string_view argv) {
    const auto first = argv.find('\0');
    if (first == std::string_view::npos) return {};
    std::string out(argv.substr(first + 1));
    if (!out.empty() && out.back() == '\0') out.pop_back();
    std::replace(out.begin(), out.end(), '\0', ' ');
    return out;
}

std::string_view text_of(const char (&comm)[16]) { return {comm, ::strnlen(comm, sizeof comm)}; }

std::string folder(std::string_view path) {
    std::string out(path);
    if (!out.empty() && out.back() != '/') out += '/';
    return out;
}

struct Node : Process {
    Node* creator = nullptr; // the same as parent
    Node* first_child = nullptr;
    Node* next_sibling = nullptr;
    Node* previous_sibling = nullptr;
    Node* older = nullptr; // had the same pid before
    bool rough = false;    // its start time is that of a clock tick
    bool expired = false;  // only kept for its descendants

    [[nodiscard]] bool is(std::uint64_t start_ns) const {
        if (key.start_ns == start_ns) return true;
        // A reused pid within one tick is not a thing: pids go round first.
        return (rough || is_tick(start_ns)) && key.start_ns / kTickNs == start_ns / kTickNs;
    }
};

} // namespace

struct ProcessTree::State {
    State(Options given, PlacementOf of) : options(given), placement(std::move(of)) {}

    // Wraps where a recording makes no sense.
    [[nodiscard]] std::int64_t real_time(std::uint64_t boot_ns) const {
        return static_cast<std::int64_t>(boot_ns +
                                         static_cast<std::uint64_t>(options.boot_time_ns));
    }

    Node* find(std::uint32_t pid, std::uint64_t start_ns) {
        if (last != nullptr && last->key.pid == pid && last->key.start_ns == start_ns) return last;
        const auto newest = by_pid.find(pid);
        if (newest == by_pid.end()) return nullptr;
        for (Node* node = newest->second; node != nullptr; node = node->older) {
            if (!node->is(start_ns)) continue;
            if (node->rough && !is_tick(start_ns)) {
                node->key.start_ns = start_ns; // now it is known exactly
                node->rough = false;
            }
            last = node;
            return node;
        }
        return nullptr;
    }

    Node& make(std::uint32_t pid, std::uint64_t start_ns) {
        while (count >= options.limit && forget_one()) {
        }
        auto* node = new Node; // owned by the table of pids until forget()
        ++count;
        node->key = {pid, start_ns};
        node->rough = is_tick(start_ns);
        node->image = no_image();
        node->guessed = true;
        node->started_ns = real_time(start_ns);
        Node*& newest = by_pid[pid];
        // Whoever had the pid before is gone, whether or not its end was seen.
        Node** place = &newest;
        while (*place != nullptr && (*place)->key.start_ns > start_ns)
            place = &(*place)->older;
        if (*place != nullptr && (*place)->exit_boot_ns == 0) exited(**place, start_ns);
        if (place != &newest) exited(*node, newest->key.start_ns);
        node->older = *place;
        *place = node;
        ++guessed;
        last = node;
        return *node;
    }

    // What this event is about must not be given up for the limit's sake.
    Node& hold(Node& node) {
        held.at(holding++ % held.size()) = &node;
        return node;
    }
    [[nodiscard]] bool is_held(const Node& node) const {
        return std::find(held.begin(), held.end(), &node) != held.end();
    }

    Node& get(std::uint32_t pid, std::uint64_t start_ns) {
        Node* node = find(pid, start_ns);
        return hold(node != nullptr ? *node : make(pid, start_ns));
    }

    void adopt(Node& child, Node* creator) {
        if (child.creator == creator || creator == &child) return;
        // Records of a broken clock must not make a circle; who has no children is nobody's ancestor.
        for (const Node* up = child.first_child != nullptr ? creator : nullptr; up != nullptr;
             up = up->creator) {
            if (up == &child) return;
        }
        attach(child, creator);
    }

    static void attach(Node& child, Node* creator) {
        leave(child);
        child.creator = creator;
        child.parent = creator;
        if (creator == nullptr) return;
        child.next_sibling = creator->first_child;
        if (creator->first_child != nullptr) creator->first_child->previous_sibling = &child;
        creator->first_child = &child;
    }

    static void leave(Node& child) {
        if (child.previous_sibling != nullptr)
            child.previous_sibling->next_sibling = child.next_sibling;
        if (child.next_sibling != nullptr)
            child.next_sibling->previous_sibling = child.previous_sibling;
        if (child.creator != nullptr && child.creator->first_child == &child)
            child.creator->first_child = child.next_sibling;
        child.creator = nullptr;
        child.parent = nullptr;
        child.next_sibling = nullptr;
        child.previous_sibling = nullptr;
    }

    void exited(Node& node, std::uint64_t now_ns) {
        if (node.exit_boot_ns != 0) return;
        node.exit_boot_ns = std::max<std::uint64_t>(now_ns, 1);
        ended.push_back(&node);
    }

    // Removes a node; its children become its creator's.
    void forget(Node& node) {
        while (Node* child = node.first_child)
            attach(*child, node.creator);
        leave(node);
        const auto newest = by_pid.find(node.key.pid);
        for (Node** at = &newest->second; *at != nullptr; at = &(*at)->older) {
            if (*at != &node) continue;
            *at = node.older;
            break;
        }
        if (newest->second == nullptr) by_pid.erase(newest);
        if (node.guessed) --guessed;
        if (node.expired) --expired;
        if (last == &node) last = nullptr;
        --count;
        delete &node;
    }

    // Gives up what ended long ago, and ancestors that were kept for it.
    void reap(std::uint64_t now_ns) {
        while (!ended.empty() && ended.front()->exit_boot_ns + options.keep_exited_ns < now_ns) {
            Node* node = ended.front();
            ended.pop_front();
            node->expired = true;
            ++expired;
            while (node != nullptr && node->expired && node->first_child == nullptr) {
                Node* up = node->creator;
                forget(*node);
                node = up;
            }
        }
    }

    // One less, because of the limit: who ended first, or an ancestor that is kept for others, or anybody.
    bool forget_one() {
        for (auto it = ended.begin(); it != ended.end(); ++it) {
            Node* node = *it;
            if (is_held(*node)) continue;
            ended.erase(it);
            forget(*node);
            ++forgotten;
            return true;
        }
        Node* anybody = nullptr;
        for (const auto& [pid, newest] : by_pid) {
            for (Node* node = newest; node != nullptr; node = node->older) {
                if (is_held(*node) || node->exit_boot_ns != 0) {
                    if (node->expired && !is_held(*node)) return give_up(*node);
                } else if (anybody == nullptr) {
                    anybody = node;
                }
            }
            if (anybody != nullptr && expired == 0) break;
        }
        return anybody != nullptr && give_up(*anybody);
    }

    bool give_up(Node& node) {
        forget(node);
        ++forgotten;
        return true;
    }

    void place(Node& node, std::uint64_t cgroup) {
        node.cgroup = cgroup;
        if (!placement) return;
        auto where = placement(cgroup);
        node.container = std::move(where.container);
        node.workload = std::move(where.workload);
    }

    void known(Node& node) {
        if (!node.guessed) return;
        node.guessed = false;
        --guessed;
    }

    static void take_ids(Node& node, const bl_event_task& task) {
        node.ppid = task.ppid;
        node.pgid = task.pgid;
        node.sid = task.sid;
        node.vpid = task.vpid;
        node.vpgid = task.vpgid;
        node.vsid = task.vsid;
        node.loginuid = task.loginuid;
        node.tty = task.tty;
        node.uid = task.uid;
        node.gid = task.gid;
        node.cap_inheritable = task.cap_inheritable;
        node.cap_permitted = task.cap_permitted;
        node.cap_effective = task.cap_effective;
        node.pidns_start_ns = task.pidns_start_ns;
        node.ns_mnt = task.ns_mnt;
        node.ns_pid = task.ns_pid;
        node.ns_net = task.ns_net;
        node.ns_user = task.ns_user;
        node.ns_uts = task.ns_uts;
        node.ns_ipc = task.ns_ipc;
        node.ns_cgroup = task.ns_cgroup;
        node.name = text_of(task.comm);
    }

    static void take_image(Node& node, const Event& event) {
        auto image = std::make_shared<Image>();
        image->exepath = event.text[BL_STR_RESOLVED];
        image->argv = event.text[BL_STR_PATH2];
        image->exe = image->argv.substr(0, image->argv.find('\0'));
        image->args = joined_arguments(image->argv);
        image->env = event.text[BL_STR_BASE2];
        const auto& file = event.task->exe;
        image->ino = file.ino;
        image->ctime_ns = file.ctime_ns;
        image->mtime_ns = file.mtime_ns;
        image->dev = file.dev;
        image->flags = file.flags;
        if (event.has(BL_STR_BASE)) node.cwd = folder(event.text[BL_STR_BASE]);
        name_command(node, *image);
        node.image = std::move(image);
    }

    static void name_command(Node& node, const Image& image) {
        node.cmdline = node.name;
        if (!image.args.empty()) node.cmdline.append(" ").append(image.args);
    }

    Node* creator_of(const bl_event_task& task) {
        if (task.ppid == 0) return nullptr;
        if (task.parent_start_ns != 0) return &get(task.ppid, task.parent_start_ns);
        const auto newest = by_pid.find(task.ppid); // not known which: the one that lives
        return newest == by_pid.end() ? nullptr : &hold(*newest->second);
    }

    static void inherit(Node& node, const Node& maker) {
        node.image = maker.image;
        node.cwd = maker.cwd;
        name_command(node, *node.image);
    }

    // Those that were seen to be made before anything was known of who made them.
    static void inherit_late(Node& maker) {
        std::vector<Node*> todo{&maker};
        while (!todo.empty()) {
            const Node* from = todo.back();
            todo.pop_back();
            for (Node* child = from->first_child; child != nullptr; child = child->next_sibling) {
                if (child->guessed || child->image != no_image()) continue;
                inherit(*child, *from);
                todo.push_back(child);
            }
        }
    }

    Node& snapshot(const Event& event) {
        const auto& task = *event.task;
        Node& node = get(task.pid, task.start_ns);
        // Events told more, and later; but not what a child got from a process nobody knew.
        if (!node.guessed && node.image != no_image()) return node;
        known(node);
        take_ids(node, task);
        take_image(node, event);
        inherit_late(node);
        adopt(node, creator_of(task));
        place(node, task.cgroup);
        return node;
    }

    Node& cloned(const Event& event) {
        const auto& task = *event.task;
        Node& node = get(task.pid, task.start_ns);
        if (!node.guessed) return get(event.head.pid, event.head.start_ns);
        Node& maker = get(event.head.pid, event.head.start_ns);
        // With CLONE_PARENT the parent is not who made it.
        Node* creator = task.ppid == maker.key.pid ? &maker : creator_of(task);
        known(node);
        take_ids(node, task);
        // What an exec named it; renaming itself before a fork changes nothing.
        if (!maker.guessed) node.name = maker.name;
        inherit(node, maker);
        adopt(node, creator);
        if (task.cgroup == maker.cgroup && !maker.guessed) {
            node.cgroup = maker.cgroup;
            node.container = maker.container;
            node.workload = maker.workload;
        } else {
            place(node, task.cgroup);
        }
        return maker;
    }

    Node& executed(const Event& event) {
        const auto& task = *event.task;
        Node& node = get(event.head.pid, event.head.start_ns);
        if (node.guessed) adopt(node, creator_of(task));
        known(node);
        take_ids(node, task);
        take_image(node, event);
        node.exec_boot_ns = event.head.time_ns;
        place(node, event.head.cgroup);
        return node;
    }

    void changed(Node& node, const Event& event) const {
        if (event.head.result < 0) return;
        switch (event.head.kind) {
        case BL_EVENT_chdir:
        case BL_EVENT_fchdir:
            if (event.has(BL_STR_RESOLVED)) node.cwd = folder(event.text[BL_STR_RESOLVED]);
            break;
        case BL_EVENT_setsid:
            node.sid = node.pgid = node.key.pid;
            node.vsid = node.vpgid = static_cast<std::uint32_t>(event.head.result);
            node.tty = 0; // a new session has no terminal yet
            break;
        case BL_EVENT_setpgid: {
            const auto whose = static_cast<std::uint32_t>(event.head.num[0]);
            if (whose != 0 && whose != node.vpid) break;
            const auto group = static_cast<std::uint32_t>(event.head.num[1]);
            node.vpgid = group == 0 ? node.vpid : group;
            if (node.vpgid == node.vpid) node.pgid = node.key.pid;
            break;
        }
        default: break;
        }
    }

    Options options;
    PlacementOf placement;
    std::unordered_map<std::uint32_t, Node*> by_pid; // the newest; owns all
    std::deque<Node*> ended;                         // by their end; still for keep_exited_ns
    Node* last = nullptr;
    std::array<const Node*, 4> held{};
    std::size_t holding = 0;
    std::uint64_t number = 0;
    std::size_t count = 0;
    std::size_t expired = 0;
    std::uint64_t guessed = 0;
    std::uint64_t forgotten = 0;
};

ProcessTree::ProcessTree(Options options, PlacementOf placement)
    : state_(std::make_unique<State>(options, std::move(placement))) {}

ProcessTree::~ProcessTree() {
    for (const auto& [pid, newest] : state_->by_pid) {
        for (Node* node = newest; node != nullptr;) {
            Node* older = node->older;
            delete node;
            node = older;
        }
    }
}

void ProcessTree::apply(Event& event) {
    State& state = *state_;
    const auto& head = event.head;
    Node* node = nullptr;
    if (head.kind == BL_EVENT_procexit) state.reap(head.time_ns); // before anything is held
    if (head.kind == BL_EVENT_proc && event.task != nullptr) {
        node = &state.snapshot(event);
    } else if (head.kind == BL_EVENT_clone && event.task != nullptr) {
        node = &state.cloned(event);
    } else if (head.kind == BL_EVENT_execve && event.task != nullptr && head.result >= 0) {
        node = &state.executed(event);
    } else {
        node = &state.get(head.pid, head.start_ns);
        if (head.kind == BL_EVENT_procexit) {
            node->exit_code = static_cast<int>(head.result);
            state.exited(*node, head.time_ns);
        } else {
            state.changed(*node, event);
        }
        // Moved to another cgroup, or the first that is heard of it.
        if (head.cgroup != 0 && head.cgroup != node->cgroup) state.place(*node, head.cgroup);
    }
    if (head.kind != BL_EVENT_proc && head.kind != BL_EVENT_flow) {
        node->uid = head.uid;
        node->gid = head.gid;
    }
    event.number = ++state.number;
    event.time_ns = state.real_time(head.time_ns);
    event.process = node;
}

const Process* ProcessTree::find(const ProcessKey& key) const {
    return state_->find(key.pid, key.start_ns);
}

const Process* ProcessTree::find_pid(std::uint32_t pid) const {
    const auto newest = state_->by_pid.find(pid);
    return newest == state_->by_pid.end() ? nullptr : newest->second;
}

const Process* ProcessTree::session_leader(const Process& process) const {
    if (process.sid == 0) return nullptr;
    const Process* leader = find_pid(process.sid);
    if (leader != nullptr && leader->sid == leader->key.pid) return leader;
    const Process* eldest = nullptr;
    for (const Process* up = &process; up != nullptr && up->sid == process.sid; up = up->parent)
        eldest = up;
    return eldest;
}

void ProcessTree::for_each(const std::function<void(const Process&)>& visit) const {
    for (const auto& [pid, newest] : state_->by_pid) {
        for (const Node* node = newest; node != nullptr; node = node->older)
            visit(*node);
    }
}

void ProcessTree::place_again(std::uint64_t cgroup) {
    for (const auto& [pid, node] : state_->by_pid) {
        if (node->exit_boot_ns == 0 && (cgroup == 0 || node->cgroup == cgroup))
            state_->place(*node, node->cgroup);
    }
}

TreeStats ProcessTree::stats() const {
    TreeStats stats;
    stats.exited = state_->ended.size() + state_->expired;
    stats.live = state_->count - stats.exited;
    stats.guessed = state_->guessed;
    stats.forgotten = state_->forgotten;
    return stats;
}

} // namespace beeline::security
