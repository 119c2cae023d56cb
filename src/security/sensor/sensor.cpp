#include "security/sensor/sensor.h"

#include <linux/membarrier.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "base/log.h"
#include "ebpf/link.h"
#include "ebpf/map.h"
#include "ebpf/object.h"
#include "ebpf/system.h"
#include "security/sensor/kinds.h"
#include "security/sensor/path_automaton.h"

#include "process.skel.h"
#include "syscall.skel.h"
#include "uring.skel.h"

namespace beeline::security {
namespace {

constexpr std::array<std::string_view, BL_SENSOR_STAT_MAX> kStatNames = [] {
    std::array<std::string_view, BL_SENSOR_STAT_MAX> names;
#define X(name, number) names[number] = #name;
    BL_SENSOR_STATS(X)
#undef X
    return names;
}();

// Processes are followed whatever the rules want: every event is explained by them.
constexpr bool is_process_kind(std::uint16_t kind) {
    return kind == BL_EVENT_execve || kind == BL_EVENT_clone || kind == BL_EVENT_procexit ||
           kind == BL_EVENT_comm;
}

constexpr std::uint32_t kFirstEpoch = 1;

using Bytes = std::span<const std::byte>;

template <typename T>
Bytes bytes_of(const T& value) {
    return std::as_bytes(std::span(&value, 1));
}

template <typename F>
Bytes elf_of(F elf_bytes) {
    std::size_t size = 0;
    const void* elf = elf_bytes(&size);
    return {static_cast<const std::byte*>(elf), size};
}

Result<bl_sensor_config> config_of(const std::string& cgroup) {
    bl_sensor_config config{};
    if (cgroup.empty()) return config;
    const std::string mount = TRY(ebpf::cgroup2_mount());
    struct stat status{};
    if (stat(cgroup.c_str(), &status) != 0)
        return fail_errno(errno, "cannot find cgroup " + cgroup);
    if (!cgroup.starts_with(mount))
        return fail(Code::invalid, "{} is not below {}: give a folder of cgroup2", cgroup, mount);
    config.scope_cgroup = status.st_ino;
    bool in_name = false;
    for (const char c : cgroup.substr(mount.size())) {
        if (c != '/' && !in_name) ++config.scope_level;
        in_name = c != '/';
    }
    return config;
}

// Programs that read the half of the tables that is about to be rewritten have ended when this returns.
void wait_for_programs() { syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0); }

struct Attachment {
    std::string name;
    Fd link;
};

} // namespace

struct Sensor::State {
    ebpf::Object process;
    ebpf::Object syscall;
    std::unique_ptr<ebpf::Object> uring; // null where the kernel cannot
    ebpf::MapMemory syscall_memory;
    bl_syscall_table* numbers = nullptr;
    int procs_ring = -1, events_ring = -1, path = -1, want = -1, comm = -1, names = -1, scope = -1,
        sensor = -1, stat = -1;
    std::uint32_t generation = 0;
    std::uint32_t epoch = kFirstEpoch;
    std::map<std::string, Fd> links; // by what attached() calls them
    std::set<std::pair<std::uint32_t, std::string>> comms[2];
    std::size_t texts_cut = 0;
    std::optional<Capture> in_force; // nothing: stopped, or a change failed half-way

    State(ebpf::Object process, ebpf::Object syscall)
        : process(std::move(process)), syscall(std::move(syscall)) {}

    Result<> find_maps();
    Result<> write_paths(const PathAutomaton& automaton, std::uint32_t half) const;
    Result<> write_wants(const Capture& capture, std::uint32_t half, std::uint32_t always);
    Result<> write_comms(const Capture& capture, std::uint32_t half);
    Result<> forget_comms(std::uint32_t half);
    void write_numbers(const Capture& capture);
    Result<> attach(const Capture& capture);
    Result<> attach_one(const std::string& name, bool wanted, const ebpf::Object& object,
                        std::string_view program, const std::string& tracepoint);
};

