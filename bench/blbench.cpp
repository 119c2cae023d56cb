// Load for the benchmarks: one small server and its clients, blocking calls only, so that what is measured is the path.
//   blbench server RR CONNECT BULK           echo, accept-and-close, sink; on three TCP ports of all addresses
//   blbench rr ADDRESS PORT SECONDS          round trips of one byte a second
//   blbench connect ADDRESS PORT SECONDS     connections (to the end, by the server) a second
//   blbench bulk ADDRESS PORT SECONDS        bytes a second
//   blbench http ADDRESS PORT SECONDS        HTTP/1.1 requests on 16 connections that stay open: prints how many were
//                                            answered, the seconds and this process's CPU seconds
//   blbench loop read|open|exec|connect SECONDS    CPU nanoseconds of one turn: a 1-byte read; open and close of a file in
//                                            /tmp; fork, exec and wait of this program; TCP connect, accept and close.
//                                            Of many short blocks the lower quartile: whatever else runs only adds
//   blbench flood RATE SECONDS               events a second that a rule wants, by two processes (0: as many as they can):
//                                            prints how many were made and the seconds
//   blbench crowd COUNT                      COUNT processes that sleep, until stdin ends
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void die(const char* what) {
    std::fprintf(stderr, "blbench: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

double now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Address {
    sockaddr_storage storage{};
    socklen_t size = 0;
};

Address address(const char* text, const char* port) {
    Address out;
    const auto number = htons(static_cast<std::uint16_t>(std::atoi(port)));
    auto* four = reinterpret_cast<sockaddr_in*>(&out.storage);
    auto* six = reinterpret_cast<sockaddr_in6*>(&out.storage);
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = number;
        out.size = sizeof *four;
    } else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) {
        six->sin6_family = AF_INET6;
        six->sin6_port = number;
        out.size = sizeof *six;
    } else {
        die("bad address");
    }
    return out;
}

int dial(const Address& to) {
    const int fd = socket(to.storage.ss_family, SOCK_STREAM, 0);
    if (fd < 0) die("socket");
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to.storage), to.size) != 0) die("connect");
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int listener(const char* port) {
    const int fd = socket(AF_INET6, SOCK_STREAM, 0);
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const Address any = address("::", port);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&any.storage), any.size) != 0) die("bind");
    if (listen(fd, 1024) != 0) die("listen");
    return fd;
}

void echo(int fd) {
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char byte = 0;
    while (recv(fd, &byte, 1, 0) == 1 && send(fd, &byte, 1, 0) == 1) {
    }
    close(fd);
}

void sink(int fd) {
    std::vector<char> buffer(256 * 1024);
    while (recv(fd, buffer.data(), buffer.size(), 0) > 0) {
    }
    close(fd);
}

int serve(char** ports) {
    const auto accept_all = [](int fd, void (*handle)(int)) {
        for (;;) {
            const int client = accept(fd, nullptr, nullptr);
            if (client < 0) continue;
            std::thread(handle, client).detach();
        }
    };
    const int rr = listener(ports[0]);
    const int connects = listener(ports[1]);
    const int bulk = listener(ports[2]);
    std::thread(accept_all, rr, echo).detach();
    std::thread(accept_all, bulk, sink).detach();
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        const int client = accept(connects, nullptr, nullptr);
        if (client >= 0) close(client);
    }
}

int round_trips(const Address& to, double seconds) {
    const int fd = dial(to);
    char byte = 'x';
    std::uint64_t count = 0;
    const double start = now();
    double end = start;
    do {
        for (int i = 0; i < 64; ++i, ++count) {
            if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1) die("round trip");
        }
        end = now();
    } while (end - start < seconds);
    std::printf("%.1f\n", static_cast<double>(count) / (end - start));
    return 0;
}

int connections(const Address& to, double seconds) {
    char byte = 0;
    std::uint64_t count = 0;
    const double start = now();
    double end = start;
    do {
        for (int i = 0; i < 16; ++i, ++count) {
            const int fd = dial(to);
            // The server closes first and keeps the TIME_WAIT, so the client never runs out of ports.
            if (recv(fd, &byte, 1, 0) < 0) die("recv");
            close(fd);
        }
        end = now();
    } while (end - start < seconds);
    std::printf("%.1f\n", static_cast<double>(count) / (end - start));
    return 0;
}

