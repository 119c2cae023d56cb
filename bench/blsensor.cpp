// What the security sensors add to system calls that no rule wants, or that the kernel side filters: the same loops with the
// sensors attached and detached in turn, by CPU time, on one CPU.
//   blsensor [ROUNDS]
//   blsensor hold SECONDS    only keeps the sensors attached and the rings empty, for a profiler
// Prints one JSON object a case: nanoseconds an operation without sensors, and what they add (medians).
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string_view>
#include <vector>

#include "ebpf/merged_ring.h"
#include "security/sensor/sensor.h"

using namespace beeline;
using namespace beeline::security;

namespace {

// About what the official rules need: some thirty kinds, a hundred and fifty texts of paths.
Capture capture() {
    Capture out;
    const auto want = [&](int kind, std::uint32_t flags) {
        out.kinds[static_cast<std::size_t>(kind)].want = BL_WANT_ON | flags;
    };
    for (const int kind :
         {BL_EVENT_open, BL_EVENT_openat, BL_EVENT_openat2, BL_EVENT_creat, BL_EVENT_rename,
          BL_EVENT_renameat, BL_EVENT_renameat2, BL_EVENT_unlink, BL_EVENT_unlinkat, BL_EVENT_link,
          BL_EVENT_linkat, BL_EVENT_symlink, BL_EVENT_symlinkat, BL_EVENT_mkdir, BL_EVENT_mkdirat,
          BL_EVENT_chmod, BL_EVENT_fchmodat})
        want(kind, BL_WANT_PATH | BL_WANT_SUCCESS);
    for (const int kind : {BL_EVENT_connect, BL_EVENT_accept, BL_EVENT_accept4, BL_EVENT_listen})
        want(kind, BL_WANT_SUCCESS | BL_WANT_INET);
    for (const int kind : {BL_EVENT_sendto, BL_EVENT_sendmsg, BL_EVENT_recvfrom, BL_EVENT_recvmsg})
        want(kind, BL_WANT_SUCCESS | BL_WANT_INET | BL_WANT_NOT_TCP);
    for (const int kind :
         {BL_EVENT_setuid, BL_EVENT_setns, BL_EVENT_unshare, BL_EVENT_mount, BL_EVENT_ptrace,
          BL_EVENT_bpf, BL_EVENT_userfaultfd, BL_EVENT_init_module, BL_EVENT_memfd_create,
          BL_EVENT_dup2, BL_EVENT_dup3})
        want(kind, BL_WANT_SUCCESS);
    const std::uint32_t write = BL_CLASS_WRITE | BL_CLASS_OTHER, read = BL_CLASS_READ;
    for (const char* text :
         {"/etc/", "/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/boot/", "/root/", "/lib/",
          "/lib64/", "/usr/lib/", "/usr/local/bin/", "/usr/local/lib/"})
        out.paths.push_back({text, true, false, write});
    for (const char* text :
         {"/etc/shadow", "/etc/sudoers", "/etc/pam.conf", "/etc/security/pwquality.conf"})
        out.paths.push_back({text, true, true, read});
    for (const char* text : {"/environ", "/mem", "/.bash_history", "/.zshrc", "/.bashrc", "/id_rsa",
                             "/authorized_keys", "/kubeconfig", ".pem", ".key"})
        out.paths.push_back({text, false, true, read | write});
    for (const char* text : {"/.ssh/", "/.aws/", "/.kube/", "/secrets/"})
        out.paths.push_back({text, false, false, read | write});
    for (int i = 0; i < 120; ++i)
        out.paths.push_back({"/var/lib/service-" + std::to_string(i) + "/credentials", true,
                             i % 2 == 0, i % 3 == 0 ? read : write});
    return out;
}

double thread_ns() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

double process_ns() {
    rusage own{}, children{};
    getrusage(RUSAGE_SELF, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    const auto ns = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_usec) * 1e3;
    };
    return ns(own.ru_utime) + ns(own.ru_stime) + ns(children.ru_utime) + ns(children.ru_stime);
}

constexpr int kBlocks = 20;

struct Case {
    const char* name;
    int count;
    std::function<double()> clock;
    std::function<void()> step;
};

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