Result<> Sensor::State::find_maps() {
    procs_ring = TRY(process.map("bl_procs"));
    events_ring = TRY(process.map("bl_events"));
    want = TRY(process.map("bl_want"));
    comm = TRY(process.map("bl_comm"));
    names = TRY(process.map("bl_name"));
    scope = TRY(process.map("bl_scope"));
    sensor = TRY(process.map("bl_sensor"));
    stat = TRY(process.map("bl_sensor_stat"));
    path = TRY(syscall.map("bl_path"));
    syscall_memory = TRY(ebpf::MapMemory::of(TRY(syscall.map(".bss"))));
    if (syscall_memory.bytes().size() < sizeof(bl_syscall_table))
        return fail(Code::internal, "the syscall sensor has no table of numbers");
    numbers = reinterpret_cast<bl_syscall_table*>(syscall_memory.bytes().data());
    return {};
}

// Mapped only while it is written: its pages would count as this process' memory.
Result<> Sensor::State::write_paths(const PathAutomaton& automaton, std::uint32_t half) const {
    static_assert(sizeof(bl_path_table) % 8 == 0, "entries of an array are 8-byte aligned");
    const auto memory = TRY(ebpf::MapMemory::of(path));
    automaton.write(reinterpret_cast<bl_path_table*>(memory.bytes().data())[half]);
    return {};
}

Result<> Sensor::State::write_wants(const Capture& capture, std::uint32_t half,
                                    std::uint32_t always) {
    for (std::uint32_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        bl_want value{};
        value.flags = capture.kinds[kind].want;
        value.path_any = capture.kinds[kind].path_any | always;
        for (const KindInfo& info : kKinds) {
            if (info.kind != kind) continue;
            value.flags |= static_cast<std::uint32_t>(info.shape) << BL_WANT_SHAPE_SHIFT;
            if (links.contains("enter " + std::string(info.name))) value.flags |= BL_WANT_ENTERED;
        }
        if (is_process_kind(static_cast<std::uint16_t>(kind))) value.flags |= BL_WANT_ON;
        const std::uint32_t index = half * BL_EVENT_KIND_MAX + kind;
        TRY(ebpf::map_update(want, &index, &value));
    }
    return {};
}

Result<> Sensor::State::write_comms(const Capture& capture, std::uint32_t half) {
    TRY(forget_comms(half)); // of a change that failed
    for (std::uint32_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        for (const std::string& name : capture.kinds[kind].comms) {
            // The kernel keeps 15 characters.
            comms[half].emplace(kind, name.substr(0, sizeof(bl_comm_key::comm) - 1));
        }
    }
    for (const auto& [kind, name] : comms[half]) {
        bl_comm_key key{};
        key.kind = kind;
        std::memcpy(key.comm, name.data(), name.size());
        std::uint32_t halves = 1U << half;
        if (comms[1 - half].contains({kind, name})) halves |= 1U << (1 - half);
        TRY(ebpf::map_update(comm, &key, &halves));
    }
    return {};
}

Result<> Sensor::State::forget_comms(std::uint32_t half) {
    for (const auto& [kind, name] : comms[half]) {
        bl_comm_key key{};
        key.kind = kind;
        std::memcpy(key.comm, name.data(), name.size());
        const std::uint32_t halves = 1U << (1 - half);
        if (comms[1 - half].contains({kind, name}))
            TRY(ebpf::map_update(comm, &key, &halves));
        else
            TRY(ebpf::map_erase(comm, &key));
    }
    comms[half].clear();
    return {};
}

