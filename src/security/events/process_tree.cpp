// How records become processes. Nodes are found by pid; processes that had the same pid one after the other hang in a
// chain, youngest first.
#include "security/events/process_tree.h"

#include <algorithm>
#include <bit>
#include <climits>
#include <cstring>
#include <utility>
#include <vector>

#include <sched.h>

namespace beeline::security {
namespace {

// Start times of /proc are cut to clock ticks of 10 ms; those of the kernel's records are not. Two match when they
// are equal, or when one is a whole tick and the other within it: a pid is not used again within a tick, because the
// kernel hands out all others first.
constexpr std::uint64_t kTickNs = 10'000'000;

bool is_tick(std::uint64_t start) { return start % kTickNs == 0; }

bool same_start(std::uint64_t a, std::uint64_t b) {
    return a == b || ((is_tick(a) || is_tick(b)) && a / kTickNs == b / kTickNs);
}

struct Node : Process {
    Node* older = nullptr; // had this pid before
    Node* first_child = nullptr;
    Node* next_sibling = nullptr;
    Node* previous_sibling = nullptr;
    Node* next = nullptr; // of the live, the exited or the held
    Node* previous = nullptr;
    std::uint64_t changed_ns = 0; // boot time of what is known about its image
    enum class In : std::uint8_t { live, exited, held } in = In::live;

    [[nodiscard]] Node* maker() const {
        return const_cast<Node*>(static_cast<const Node*>(parent));
    }
};

struct List {
    Node* front = nullptr;
    Node* back = nullptr;
    std::size_t size = 0;

