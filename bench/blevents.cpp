// A stream of events of a busy machine, for measuring what the agent does with it.
//   blevents write FILE [EVENTS]      a recording: 2,000 processes in 50 containers and on the host, then the mix
//   blevents read FILE [REPEAT]       nanoseconds an event on one core for decode; decode and tree; decode, tree and all rules:
//                                     one JSON object a line
// The mix is that of bl rules: opens 60 %, connects 10 %, exec, clone and exit 15 %, others 15 %. Processes that fork and end
// are new ones, so that the tree grows and forgets as it does in life.
#include <fcntl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "net/address.h"
#include "security/engine/engine.h"
#include "security/events/record_builder.h"
#include "security/events/recording.h"

using namespace beeline;
using namespace beeline::security;

namespace {

constexpr unsigned kProcesses = 2000;
constexpr unsigned kContainers = 50;
constexpr std::uint64_t kSecond = 1'000'000'000;
constexpr std::int64_t kBoot = 1'700'000'000'000'000'000;

double cpu_now() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Random {
    std::uint64_t state = 1;
    unsigned below(unsigned limit) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        return static_cast<unsigned>(state >> 33) % limit;
    }
};

struct Proc {
    std::uint32_t pid = 0, ppid = 0, uid = 0;
    std::uint64_t start_ns = 0, parent_start_ns = 0, cgroup = 0;
    unsigned name = 0;
};

constexpr const char* kNames[] = {"gcc",          "cc1plus", "as",      "nginx",
                                  "haproxy",      "envoy",   "kubelet", "postgres",
                                  "redis-server", "app",     "bash",    "python3"};
constexpr const char* kPaths[] = {"/usr/lib/x86_64-linux-gnu/libc.so.6",
                                  "/etc/ld.so.cache",
                                  "/usr/include/c++/12/bits/stl_vector.h",
                                  "/proc/meminfo",
                                  "/home/alice/work/project/src/main.cpp",
                                  "/usr/share/locale/locale.alias",
                                  "/var/lib/app/data/table.db",
                                  "/sys/fs/cgroup/memory.current",
                                  "/tmp/cc1234.s",
                                  "/dev/null"};

class Stream {
public:
    explicit Stream(std::string& out) : out_(out) {}

    void processes() {
        for (unsigned i = 0; i < kProcesses; ++i) {
            Proc process = make(i < 20 ? Proc{} : live_[random_.below(std::min(i, 400U))]);
            process.cgroup = i % 4 == 0 ? 1 : 100 + i % kContainers;
            process.name = random_.below(12);
            live_.push_back(process);
            image(BL_EVENT_proc, process);
        }
    }

    void event() {
        time_ns_ += 500;
        const unsigned at = random_.below(static_cast<unsigned>(live_.size()));
        const unsigned roll = random_.below(100);
        const Proc process = live_[at];
        const char* path = kPaths[random_.below(10)];
        if (roll < 45) {
            open(process, path, O_RDONLY | O_CLOEXEC, path);
        } else if (roll < 52) {
            open(process, "x.o", O_WRONLY | O_CREAT, "/home/alice/work/x.o");
        } else if (roll < 56) {
            open(process, "/lib/libm.so.6", O_RDONLY | O_CLOEXEC, "/usr/lib/libm.so.6");
        } else if (roll < 60) {
            open(process, path, O_RDONLY, nullptr);
        } else if (roll < 70) {
            socket(BL_EVENT_connect, process, 6);
        } else if (roll < 75) {
            image(BL_EVENT_execve, process);
        } else if (roll < 80) {
            clone(process);
        } else if (roll < 85) {
            end(at);
        } else if (roll < 90) {
            put(begin(BL_EVENT_unlink, process).text(BL_STR_PATH, path));
        } else if (roll < 95) {
            socket(BL_EVENT_sendto, process, 17);
        } else {
            begin(BL_EVENT_setuid, process).head().num[0] = 1000;
            put(record_);
        }
    }

private:
    Proc make(const Proc& parent) {
        Proc out = parent;
        out.pid = next_pid_++;
        out.ppid = parent.pid;
        out.parent_start_ns = parent.start_ns;
        out.start_ns = time_ns_ + out.pid * 64 + 1;
        out.uid = out.pid % 3 == 0 ? 0 : 1000;
        return out;
    }
    RecordBuilder& begin(std::uint16_t kind, const Proc& process) {
        auto& head = record_.begin(kind).head();
        head.time_ns = time_ns_;
        head.start_ns = process.start_ns;
        head.cgroup = process.cgroup;
        head.pid = head.tid = process.pid;
        head.uid = head.gid = process.uid;
        return record_;
    }
    void put(RecordBuilder& record) { out_ += frame(FrameType::event, record.finish()); }