void Sensor::State::write_numbers(const Capture& capture) {
    const auto table = std::make_unique<bl_syscall_table>();
    const auto wanted = [&](std::uint16_t kind) {
        const std::uint32_t flags = capture.kinds[kind].want;
        if ((flags & BL_WANT_ON) == 0) return false;
        // A new image is reported by the process sensor: only failures are left for this one.
        const bool exec = kind == BL_EVENT_execve || kind == BL_EVENT_execveat;
        return !exec || (flags & BL_WANT_SUCCESS) == 0;
    };
    const auto set64 = [&](unsigned number, std::uint16_t kind) {
        if (wanted(kind)) table->kinds[number] |= kind;
    };
    const auto set32 = [&](unsigned number, std::uint16_t kind) {
        if (wanted(kind)) table->kinds[number] |= static_cast<std::uint16_t>(kind << 8);
    };
    for (const KindInfo& info : kKinds) {
        if (info.number64 >= 0) set64(static_cast<unsigned>(info.number64), info.kind);
        if (info.number32 >= 0) set32(static_cast<unsigned>(info.number32), info.kind);
    }
    for (const OtherNumber& other : kOther32)
        set32(other.number, other.kind);
    for (const OtherNumber& other : kOtherX32)
        set64(other.number, other.kind);
    bool socketcall = false;
    for (const OtherNumber& other : kSocketcalls) {
        if (!wanted(other.kind)) continue;
        table->socketcall[other.number] = static_cast<std::uint8_t>(other.kind);
        socketcall = true;
    }
    if (socketcall) table->kinds[102] |= BL_SYSCALL_SOCKETCALL << 8;
    // Each cell is one store: a call meanwhile sees the old or the new kind.
    for (unsigned i = 0; i < sizeof table->socketcall; ++i)
        __atomic_store_n(&numbers->socketcall[i], table->socketcall[i], __ATOMIC_RELAXED);
    for (unsigned i = 0; i < BL_SYSCALL_MAX; ++i)
        __atomic_store_n(&numbers->kinds[i], table->kinds[i], __ATOMIC_RELAXED);
}

Result<> Sensor::State::attach_one(const std::string& name, bool wanted, const ebpf::Object& object,
                                   std::string_view program, const std::string& tracepoint) {
    if (!wanted) {
        links.erase(name);
        return {};
    }
    if (links.contains(name)) return {};
    const int fd = TRY(object.program(program));
    Fd link =
        TRY(tracepoint.empty() ? ebpf::attach_tp_btf(fd) : ebpf::attach_tracepoint(fd, tracepoint));
    links.emplace(name, std::move(link));
    return {};
}

Result<> Sensor::State::attach(const Capture& capture) {
    for (const char* program : {"bl_on_exec", "bl_on_fork", "bl_on_exit", "bl_on_rename"})
        TRY(attach_one(std::string("process ") + program, true, process, program, ""));
    bool any_call = false, any_uring = false;
    for (const std::uint16_t kinds : numbers->kinds)
        any_call = any_call || kinds != 0;
    for (const KindInfo& info : kKinds) {
        const bool wanted = (capture.kinds[info.kind].want & BL_WANT_ON) != 0;
        any_uring = any_uring || (wanted && is_done_by_uring(info.kind));
        if (!is_copied_at_entry(info) || info.number64 < 0) continue;
        const std::string name(info.name);
        // The kernel names this one by another of its names.
        const std::string event = name == "umount2" ? "umount" : name;
        const auto done = attach_one("enter " + name, wanted, syscall, "bl_sys_enter",
                                     "syscalls/sys_enter_" + event);
        // A kernel without this call, or without these tracepoints: the text is read at the end only.
        if (!done) log_debug("no tracepoint", kv("kind", name), kv("why", done.error().message));
    }
    TRY(attach_one("syscall", any_call, syscall, "bl_sys_exit", ""));
    if (uring) TRY(attach_one("uring", any_uring, *uring, "bl_uring", ""));
    return {};
}

Sensor::Sensor(std::unique_ptr<State> state) : state_(std::move(state)) {}
Sensor::~Sensor() = default;