    void push(Node& node) {
        node.previous = back;
        node.next = nullptr;
        (back != nullptr ? back->next : front) = &node;
        back = &node;
        ++size;
    }
    void remove(Node& node) {
        (node.previous != nullptr ? node.previous->next : front) = node.next;
        (node.next != nullptr ? node.next->previous : back) = node.previous;
        node.next = node.previous = nullptr;
        --size;
    }
};

// pid -> youngest node. Open addressing, linear probing, no tombstones.
class PidIndex {
public:
    [[nodiscard]] Node* find(std::uint32_t pid) const {
        for (std::size_t i = home(pid);; i = (i + 1) & mask_) {
            if (slots_[i].node == nullptr) return nullptr;
            if (slots_[i].pid == pid) return slots_[i].node;
        }
    }
    void set(std::uint32_t pid, Node* node) {
        if ((used_ + 1) * 2 > slots_.size()) grow();
        std::size_t i = home(pid);
        while (slots_[i].node != nullptr && slots_[i].pid != pid)
            i = (i + 1) & mask_;
        if (slots_[i].node == nullptr) ++used_;
        slots_[i] = {pid, node};
    }
    void erase(std::uint32_t pid) {
        std::size_t hole = home(pid);
        while (slots_[hole].node != nullptr && slots_[hole].pid != pid)
            hole = (hole + 1) & mask_;
        if (slots_[hole].node == nullptr) return;
        --used_;
        // What comes behind moves up unless that would put it before its home.
        for (std::size_t i = (hole + 1) & mask_; slots_[i].node != nullptr; i = (i + 1) & mask_) {
            if (((i - home(slots_[i].pid)) & mask_) >= ((i - hole) & mask_)) {
                slots_[hole] = slots_[i];
                hole = i;
            }
        }
        slots_[hole] = {};
    }

private:
    struct Slot {
        std::uint32_t pid = 0;
        Node* node = nullptr;
    };
    [[nodiscard]] std::size_t home(std::uint32_t pid) const {
        return (pid * 0x9E3779B97F4A7C15ULL >> 32) & mask_;
    }
    void grow() {
        std::vector<Slot> old(slots_.size() * 2);
        old.swap(slots_);
        mask_ = slots_.size() - 1;
        used_ = 0;
        for (const Slot& slot : old)
            if (slot.node != nullptr) set(slot.pid, slot.node);
    }
    std::vector<Slot> slots_ = std::vector<Slot>(1024);
    std::size_t mask_ = 1023;
    std::size_t used_ = 0;
};

std::string_view comm_of(const bl_event_task& task) {
    return {task.comm, strnlen(task.comm, sizeof(task.comm))};
}

// Arguments as people read them; `first` is where argv[1] begins.
std::string join_arguments(std::string_view argv, std::size_t first) {
    if (first >= argv.size()) return {};
    std::string joined(argv.substr(first));
    if (joined.back() == '\0') joined.pop_back();
    std::replace(joined.begin(), joined.end(), '\0', ' ');
    return joined;
}

void set_cwd(Process& process, std::string_view path) {
    if (path.empty()) return;
    const bool closed = path.back() == '/';
    if (process.cwd.size() == path.size() + (closed ? 0 : 1) && process.cwd.starts_with(path))
        return;
    process.cwd.assign(path);
    if (!closed) process.cwd.push_back('/');
}

void set_cmdline(Process& process) {
    process.cmdline.assign(process.name);
    if (process.image->args.empty()) return;
    process.cmdline.push_back(' ');
    process.cmdline.append(process.image->args);
}

// What stays of a task's numbers however old the record is: they never change, or only with what is known of its image.
void take_task(Process& process, const bl_event_task& task) {
    process.cap_inheritable = task.cap_inheritable;
    process.cap_permitted = task.cap_permitted;
    process.cap_effective = task.cap_effective;
    process.pidns_start_ns = task.pidns_start_ns;
    process.ppid = task.ppid;
    process.pgid = task.pgid;
    process.sid = task.sid;
    process.vpid = task.vpid;
    process.vpgid = task.vpgid;
    process.vsid = task.vsid;
    process.uid = task.uid;
    process.gid = task.gid;
    process.loginuid = task.loginuid;
    process.tty = task.tty;
    process.ns_mnt = task.ns_mnt;
    process.ns_pid = task.ns_pid;
    process.ns_net = task.ns_net;
    process.ns_user = task.ns_user;
    process.ns_uts = task.ns_uts;
    process.ns_ipc = task.ns_ipc;
    process.ns_cgroup = task.ns_cgroup;
}

std::shared_ptr<const Image> image_of(const Event& event,
                                      const std::shared_ptr<const Image>& same) {
    const std::string_view path = event.text[BL_STR_RESOLVED];
    const std::string_view argv = event.text[BL_STR_PATH2];
    const std::string_view env = event.text[BL_STR_BASE2];
    const bl_event_file file = event.task != nullptr ? event.task->exe : bl_event_file{};
    if (same->exepath == path && same->argv == argv && same->env == env && same->ino == file.ino &&
        same->dev == file.dev && same->ctime_ns == file.ctime_ns &&
        same->mtime_ns == file.mtime_ns && same->flags == file.flags)
        return same;
    auto image = std::make_shared<Image>();
    image->exepath = path;
    const std::size_t end = argv.find('\0');
    image->exe = argv.substr(0, end);
    image->argv = argv;
    image->args = join_arguments(argv, end == std::string_view::npos ? argv.size() : end + 1);
    image->env = env;
    image->ino = file.ino;
    image->ctime_ns = file.ctime_ns;
    image->mtime_ns = file.mtime_ns;
    image->dev = file.dev;
    image->flags = file.flags;
    return image;
}

// unshare and setns: which inode the new namespace has is not in the record (setns: only sometimes). Not known is better
// than wrong.
void forget_namespaces(Process& process, std::uint64_t flags) {
    if ((flags & CLONE_NEWNS) != 0) process.ns_mnt = 0;
    if ((flags & CLONE_NEWNET) != 0) process.ns_net = 0;
    if ((flags & CLONE_NEWUSER) != 0) process.ns_user = 0;
    if ((flags & CLONE_NEWUTS) != 0) process.ns_uts = 0;
    if ((flags & CLONE_NEWIPC) != 0) process.ns_ipc = 0;
    if ((flags & CLONE_NEWCGROUP) != 0) process.ns_cgroup = 0;
}

} // namespace

struct ProcessTree::State {
    Options options;
    PlacementOf placement;
    std::shared_ptr<const Image> no_image = std::make_shared<Image>();
    PidIndex pids;
    List live, exited, held; // held: exited long ago, but a descendant is here
    std::uint64_t number = 0;
    std::uint64_t facts = 0; // the last number given out
    std::uint64_t guessed = 0;
    std::uint64_t forgotten = 0;
    // Must outlive the event that is being applied.
    Node* pinned[2] = {nullptr, nullptr};