    static bl_event_task task_of(const Proc& process) {
        bl_event_task task{};
        task.start_ns = process.start_ns;
        task.parent_start_ns = process.parent_start_ns;
        task.cgroup = process.cgroup;
        task.pid = task.vpid = task.pgid = task.vpgid = task.sid = task.vsid = process.pid;
        task.ppid = process.ppid;
        task.uid = task.gid = process.uid;
        task.loginuid = 0xffffffff;
        task.exe.ino = 1000 + process.name;
        task.exe.mode = 0100755;
        std::strncpy(task.comm, kNames[process.name], sizeof task.comm - 1);
        return task;
    }
    void image(std::uint16_t kind, const Proc& process) {
        const std::string name = kNames[process.name];
        std::string arguments =
            name + '\0' + "-c" + '\0' + "some/file/name.txt" + '\0' + "--option=";
        arguments += std::to_string(process.pid) + '\0';
        put(begin(kind, process)
                .text(BL_STR_PATH, "/usr/bin/" + name)
                .text(BL_STR_RESOLVED, "/usr/bin/" + name)
                .text(BL_STR_PATH2, arguments)
                .text(BL_STR_BASE, "/home/alice/work")
                .facts(task_of(process)));
    }
    void clone(const Proc& process) {
        const Proc child = make(process);
        begin(BL_EVENT_clone, process).head().result = child.pid;
        put(record_.facts(task_of(child)));
        live_.push_back(child);
    }
    void end(unsigned at) {
        if (live_.size() <= kProcesses) return clone(live_[at]);
        const unsigned young = 400 + at % (static_cast<unsigned>(live_.size()) - 400);
        put(begin(BL_EVENT_procexit, live_[young]));
        live_[young] = live_.back();
        live_.pop_back();
    }
    void open(const Proc& process, std::string_view asked, std::uint64_t flags,
              const char* reached) {
        auto& head = begin(BL_EVENT_openat, process).head();
        head.num[0] = static_cast<std::uint64_t>(-100);
        head.num[2] = flags;
        head.result = reached != nullptr ? 3 : -2;
        record_.text(BL_STR_PATH, asked);
        if (asked.front() != '/') record_.text(BL_STR_BASE, "/home/alice/work");
        if (reached != nullptr) {
            bl_event_file file{};
            file.ino = 7;
            file.mode = 0100644;
            record_.text(BL_STR_RESOLVED, reached).facts(file);
        }
        put(record_);
    }
    void socket(std::uint16_t kind, const Proc& process, std::uint16_t protocol) {
        bl_event_sock facts{};
        const auto set = [](bl_addr& to, std::string_view text) {
            if (const auto ip = net::Ip::parse(text)) std::memcpy(to.byte, ip->bytes.data(), 16);
        };
        set(facts.local, "10.0.0.5");
        set(facts.remote, "10.0.3.7");
        facts.local_port = __builtin_bswap16(40000);
        facts.remote_port = __builtin_bswap16(protocol == 6 ? 443 : 53);
        facts.family = 2;
        facts.type = protocol == 6 ? 1 : 2;
        facts.protocol = protocol;
        facts.flags = BL_SOCK_CONNECTED;
        begin(kind, process).head().num[0] = 5;
        put(record_.facts(facts));
    }

    std::string& out_;
    RecordBuilder record_;
    Random random_;
    std::vector<Proc> live_;
    std::uint32_t next_pid_ = 100;
    std::uint64_t time_ns_ = 1000 * kSecond;
};

std::string context() {
    RecordingContext out;
    out.hostname = "host1";
    out.boot_time_ns = kBoot;
    out.users = {{0, "root"}, {1000, "alice"}};
    for (unsigned i = 0; i < kContainers; ++i) {
        auto container = std::make_shared<Container>();
        container->id = fmt::format("{:012x}", i + 1);
        container->full_id = fmt::format("{:064x}", i + 1);
        container->runtime = "containerd";
        container->complete = true;
        container->name = "web";
        container->image = "example.org/shop/web:1.2";
        container->image_repository = "example.org/shop/web";
        container->image_tag = "1.2";
        out.placements[100 + i] = {std::move(container), ""};
    }
    return to_json(out);
}