Result<std::unique_ptr<Sensor>> Sensor::load(const Options& options) {
    const bl_sensor_config config = TRY(config_of(options.scope_cgroup));
    const auto prepare = [&](ebpf::Object& object) -> Result<> {
        TRY(object.set_section(".rodata.config", bytes_of(config)));
        return object.set_max_entries("bl_scratch", ebpf::possible_cpus());
    };
    ebpf::Object process = TRY(ebpf::Object::open("process", elf_of(process_bpf__elf_bytes)));
    TRY(prepare(process));
    TRY(process.set_max_entries("bl_procs", options.procs_ring_bytes));
    TRY(process.set_max_entries("bl_events", options.events_ring_bytes));
    TRY(process.load());
    // The others work on the same maps.
    const auto share = [&](ebpf::Object& object) -> Result<> {
        TRY(prepare(object));
        for (const char* map : {"bl_procs", "bl_events", "bl_sensor_stat", "bl_sensor", "bl_want",
                                "bl_comm", "bl_name", "bl_scope", "bl_scratch"}) {
            TRY(object.share_map(map, TRY(process.map(map))));
        }
        return {};
    };
    ebpf::Object syscall = TRY(ebpf::Object::open("syscall", elf_of(syscall_bpf__elf_bytes)));
    TRY(share(syscall));
    TRY(syscall.load());
    const auto share_all = [&](ebpf::Object& object) -> Result<> {
        TRY(share(object));
        for (const char* map : {"bl_path", "bl_peer"})
            TRY(object.share_map(map, TRY(syscall.map(map))));
        return object.load();
    };
    std::unique_ptr<ebpf::Object> uring;
    {
        ebpf::Object object = TRY(ebpf::Object::open("uring", elf_of(uring_bpf__elf_bytes)));
        // Its name before 6.4.
        if (!ebpf::has_tracepoint("io_uring_submit_req"))
            (void)object.set_target("bl_uring", "io_uring_submit_sqe");
        if (const auto done = share_all(object); done)
            uring = std::make_unique<ebpf::Object>(std::move(object));
        else
            log_warn("io_uring is not watched", kv("why", done.error().message));
    }
    auto state = std::make_unique<State>(std::move(process), std::move(syscall));
    state->uring = std::move(uring);
    TRY(state->find_maps());
    return std::unique_ptr<Sensor>(new Sensor(std::move(state)));
}

Result<> Sensor::set(const Capture& capture) {
    State& state = *state_;
    if (state.in_force == capture) return {};
    state.in_force.reset();
    const std::uint32_t half = 1 - state.generation;
    const auto automaton = PathAutomaton::build(capture.paths);
    if (automaton.cut() != 0)
        log_warn("more path texts than the kernel side holds: some match more than they say",
                 kv("texts", automaton.cut()));
    wait_for_programs();
    TRY(state.write_paths(automaton, half));
    TRY(state.write_wants(capture, half, automaton.always()));
    TRY(state.write_comms(capture, half));

    const bl_sensor switched{half, state.epoch};
    const std::uint32_t zero = 0;
    TRY(ebpf::map_update(state.sensor, &zero, &switched));
    state.generation = half;
    state.write_numbers(capture);
    TRY(state.attach(capture));
    // Which kinds are copied at entry is known only now.
    TRY(state.write_wants(capture, half, automaton.always()));
    wait_for_programs();
    TRY(state.forget_comms(1 - half));
    state.texts_cut = automaton.cut();
    state.in_force = capture;
    return {};
}

void Sensor::stop() {
    state_->links.clear();
    ++state_->epoch; // nobody follows the names of processes now
    state_->in_force.reset();
}

Result<> Sensor::set_scope(std::uint64_t cgroup, std::uint32_t flags) {
    if (flags == 0) return ebpf::map_erase(state_->scope, &cgroup);
    return ebpf::map_update(state_->scope, &cgroup, &flags);
}

Result<> Sensor::tell_name(std::uint32_t pid, std::uint64_t start_ns, std::string_view comm) {
    bl_name name{};
    name.start_ns = start_ns;
    name.epoch = state_->epoch;
    std::memcpy(name.comm, comm.data(), std::min(comm.size(), sizeof name.comm - 1));
    bl_name known{};
    // Of a time when the sensors ran before. Not replaced: the sensors may do so at this moment, and they know better.
    if (name.epoch != kFirstEpoch && TRY(ebpf::map_lookup(state_->names, &pid, &known)) &&
        known.epoch != name.epoch)
        TRY(ebpf::map_erase(state_->names, &pid));
    return ebpf::map_insert(state_->names, &pid, &name);
}

int Sensor::procs_ring() const { return state_->procs_ring; }
int Sensor::events_ring() const { return state_->events_ring; }

Result<std::vector<Sensor::Stat>> Sensor::stats() const {
    const auto sums = TRY(ebpf::per_cpu_sums(state_->stat));
    std::vector<Stat> out;
    for (std::size_t i = 0; i < kStatNames.size() && i < sums.size(); ++i)
        out.push_back({kStatNames[i], sums[i]});
    return out;
}

std::vector<std::string> Sensor::attached() const {
    std::vector<std::string> names;
    for (const auto& [name, link] : state_->links)
        names.push_back(name);
    return names;
}

std::size_t Sensor::texts_cut() const { return state_->texts_cut; }

} // namespace beeline::security