    // Times of broken records wrap.
    [[nodiscard]] std::int64_t real_time(std::uint64_t boot_ns) const {
        return static_cast<std::int64_t>(boot_ns +
                                         static_cast<std::uint64_t>(options.boot_time_ns));
    }
    [[nodiscard]] std::size_t size() const { return live.size + exited.size + held.size; }
    List& list_of(const Node& node) {
        return node.in == Node::In::live ? live : node.in == Node::In::exited ? exited : held;
    }
    void move(Node& node, Node::In to) {
        list_of(node).remove(node);
        node.in = to;
        list_of(node).push(node);
    }

    [[nodiscard]] Node* lookup(std::uint32_t pid, std::uint64_t start) const {
        Node* node = pids.find(pid);
        while (node != nullptr && !same_start(node->key.start_ns, start))
            node = node->older;
        return node;
    }

    // What is known of a process has changed.
    void touch(Node& node) { node.facts = ++facts; }

    void unlink(Node& node) {
        Node* parent = node.maker();
        if (parent == nullptr) return;
        (node.previous_sibling != nullptr ? node.previous_sibling->next_sibling
                                          : parent->first_child) = node.next_sibling;
        if (node.next_sibling != nullptr)
            node.next_sibling->previous_sibling = node.previous_sibling;
        node.next_sibling = node.previous_sibling = nullptr;
        node.parent = nullptr;
    }
    void link(Node& node, Node* parent) {
        unlink(node);
        if (parent == nullptr) return;
        // A record may lie: a process cannot descend from itself. New nodes have no children, so this costs them nothing.
        if (node.first_child != nullptr || parent == &node)
            for (const Process* up = parent; up != nullptr; up = up->parent)
                if (up == &node) return;
        node.parent = parent;
        node.next_sibling = parent->first_child;
        if (parent->first_child != nullptr) parent->first_child->previous_sibling = &node;
        parent->first_child = &node;
    }

    // Gives up one node; its children, if any, become those of its parent.
    void erase(Node& node) {
        Node* parent = node.maker();
        while (node.first_child != nullptr) {
            Node* child = node.first_child;
            unlink(*child);
            link(*child, parent);
        }
        unlink(node);
        Node* youngest = pids.find(node.key.pid);
        if (youngest == &node) {
            if (node.older != nullptr)
                pids.set(node.key.pid, node.older);
            else
                pids.erase(node.key.pid);
        } else {
            while (youngest->older != &node)
                youngest = youngest->older;
            youngest->older = node.older;
        }
        list_of(node).remove(node);
        delete &node;
    }
    [[nodiscard]] bool is_pinned(const Node& node) const {
        return &node == pinned[0] || &node == pinned[1];
    }
    // The node, and the ancestors that were held only for it.
    void expire(Node* node) {
        while (node != nullptr && node->first_child == nullptr && !is_pinned(*node)) {
            Node* parent = node->maker();
            erase(*node);
            node = parent != nullptr && parent->in == Node::In::held ? parent : nullptr;
        }
    }
    void expire_until(std::uint64_t now) {
        while (exited.front != nullptr &&
               exited.front->exit_boot_ns + options.keep_exited_ns < now) {
            if (exited.front->first_child != nullptr)
                move(*exited.front, Node::In::held);
            else
                expire(exited.front);
        }
    }
    void make_room() {
        while (size() >= std::max<std::size_t>(options.limit, 8)) {
            Node* victim = nullptr;
            for (const List* list : {&exited, &held, &live}) {
                // The eldest without children; else the eldest. What is passed over goes to the back.
                for (int tries = 0; tries < 16 && list->front != nullptr; ++tries) {
                    Node* node = list->front;
                    if (!is_pinned(*node) && (node->first_child == nullptr || tries >= 14)) {
                        victim = node;
                        break;
                    }
                    if (list == &exited && !is_pinned(*node))
                        move(*node, Node::In::held); // keeps the order of the others by age
                    else
                        move(*node, node->in);
                }
                if (victim != nullptr) break;
            }
            if (victim == nullptr) return;
            ++forgotten;
            if (victim->first_child == nullptr)
                expire(victim);
            else
                erase(*victim);
        }
    }