int bulk(const Address& to, double seconds) {
    const int fd = dial(to);
    std::vector<char> buffer(64 * 1024, 'x');
    std::uint64_t bytes = 0;
    const double start = now();
    double end = start;
    do {
        const auto sent = send(fd, buffer.data(), buffer.size(), 0);
        if (sent < 0) die("send");
        bytes += static_cast<std::uint64_t>(sent);
        end = now();
    } while (end - start < seconds);
    std::printf("%.0f\n", static_cast<double>(bytes) / (end - start));
    return 0;
}

// CPU time of this process and of the children it waited for.
double cpu_ns() {
    timespec own{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    rusage usage{};
    getrusage(RUSAGE_CHILDREN, &usage);
    double total = static_cast<double>(own.tv_sec) * 1e9 + static_cast<double>(own.tv_nsec);
    for (const auto& time : {usage.ru_utime, usage.ru_stime})
        total += static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_usec) * 1e3;
    return total;
}

double own_cpu() {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// Reads one answer whole; its Content-Length says how long it is.
void read_answer(int fd) {
    char text[65536];
    std::size_t have = 0;
    std::size_t whole = 0;
    while (whole == 0 || have < whole) {
        const ssize_t got = recv(fd, text + have, sizeof text - have, 0);
        if (got <= 0) die("http answer");
        have += static_cast<std::size_t>(got);
        if (whole != 0) continue;
        const std::string_view head(text, have);
        const std::size_t end = head.find("\r\n\r\n");
        if (end == std::string_view::npos) continue;
        if (!head.starts_with("HTTP/1.1 200")) die("http status");
        const std::size_t length = head.find("ontent-"); // in either case
        if (length == std::string_view::npos) die("http length");
        const std::size_t at = head.find("ength: ", length);
        if (at == std::string_view::npos || at > end) die("http length");
        whole = end + 4 + static_cast<std::size_t>(std::atoi(text + at + 7));
    }
}

// All connections ask, then all answers are read: server and proxies have work for as long as the client has.
int http(const Address& to, double seconds) {
    constexpr std::string_view kRequest =
        "GET /api/v1/items/4711?page=2 HTTP/1.1\r\nHost: web.shop.svc.cluster.local\r\n"
        "User-Agent: blbench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\n"
        "X-Request-Id: 6f1c0e0a-8a55-4c0e-9d7a-0d4a2f0f6a11\r\n\r\n";
    std::vector<int> fds;
    for (int i = 0; i < 16; ++i)
        fds.push_back(dial(to));
    std::uint64_t count = 0;
    const double start = now();
    const double cpu = own_cpu();
    double end = start;
    do {
        for (const int fd : fds) {
            if (send(fd, kRequest.data(), kRequest.size(), 0) !=
                static_cast<ssize_t>(kRequest.size()))
                die("http request");
        }
        for (const int fd : fds) {
            read_answer(fd);
            ++count;
        }
        end = now();
    } while (end - start < seconds);
    std::printf("%llu %.6f %.6f\n", static_cast<unsigned long long>(count), end - start,
                own_cpu() - cpu);
    return 0;
}

void turn_exec(const char* self) {
    const pid_t child = vfork();
    if (child < 0) die("vfork");
    if (child == 0) {
        char* const arguments[] = {const_cast<char*>("blbench"), const_cast<char*>("nothing"),
                                   nullptr};
        char* const environment[] = {nullptr};
        execve(self, arguments, environment);
        _exit(127);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) die("exec");
}

void turn_connect(int listening, const sockaddr_in& to) {
    const int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) die("connect");
    const int server = accept(listening, nullptr, nullptr);
    // No TIME_WAIT: the ports would run out.
    const linger gone{.l_onoff = 1, .l_linger = 0};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &gone, sizeof gone);
    close(client);
    close(server);
}

