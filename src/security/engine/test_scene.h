// For tests: a small machine with processes and containers, and events on it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "net/address.h"
#include "security/engine/engine.h"
#include "security/events/test_records.h"

namespace beeline::security::testing {

inline constexpr std::int64_t kBoot = 1'700'000'000'000'000'000;
inline constexpr std::int64_t kNow = kBoot + 1'000'000'000'000;

struct ProcessSpec {
    std::string name = "cat";
    std::string exe;     // name when empty
    std::string exepath; // /usr/bin/NAME when empty
    std::vector<std::string> args;
    std::vector<std::string> env;
    std::string cwd = "/";
    std::uint32_t uid = 0;
    std::uint32_t loginuid = 0xffffffff;
    std::uint32_t tty = 0;
    std::uint16_t image_flags = 0;
    std::uint64_t capabilities = 0;
    std::uint32_t vpid = 0;
    std::uint32_t vpgid = 0;
    std::int64_t age_ns = 3600LL * 1'000'000'000;
    bool in_container = false;
    std::vector<std::string> ancestors; // names, the parent first
};

class Machine {
public:
    Machine()
        : tree(ProcessTree::Options{.boot_time_ns = kBoot},
               [](std::uint64_t) { return Placement{}; }) {
        auto facts = std::make_shared<HostFacts>();
        facts->hostname = "host1";
        facts->boot_time_ns = kBoot;
        facts->users = {{0, "root"}, {1, "daemon"}, {33, "www-data"}, {1000, "alice"}};
        facts->groups = {{0, "root"}, {1000, "alice"}};
        facts->resolved = {{"kubernetes.default.svc.cluster.local", {"10.96.0.1"}},
                           {"asia1.ethpool.org", {"203.0.113.9"}},
                           {"xmr.crypto-pool.fr", {"203.0.113.9"}}};
        host = std::move(facts);
        container = std::make_shared<Container>();
        container->id = "0123456789ab";
        container->full_id = "0123456789abcdef";
        container->runtime = "containerd";
        container->complete = true;
        container->name = "web";
        container->image = "example.org/shop/web:1.2";
        container->image_repository = "example.org/shop/web";
        container->image_tag = "1.2";
        container->pod_namespace = "shop";
        container->pod_name = "web-1";
        container->users = {{0, "root"}, {33, "www-data"}, {1000, "app"}};
        container->labels = {{"app", "web"}};
    }

    const Process& make(const ProcessSpec& spec) {
        const Process* parent = nullptr;
        for (auto at = spec.ancestors.rbegin(); at != spec.ancestors.rend(); ++at) {
            ProcessSpec one;
            one.name = *at;
            if (const auto blank = at->find(' '); blank != std::string::npos) {
                one.name = at->substr(0, blank);
                one.args = {at->substr(blank + 1)};
            }
            one.in_container = spec.in_container;
            parent = &add(one, parent);
        }
        return add(spec, parent);
    }

    // The bytes live as long as the machine.
    Event event(const Process& process, RecordBuilder builder) {
        builder.process(process.key.pid, process.key.start_ns).user(process.uid, process.uid);
        records.push_back(builder.build());
        Event out;
        if (decode(records.back().bytes(), out) != DecodeError::none) std::abort();
        out.number = ++number;
        out.time_ns = kNow;
        out.process = &process;
        return out;
    }

    ProcessTree tree;
    std::shared_ptr<const HostFacts> host;
    std::shared_ptr<Container> container;
    std::deque<Process> processes;
    std::deque<Record> records;
    std::uint64_t number = 0;

private:
    const Process& add(const ProcessSpec& spec, const Process* parent) {
        Process& p = processes.emplace_back();
        p.key = {.pid = static_cast<std::uint32_t>(1000 + processes.size()),
                 .start_ns = 5'000'000'000 + processes.size()};
        p.parent = parent;
        auto image = std::make_shared<Image>();
        image->exe = spec.exe.empty() ? spec.name : spec.exe;
        image->exepath = spec.exepath.empty() ? "/usr/bin/" + spec.name : spec.exepath;
        image->argv = image->exe + '\0';
        for (const std::string& arg : spec.args) {
            image->argv += arg + '\0';
            image->args += (image->args.empty() ? "" : " ") + arg;
        }
        for (const std::string& entry : spec.env)
            image->env += entry + '\0';
        image->flags = spec.image_flags;
        image->ino = 42;
        image->ctime_ns = static_cast<std::uint64_t>(kBoot);
        image->mtime_ns = static_cast<std::uint64_t>(kBoot) - 1;
        p.name = spec.name;
        p.cmdline = spec.name + (image->args.empty() ? "" : " " + image->args);
        p.image = std::move(image);
        p.cwd = spec.cwd;
        p.uid = p.gid = spec.uid;
        p.loginuid = spec.loginuid;
        p.tty = spec.tty;
        p.cap_effective = p.cap_permitted = spec.capabilities;
        p.vpid = spec.vpid != 0 ? spec.vpid : p.key.pid;
        p.vpgid = spec.vpgid != 0 ? spec.vpgid : p.vpid;
        p.vsid = p.sid = p.key.pid;
        p.ppid = parent == nullptr ? 0 : parent->key.pid;
        p.started_ns = kNow - spec.age_ns;
        if (spec.in_container) p.container = container;
        return p;
    }
};

// An openat() of `path`; `reached`: the file, when it succeeded.
inline RecordBuilder open_of(std::string_view path, std::uint64_t flags, std::int64_t result = 3,
                             std::string_view reached = {}, std::uint16_t file_flags = 0,
                             std::uint64_t mode = 0, std::uint16_t file_mode = 0100644) {
    RecordBuilder out(BL_EVENT_openat);
    out.num(0, static_cast<std::uint64_t>(-100)).num(2, flags).num(3, mode).result(result);
    out.text(BL_STR_PATH, path);
    if (path.empty() || path.front() != '/') out.text(BL_STR_BASE, "/");
    if (result >= 0) {
        out.text(BL_STR_RESOLVED, reached.empty() ? path : reached);
        bl_event_file file{};
        file.ino = 7;
        file.mode = file_mode;
        file.flags = file_flags;
        out.facts(file);
    }
    return out;
}

inline bl_addr address_of(std::string_view text) {
    bl_addr out{};
    const auto ip = net::Ip::parse(text);
    if (ip) std::memcpy(out.byte, ip->bytes.data(), 16);
    return out;
}

inline bl_event_sock socket_of(std::string_view local, unsigned local_port, std::string_view remote,
                               unsigned remote_port, unsigned protocol = 6,
                               std::uint8_t flags = 0) {
    bl_event_sock out{};
    out.local = address_of(local);
    if (!remote.empty()) out.remote = address_of(remote);
    out.local_port = __builtin_bswap16(static_cast<std::uint16_t>(local_port));
    out.remote_port = __builtin_bswap16(static_cast<std::uint16_t>(remote_port));
    out.family = local.find(':') == std::string_view::npos ? 2 : 10;
    out.type = protocol == 6 ? 1 : 2;
    out.protocol = static_cast<std::uint16_t>(protocol);
    out.flags = flags;
    return out;
}

inline RecordBuilder connect_to(std::string_view remote, unsigned port, std::int64_t result = 0,
                                unsigned protocol = 6) {
    RecordBuilder out(BL_EVENT_connect);
    out.num(0, 5).result(result);
    out.facts(socket_of(remote.find(':') == std::string_view::npos ? "10.0.0.5" : "fd00::5", 40000,
                        remote, port, protocol, BL_SOCK_CONNECTED));
    return out;
}

} // namespace beeline::security::testing