    Node* make(ProcessKey key, std::uint64_t now) {
        make_room();
        auto* node = new Node;
        node->key = key;
        node->image = no_image;
        node->facts = ++facts;
        node->started_ns = real_time(key.start_ns);
        Node* youngest = pids.find(key.pid);
        live.push(*node);
        if (youngest == nullptr || youngest->key.start_ns <= key.start_ns) {
            node->older = youngest;
            pids.set(key.pid, node);
            // Its end was not seen, but a pid has one process at a time.
            if (youngest != nullptr) end(*youngest, now, 0);
        } else {
            Node* before = youngest;
            while (before->older != nullptr && before->older->key.start_ns > key.start_ns)
                before = before->older;
            node->older = before->older;
            before->older = node;
            end(*node, now, 0);
        }
        return node;
    }
    void end(Node& node, std::uint64_t now, int code) {
        if (node.in != Node::In::live) {
            if (code != 0) node.exit_code = code;
            return;
        }
        node.exit_boot_ns = std::max<std::uint64_t>(now, 1);
        node.exit_code = code;
        move(node, Node::In::exited);
    }

    void place(Node& node) {
        const Node* parent = node.maker();
        if (parent != nullptr && parent->in == Node::In::live && parent->cgroup == node.cgroup) {
            node.container = parent->container;
            node.workload = parent->workload;
            return;
        }
        Placement placed = placement ? placement(node.cgroup) : Placement{};
        node.container = std::move(placed.container);
        node.workload = std::move(placed.workload);
    }
    void place_anew(Node& node) {
        Placement placed = placement ? placement(node.cgroup) : Placement{};
        if (placed.container == node.container && placed.workload == node.workload) return;
        touch(node);
        node.container = std::move(placed.container);
        node.workload = std::move(placed.workload);
    }

    // The process that the event is of; a guess if nothing is known of it.
    Node& subject(const Event& event) {
        const bl_event& head = event.head;
        Node* node = lookup(head.pid, head.start_ns);
        if (node == nullptr) {
            node = make({head.pid, head.start_ns}, head.time_ns);
            pinned[0] = node;
            node->guessed = true;
            ++guessed;
            node->uid = head.uid;
            node->gid = head.gid;
            node->cgroup = head.cgroup;
            place_anew(*node);
            return *node;
        }
        pinned[0] = node;
        if (!is_tick(head.start_ns) && node->key.start_ns != head.start_ns)
            adopt(*node, head.start_ns);
        return *node;
    }
    void adopt(Node& node, std::uint64_t exact_start) {
        node.key.start_ns = exact_start;
        node.started_ns = real_time(exact_start);
    }
    // The process that a task's facts are of.
    Node& of_task(const bl_event_task& task, std::uint64_t now) {
        Node* node = lookup(task.pid, task.start_ns);
        if (node == nullptr) {
            node = make({task.pid, task.start_ns}, now);
            node->guessed = true; // until the facts are in
        } else if (!is_tick(task.start_ns) && node->key.start_ns != task.start_ns) {
            adopt(*node, task.start_ns);
        }
        return *node;
    }
    void find_parent(Node& node, const bl_event_task& task, std::uint64_t now) {
        if (node.parent != nullptr || task.ppid == 0) return;
        Node* parent = lookup(task.ppid, task.parent_start_ns);
        if (parent == nullptr && task.parent_start_ns != 0) {
            parent = make({task.ppid, task.parent_start_ns}, now);
            parent->guessed = true;
            ++guessed;
        }
        link(node, parent);
    }
    void take_image(Node& node, const Event& event) {
        // What the snapshot finds is often the image of its maker still.
        const bool first = node.image == no_image && node.maker() != nullptr;
        node.image = image_of(event, first ? node.maker()->image : node.image);
        if (event.task != nullptr) {
            node.name.assign(comm_of(*event.task));
        } else { // the record was full; the kernel takes the last part of the path
            std::string_view path = event.text[BL_STR_PATH];
            path.remove_prefix(std::min(path.size(), path.rfind('/') + 1));
            node.name.assign(path.substr(0, 15));
        }
        set_cmdline(node);
        set_cwd(node, event.text[BL_STR_BASE]);
    }