int loop(std::string_view what, double seconds, const char* self) {
    const int zero = open("/dev/zero", O_RDONLY);
    char path[] = "/tmp/blbench-XXXXXX";
    close(mkstemp(path));
    const int listening = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof to;
    if (bind(listening, reinterpret_cast<const sockaddr*>(&to), size) != 0 ||
        listen(listening, 16) != 0)
        die("listen");
    getsockname(listening, reinterpret_cast<sockaddr*>(&to), &size);
    const int batch = what == "exec" ? 4 : what == "connect" ? 64 : 1024;
    std::vector<double> blocks;
    const double start = now();
    while (now() - start < seconds) {
        const double used = cpu_ns();
        for (int i = 0; i < batch; ++i) {
            char byte = 0;
            if (what == "read") {
                if (read(zero, &byte, 1) != 1) die("read");
            } else if (what == "open") {
                const int fd = open(path, O_RDONLY);
                if (fd < 0) die("open");
                close(fd);
            } else if (what == "exec") {
                turn_exec(self);
            } else {
                turn_connect(listening, to);
            }
        }
        blocks.push_back((cpu_ns() - used) / batch);
    }
    std::sort(blocks.begin(), blocks.end());
    const double result = blocks[blocks.size() / 4];
    unlink(path);
    std::printf("%.2f\n", result);
    return 0;
}

// One half of the flood: setuid() to the user that it is already. Returns how many.
std::uint64_t flood_half(double rate, double seconds) {
    const uid_t user = getuid();
    const double start = now();
    std::uint64_t made = 0;
    for (double time = start; time - start < seconds; time = now()) {
        const auto due = rate > 0 ? static_cast<std::uint64_t>((time - start) * rate) : made + 1024;
        if (made >= due) usleep(200);
        for (; made < due; ++made)
            if (syscall(SYS_setuid, user) != 0) die("setuid");
    }
    return made;
}

int flood(double rate, double seconds) {
    int channel[2];
    if (pipe(channel) != 0) die("pipe");
    const double start = now();
    const pid_t child = fork();
    if (child < 0) die("fork");
    const std::uint64_t mine = flood_half(rate / 2, seconds);
    if (child == 0) _exit(write(channel[1], &mine, sizeof mine) == sizeof mine ? 0 : 1);
    std::uint64_t other = 0;
    if (read(channel[0], &other, sizeof other) != sizeof other) die("flood");
    waitpid(child, nullptr, 0);
    std::printf("%llu %.3f\n", static_cast<unsigned long long>(mine + other), now() - start);
    return 0;
}

int crowd(int count) {
    std::vector<pid_t> children;
    for (int i = 0; i < count; ++i) {
        const pid_t child = fork();
        if (child < 0) break;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        children.push_back(child);
    }
    std::printf("%zu\n", children.size());
    std::fflush(stdout);
    char byte = 0;
    while (read(0, &byte, 1) > 0) {
    }
    for (const pid_t child : children)
        kill(child, SIGKILL);
    for (const pid_t child : children)
        waitpid(child, nullptr, 0);
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && std::string_view(argv[1]) == "nothing") return 0;
    if (argc == 4 && std::string_view(argv[1]) == "loop")
        return loop(argv[2], std::atof(argv[3]), "/proc/self/exe");
    if (argc == 4 && std::string_view(argv[1]) == "flood")
        return flood(std::atof(argv[2]), std::atof(argv[3]));
    if (argc == 3 && std::string_view(argv[1]) == "crowd") return crowd(std::atoi(argv[2]));
    const std::string_view verb = argc == 5 ? argv[1] : "";
    if (verb == "server") return serve(argv + 2);
    if (verb == "rr") return round_trips(address(argv[2], argv[3]), std::atof(argv[4]));
    if (verb == "connect") return connections(address(argv[2], argv[3]), std::atof(argv[4]));
    if (verb == "http") return http(address(argv[2], argv[3]), std::atof(argv[4]));
    if (verb == "bulk") return bulk(address(argv[2], argv[3]), std::atof(argv[4]));
    std::fprintf(
        stderr,
        "usage: blbench server RR CONNECT BULK | rr|connect|http|bulk ADDRESS PORT SECONDS\n");
    return 2;
}