bool own_network() {
    if (unshare(CLONE_NEWNET) != 0) return false;
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ifreq request{};
    std::snprintf(request.ifr_name, sizeof request.ifr_name, "lo");
    request.ifr_flags = IFF_UP;
    const bool up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return up;
}

} // namespace

int main(int argc, char** argv) {
    const bool hold = argc > 2 && std::string_view(argv[1]) == "hold";
    const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(1, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0 || !own_network()) {
        std::perror("blsensor");
        return 1;
    }
    auto sensor = Sensor::load({});
    if (!sensor) {
        std::fprintf(stderr, "blsensor: %s\n", sensor.error().message.c_str());
        return 1;
    }
    const int maps[] = {(*sensor)->procs_ring(), (*sensor)->events_ring()};
    auto ring = ebpf::MergedRing::open(maps);
    if (!ring) return 1;

    if (hold) {
        if (!(*sensor)->set(capture())) return 1;
        for (int i = 0; i < std::atoi(argv[2]) * 100; ++i) {
            usleep(10000);
            (*ring)->consume([](std::span<const std::byte>) {});
        }
        return 0;
    }
    const int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    const char* file = "/tmp/blsensor-file";
    close(open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(7777);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (bind(server, any, sizeof address) != 0 || listen(server, 16) != 0) {
        std::perror("blsensor");
        return 1;
    }
    char* const arguments[] = {const_cast<char*>("true"), nullptr};
    char* const environment[] = {nullptr};
    const std::vector<Case> cases = {
        {"read of one byte", 100000, thread_ns,
         [&] {
             char byte = 0;
             if (read(zero, &byte, 1) != 1) std::abort();
         }},
        {"open and close", 20000, thread_ns, [&] { close(open(file, O_RDONLY | O_CLOEXEC)); }},
        {"connect, accept and close", 2000, thread_ns,
         [&] {
             const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
             const linger now{1, 0};
             setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
             if (connect(client, any, sizeof address) != 0) std::abort();
             close(accept4(server, nullptr, nullptr, SOCK_CLOEXEC));
             close(client);
         }},
        {"fork, exec and wait", 200, process_ns,
         [&] {
             pid_t child = 0;
             if (posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments, environment) != 0)
                 std::abort();
             waitpid(child, nullptr, 0);
         }},
    };
    const Capture wanted = capture();
    for (const Case& item : cases) {
        std::vector<double> off, on, added;
        for (int round = 0; round < rounds; ++round) {
            double time[2]{};
            for (const bool with : {false, true}) {
                if (with) {
                    if (const auto set = (*sensor)->set(wanted); !set) {
                        std::fprintf(stderr, "blsensor: %s\n", set.error().message.c_str());
                        return 1;
                    }
                }
                for (int i = 0; i < item.count / 10; ++i)
                    item.step();
                // Whatever disturbs only adds: of many short blocks the fastest is nearest to the truth.
                double best = 1e18;
                const int steps = item.count / kBlocks;
                for (int block = 0; block < kBlocks; ++block) {
                    const double start = item.clock();
                    for (int i = 0; i < steps; ++i)
                        item.step();
                    best = std::min(best, (item.clock() - start) / steps);
                }
                time[with ? 1 : 0] = best;
                (*ring)->consume([](std::span<const std::byte>) {});
                (*sensor)->stop();
            }
            off.push_back(time[0]);
            on.push_back(time[1]);
            added.push_back(time[1] - time[0]);
        }
        std::printf(
            "{\"bench\": \"sensor\", \"case\": \"%s\", \"unit\": \"ns\", \"baseline\": %.1f, "
            "\"value\": %.1f, \"added\": %.1f}\n",
            item.name, median(off), median(on), median(added));
        std::fflush(stdout);
    }
    if (const auto stats = (*sensor)->stats()) {
        for (const auto& stat : *stats) {
            if (stat.value != 0)
                std::fprintf(stderr, "%.*s %llu\n", static_cast<int>(stat.name.size()),
                             stat.name.data(), static_cast<unsigned long long>(stat.value));
        }
    }
    unlink(file);
    return 0;
}