    void on_clone(const Event& event, Node& maker) {
        if (event.task == nullptr) return;
        const bl_event_task& task = *event.task;
        Node& node = of_task(task, event.head.time_ns);
        if (&node == &maker) return;
        pinned[1] = &node;
        const bool first_news = node.guessed;
        if (node.parent == nullptr) link(node, &maker);
        if (!first_news && node.changed_ns >= event.head.time_ns) return;
        node.guessed = false;
        // What it did itself meanwhile came before this record did; an exec is newer than its making.
        if (node.exec_boot_ns != 0) return;
        node.changed_ns = event.head.time_ns;
        take_task(node, task);
        if (!maker.guessed) {
            node.image = maker.image;
            node.name = maker.name;
            node.cmdline = maker.cmdline;
            node.cwd = maker.cwd;
        } else {
            node.name.assign(comm_of(task));
            node.cmdline = node.name;
        }
        node.cgroup = task.cgroup != 0 ? task.cgroup : maker.cgroup;
        place(node);
        touch(node);
    }

    void on_exec(const Event& event, Node& node) {
        if (event.head.result < 0) return;
        const std::uint64_t now = event.head.time_ns;
        if (node.exec_boot_ns > now) return; // older than what is known
        node.guessed = false;
        node.exec_boot_ns = node.changed_ns = now;
        take_image(node, event);
        if (event.task != nullptr) {
            take_task(node, *event.task);
            find_parent(node, *event.task, now);
            if (event.task->cgroup != 0) node.cgroup = event.task->cgroup;
        }
        place_anew(node);
        touch(node);
    }

    // A process of the snapshot. It may come after events of the same process and be older than these.
    Node& on_proc(const Event& event) {
        const bl_event_task& task = *event.task;
        const std::uint64_t now = event.head.time_ns;
        Node& node = of_task(task, now);
        pinned[0] = &node;
        find_parent(node, task, now);
        const bool newer = node.guessed || (node.changed_ns < now && node.in == Node::In::live);
        if (newer) {
            node.guessed = false;
            node.changed_ns = now;
            take_image(node, event);
            take_task(node, task);
            node.cgroup = task.cgroup;
            place(node);
            touch(node);
            return node;
        }
        if (node.image == no_image) take_image(node, event);
        set_if_unknown(node, task);
        if (node.cwd.empty()) set_cwd(node, event.text[BL_STR_BASE]);
        touch(node);
        return node;
    }
    static void set_if_unknown(Process& process, const bl_event_task& task) {
        const auto fill = [](auto& known, auto value) {
            if (known == 0) known = value;
        };
        fill(process.ns_mnt, task.ns_mnt);
        fill(process.ns_pid, task.ns_pid);
        fill(process.ns_net, task.ns_net);
        fill(process.ns_user, task.ns_user);
        fill(process.ns_uts, task.ns_uts);
        fill(process.ns_ipc, task.ns_ipc);
        fill(process.ns_cgroup, task.ns_cgroup);
        fill(process.pidns_start_ns, task.pidns_start_ns);
    }

    // Numbers of setsid and setpgid are those of the caller's pid namespace.
    void on_setpgid(const Event& event, Node& caller) {
        const auto pid = static_cast<std::uint32_t>(event.head.num[0]);
        auto group = static_cast<std::uint32_t>(event.head.num[1]);
        Node* target = &caller;
        const bool outermost = caller.vpid == caller.key.pid;
        if (pid != 0 && pid != caller.vpid) {
            // A shell tells its children, which say the same of themselves.
            target = nullptr;
            for (Node* child = caller.first_child; child != nullptr; child = child->next_sibling)
                if (child->vpid == pid && child->in == Node::In::live) {
                    target = child;
                    break;
                }
        }
        if (target == nullptr) return;
        if (group == 0) group = target->vpid;
        target->vpgid = group;
        if (group == target->vpid)
            target->pgid = target->key.pid;
        else if (outermost)
            target->pgid = group;
        else if (group == caller.vpgid)
            target->pgid = caller.pgid;
        else
            target->pgid = 0; // not known
    }