int write_to(const char* path, std::uint64_t count) {
    std::string out = recording_header();
    out += frame(FrameType::context, context());
    Stream stream(out);
    stream.processes();
    for (std::uint64_t i = 0; i < count; ++i)
        stream.event();
    std::FILE* file = std::fopen(path, "w");
    if (file == nullptr || std::fwrite(out.data(), 1, out.size(), file) != out.size() ||
        std::fclose(file) != 0) {
        std::perror(path);
        return 1;
    }
    return 0;
}

enum class Depth { decode, tree, rules };

struct Replay {
    RecordingContext context;
    std::vector<std::span<const std::byte>> records;
    rules::RuleSet rules;
};

// Nanoseconds an event; the tree starts empty, and the processes that there are at first do not count.
double pass(const Replay& replay, Depth depth, std::uint64_t& matches) {
    ProcessTree tree({.boot_time_ns = replay.context.boot_time_ns}, [&](std::uint64_t cgroup) {
        const auto found = replay.context.placements.find(cgroup);
        return found == replay.context.placements.end() ? Placement{} : found->second;
    });
    auto host = std::make_shared<HostFacts>();
    host->hostname = replay.context.hostname;
    host->boot_time_ns = replay.context.boot_time_ns;
    host->users = replay.context.users;
    EngineOptions options;
    options.selections = {{.enable = true, .rule = "*", .tag = ""}};
    auto engine = Engine::compile(replay.rules, options, host, tree);
    if (!engine) std::exit(2);
    const Engine::Sink sink = [&](model::Alert&&) { ++matches; };
    std::uint64_t refused = 0;
    const auto take = [&](std::span<const std::byte> record) {
        Event event;
        if (decode(record, event) != DecodeError::none) {
            ++refused;
            return;
        }
        if (depth == Depth::decode) return;
        tree.apply(event);
        if (depth == Depth::rules) (*engine)->evaluate(event, sink);
    };
    const std::size_t first = std::min<std::size_t>(kProcesses, replay.records.size());
    for (std::size_t i = 0; i < first; ++i)
        take(replay.records[i]);
    matches = 0;
    const double start = cpu_now();
    for (std::size_t i = first; i < replay.records.size(); ++i)
        take(replay.records[i]);
    const double used = cpu_now() - start;
    if (refused != 0) std::fprintf(stderr, "blevents: %zu refused\n", std::size_t{refused});
    return used * 1e9 / static_cast<double>(replay.records.size() - first);
}

int read_from(const char* path, int repeat) {
    auto reader = RecordingReader::open(path);
    if (!reader) {
        std::fprintf(stderr, "blevents: %s\n", reader.error().message.c_str());
        return 1;
    }
    Replay replay;
    while (const auto frame = reader->next()) {
        if (frame->type == FrameType::event) replay.records.push_back(frame->payload);
        if (frame->type != FrameType::context) continue;
        if (auto context = context_from_json(frame->text())) replay.context = std::move(*context);
    }
    const std::string folder = BEELINE_RULES;
    auto files = rules::read_files({folder});
    if (!files) return 2;
    auto loaded = rules::load(*files, Engine::catalog());
    if (!loaded.successful()) return 2;
    replay.rules = std::move(loaded.set);
    struct Case {
        const char* name;
        Depth depth;
        std::vector<double> values;
        std::uint64_t matches = 0;
    };
    Case cases[] = {{"decode", Depth::decode, {}},
                    {"decode and tree", Depth::tree, {}},
                    {"decode, tree and 93 rules", Depth::rules, {}}};
    for (int run = 0; run <= repeat; ++run)
        for (Case& each : cases) {
            const double value = pass(replay, each.depth, each.matches);
            if (run != 0) each.values.push_back(value);
        }
    for (Case& each : cases) {
        std::sort(each.values.begin(), each.values.end());
        std::printf("{\"case\": \"%s\", \"value\": %.1f, \"least\": %.1f, \"worst\": %.1f, "
                    "\"matches\": %zu, \"events\": %zu, \"runs\": %zu}\n",
                    each.name, each.values[each.values.size() / 2], each.values.front(),
                    each.values.back(), std::size_t{each.matches}, replay.records.size(),
                    each.values.size());
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view verb = argc > 2 ? argv[1] : "";
    const int number = argc > 3 ? std::atoi(argv[3]) : 0;
    if (verb == "write")
        return write_to(argv[2], number > 0 ? static_cast<std::uint64_t>(number) : 500'000);
    if (verb == "read") return read_from(argv[2], number > 0 ? number : 7);
    std::fprintf(stderr, "usage: blevents write FILE [EVENTS] | read FILE [REPEAT]\n");
    return 2;
}