    void on_syscall(const Event& event, Node& node) {
        const bl_event& head = event.head;
        if (node.in == Node::In::live) {
            node.uid = head.uid;
            node.gid = head.gid;
            if (head.cgroup != 0 && head.cgroup != node.cgroup) { // its runtime moved it
                node.cgroup = head.cgroup;
                place_anew(node);
            }
        }
        if (head.result < 0 || (head.flags & BL_EVENT_URING) != 0) return;
        if (event.task != nullptr) { // credentials: of the thread that changed them
            node.cap_inheritable = event.task->cap_inheritable;
            node.cap_permitted = event.task->cap_permitted;
            node.cap_effective = event.task->cap_effective;
            touch(node);
        }
        switch (head.kind) {
        case BL_EVENT_chdir:
        case BL_EVENT_fchdir: set_cwd(node, event.text[BL_STR_RESOLVED]); break;
        case BL_EVENT_setsid:
            node.sid = node.pgid = node.key.pid;
            node.vsid = node.vpgid = node.vpid;
            node.tty = 0;
            break;
        case BL_EVENT_setpgid: on_setpgid(event, node); break;
        case BL_EVENT_unshare: forget_namespaces(node, head.num[0]); break;
        case BL_EVENT_setns: forget_namespaces(node, head.num[1] == 0 ? ~0ULL : head.num[1]); break;
        case BL_EVENT_chroot:
        case BL_EVENT_pivot_root: // paths are seen from another root from now on
            node.cwd.clear();
            break;
        default: break;
        }
    }
};

ProcessTree::ProcessTree(Options options, PlacementOf placement)
    : state_(std::make_unique<State>()) {
    state_->options = options;
    state_->placement = std::move(placement);
}

ProcessTree::~ProcessTree() {
    for (List* list : {&state_->live, &state_->exited, &state_->held})
        while (list->front != nullptr) {
            Node* node = list->front;
            list->remove(*node);
            delete node;
        }
}

void ProcessTree::apply(Event& event) {
    State& state = *state_;
    const bl_event& head = event.head;
    state.pinned[0] = state.pinned[1] = nullptr;
    state.expire_until(head.time_ns);
    event.number = ++state.number;
    event.time_ns = state.real_time(head.time_ns);
    if (head.kind == BL_EVENT_proc && event.task != nullptr) {
        event.process = &state.on_proc(event);
        return;
    }
    Node& node = state.subject(event);
    event.process = &node;
    switch (head.kind) {
    case BL_EVENT_clone: state.on_clone(event, node); break;
    case BL_EVENT_execve:
    case BL_EVENT_execveat: state.on_exec(event, node); break;
    case BL_EVENT_procexit: {
        const bool again = node.in != Node::In::live && node.exit_code != 0;
        if (!again) state.end(node, head.time_ns, static_cast<int>(head.result));
        break;
    }
    case BL_EVENT_proc:
    case BL_EVENT_comm:
    case BL_EVENT_flow:
    case BL_EVENT_lost: break;
    default: state.on_syscall(event, node);
    }
}

const Process* ProcessTree::find(const ProcessKey& key) const {
    return state_->lookup(key.pid, key.start_ns);
}

const Process* ProcessTree::find_pid(std::uint32_t pid) const { return state_->pids.find(pid); }

const Process* ProcessTree::session_leader(const Process& process) const {
    if (process.sid == 0) return nullptr;
    for (const Node* node = state_->pids.find(process.sid); node != nullptr; node = node->older)
        if (node->sid == process.sid && node->key.start_ns <= process.key.start_ns) return node;
    const Process* eldest = nullptr;
    for (const Process* up = process.parent; up != nullptr && up->sid == process.sid;
         up = up->parent)
        eldest = up;
    return eldest;
}

void ProcessTree::for_each(const std::function<void(const Process&)>& visit) const {
    for (const List* list : {&state_->live, &state_->exited, &state_->held})
        for (const Node* node = list->front; node != nullptr; node = node->next)
            visit(*node);
}

void ProcessTree::place_again(std::uint64_t cgroup) {
    for (Node* node = state_->live.front; node != nullptr; node = node->next)
        if (cgroup == 0 || node->cgroup == cgroup) state_->place_anew(*node);
}

TreeStats ProcessTree::stats() const {
    return {state_->live.size, state_->exited.size + state_->held.size, state_->guessed,
            state_->forgotten};
}

} // namespace beeline::security
