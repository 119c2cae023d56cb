// The far ends of network tests: a server that says who is talking to it, and clients that report
// what they saw as one JSON object a line. Static and without libraries of ours, so that it also
// runs in a container's file system. Run it without arguments for its usage.
//
// The server answers every TCP request (up to a newline) and every datagram with
// "NAME peer=ADDR:PORT len=BYTES\n"; a TCP request "bulk N" gets N bytes instead. It prints "ready"
// once it listens on everything. Clients name errors as in errno ("ECONNREFUSED"), or "TIMEOUT" or
// "CLOSED", and exit with 0 if all answers came, else with 1.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kUsage = R"(usage:
  bltest serve [--name N] [--tcp PORT]... [--udp PORT]... [--bind ADDR]
  bltest tcp ADDR PORT [--count N] [--size BYTES] [--bulk BYTES] [common]
  bltest udp ADDR PORT [--count N] [--size BYTES] [--interval MS] [--connected] [common]
  bltest hold N ADDR PORT [--udp] [common]     keeps N connections; reads "ping" or "quit" lines
common: [--timeout MS] [--source-port PORT] [--mapped]
  --mapped reaches an IPv4 address through an IPv6 socket, as dual-stack programs do)";

struct Options {
    std::vector<std::string> words; // what is not an option, after the verb
    std::string name = "bltest";
    std::string bind = "::";
    std::vector<int> tcp;
    std::vector<int> udp;
    int timeout_ms = 2000;
    int interval_ms = 0;
    int source_port = 0;
    int count = 1;
    std::size_t size = 6;
    long bulk = 0;
    bool connected = false;
    bool mapped = false;
    bool use_udp = false;
};

[[noreturn]] void die(const std::string& text) {
    std::fprintf(stderr, "bltest: %s\n", text.c_str());
    std::exit(2);
}

std::string error_name(int number) {
    const char* name = strerrorname_np(number);
    return name != nullptr ? name : std::to_string(number);
}

// IPv4 is carried as ::ffff:a.b.c.d, so that one socket family serves both; texts show it as
// a.b.c.d.
sockaddr_in6 address_of(const std::string& text, int port) {
    sockaddr_in6 result{};
    result.sin6_family = AF_INET6;
    result.sin6_port = htons(static_cast<std::uint16_t>(port));
    const std::string wide = text.find(':') == std::string::npos ? "::ffff:" + text : text;
    if (inet_pton(AF_INET6, wide.c_str(), &result.sin6_addr) != 1) die("not an address: " + text);
    return result;
}

std::string text_of(const sockaddr_in6& address) {
    char text[INET6_ADDRSTRLEN] = {};
    const std::string port = std::to_string(ntohs(address.sin6_port));
    if (address.sin6_family == AF_INET) { // only from a socket of a foreign family
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text));
        return std::string(text) + ":" + port;
    }
    if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr)) {
        inet_ntop(AF_INET, address.sin6_addr.s6_addr + 12, text, sizeof(text));
        return std::string(text) + ":" + port;
    }
    inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text));
    return "[" + std::string(text) + "]:" + port;
}

bool is_v4(const std::string& text) { return text.find(':') == std::string::npos; }

// A client's socket has the family of its destination, as an ordinary program's would.
struct Target {
    sockaddr_storage address{};
    socklen_t length = 0;
    int family = AF_INET;
};

Target target_of(const std::string& text, int port, bool mapped = false) {
    Target target;
    const std::uint16_t wire = htons(static_cast<std::uint16_t>(port));
    if (is_v4(text) && !mapped) {
        auto& v4 = reinterpret_cast<sockaddr_in&>(target.address);
        v4.sin_family = AF_INET;
        v4.sin_port = wire;
        if (inet_pton(AF_INET, text.c_str(), &v4.sin_addr) != 1) die("not an address: " + text);
        target.length = sizeof(v4);
    } else {
        reinterpret_cast<sockaddr_in6&>(target.address) = address_of(text, port);
        target.length = sizeof(sockaddr_in6);
        target.family = AF_INET6;
    }
    return target;
}

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            result += '\\';
            result += c;
        } else if (c == '\n') {
            result += "\\n";
        } else if (static_cast<unsigned char>(c) >= 0x20) {
            result += c;
        }
    }
    return result + "\"";
}

std::string end_of(int fd, bool peer) {
    sockaddr_in6 address{};
    socklen_t length = sizeof(address);
    const int rc = peer ? getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length)
                        : getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
    return rc == 0 ? text_of(address) : "";
}

// Waits for `events`; false when the time is up.
bool wait_for(int fd, short events, Clock::time_point until) {
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
        pollfd entry{fd, events, 0};
        const int rc = poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0);
        if (rc > 0) return true;
        if (rc == 0 || errno != EINTR) return false;
    }
}

int open_client(const Target& target, int type, int source_port) {
    const int fd = socket(target.family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) die("socket: " + error_name(errno));
    if (source_port != 0) {
        const int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        const Target local = target_of(target.family == AF_INET ? "0.0.0.0" : "::", source_port);
        if (bind(fd, reinterpret_cast<const sockaddr*>(&local.address), local.length) != 0) {
            die("bind: " + error_name(errno));
        }
    }
    return fd;
}

// Connects within the time. Returns "" or the error's name.
std::string connect_to(int fd, const Target& target, int timeout_ms) {
    const auto until = Clock::now() + std::chrono::milliseconds(timeout_ms);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&target.address), target.length) == 0) {
        return "";
    }
    if (errno != EINPROGRESS) return error_name(errno);
    if (!wait_for(fd, POLLOUT, until)) return "TIMEOUT";
    int number = 0;
    socklen_t length = sizeof(number);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &length);
    return number == 0 ? "" : error_name(number);
}

std::string send_all(int fd, std::string_view data, Clock::time_point until) {
    while (!data.empty()) {
        const ssize_t sent = send(fd, data.data(), data.size(), MSG_NOSIGNAL);
        if (sent > 0) {
            data.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno != EAGAIN) {
            return error_name(errno);
        } else if (!wait_for(fd, POLLOUT, until)) {
            return "TIMEOUT";
        }
    }
    return "";
}

// Reads what is there, until a newline when `line` is set or `bytes` have come.
std::string receive(int fd, std::string& into, std::size_t bytes, Clock::time_point until) {
    char buffer[65536];
    while (into.size() < bytes && (bytes != SIZE_MAX || into.find('\n') == std::string::npos)) {
        const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
        if (got > 0) {
            into.append(buffer, static_cast<std::size_t>(got));
        } else if (got == 0) {
            return "CLOSED";
        } else if (errno != EAGAIN) {
            return error_name(errno);
        } else if (!wait_for(fd, POLLIN, until)) {
            return "TIMEOUT";
        }
    }
    return "";
}

std::string payload(std::size_t size) {
    std::string text(size, 'x');
    if (size > 0) text.back() = '\n';
    return text;
}

int run_tcp(const Options& options) {
    if (options.words.size() != 2) die("tcp needs ADDR PORT");
    const Target target =
        target_of(options.words[0], std::atoi(options.words[1].c_str()), options.mapped);
    int failed = 0;
    for (int i = 0; i < options.count; i++) {
        const auto start = Clock::now();
        const auto until = start + std::chrono::milliseconds(options.timeout_ms);
        const int fd = open_client(target, SOCK_STREAM, options.source_port);
        std::string error = connect_to(fd, target, options.timeout_ms);
        const std::string peername = error.empty() ? end_of(fd, true) : "";
        const std::string local = error.empty() ? end_of(fd, false) : "";
        const std::string request = options.bulk > 0 ? "bulk " + std::to_string(options.bulk) + "\n"
                                                     : payload(options.size);
        std::string reply;
        if (error.empty()) error = send_all(fd, request, until);
        if (error.empty()) {
            error = receive(fd, reply,
                            options.bulk > 0 ? static_cast<std::size_t>(options.bulk) : SIZE_MAX,
                            until);
        }
        close(fd);
        if (!error.empty()) failed = 1;
        const std::size_t received = reply.size();
        if (options.bulk > 0) reply.clear();
        const auto ms =
            std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
        std::printf("{\"ok\":%s,\"error\":%s,\"reply\":%s,\"received\":%zu,\"peername\":%s,"
                    "\"local\":%s,\"ms\":%lld}\n",
                    error.empty() ? "true" : "false", quoted(error).c_str(),
                    quoted(reply.substr(0, reply.find('\n'))).c_str(), received,
                    quoted(peername).c_str(), quoted(local).c_str(), static_cast<long long>(ms));
        std::fflush(stdout);
    }
    return failed;
}

int run_udp(const Options& options) {
    if (options.words.size() != 2) die("udp needs ADDR PORT");
    const Target target =
        target_of(options.words[0], std::atoi(options.words[1].c_str()), options.mapped);
    const int fd = open_client(target, SOCK_DGRAM, options.source_port);
    std::string connect_error;
    if (options.connected) connect_error = connect_to(fd, target, options.timeout_ms);
    const std::string request = payload(options.size);
    int failed = 0;
    for (int i = 0; i < options.count; i++) {
        if (i > 0) usleep(static_cast<useconds_t>(options.interval_ms) * 1000);
        std::string error = connect_error;
        std::string reply;
        std::string from;
        if (error.empty()) {
            const ssize_t sent =
                options.connected
                    ? send(fd, request.data(), request.size(), MSG_NOSIGNAL)
                    : sendto(fd, request.data(), request.size(), MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&target.address), target.length);
            if (sent < 0) error = error_name(errno);
        }
        if (error.empty() &&
            !wait_for(fd, POLLIN, Clock::now() + std::chrono::milliseconds(options.timeout_ms))) {
            error = "TIMEOUT";
        }
        if (error.empty()) {
            char buffer[65536];
            sockaddr_in6 sender{};
            socklen_t length = sizeof(sender);
            const ssize_t got = recvfrom(fd, buffer, sizeof(buffer), 0,
                                         reinterpret_cast<sockaddr*>(&sender), &length);
            if (got < 0) {
                error = error_name(errno);
            } else {
                reply.assign(buffer, static_cast<std::size_t>(got));
                from = text_of(sender);
            }
        }
        if (!error.empty()) failed = 1;
        std::printf(
            "{\"ok\":%s,\"error\":%s,\"reply\":%s,\"from\":%s,\"peername\":%s,\"local\":%s}\n",
            error.empty() ? "true" : "false", quoted(error).c_str(),
            quoted(reply.substr(0, reply.find('\n'))).c_str(), quoted(from).c_str(),
            quoted(options.connected ? end_of(fd, true) : "").c_str(),
            quoted(end_of(fd, false)).c_str());
        std::fflush(stdout);
    }
    close(fd);
    return failed;
}

void count_error(std::map<std::string, int>& errors, const std::string& error) {
    if (!error.empty()) errors[error]++;
}

void print_hold(const char* what, std::size_t open, int replied,
                const std::map<std::string, int>& replies,
                const std::map<std::string, int>& errors) {
    const auto object = [](const std::map<std::string, int>& counts) {
        std::string text;
        for (const auto& [key, count] : counts) {
            text += (text.empty() ? "" : ",") + quoted(key) + ":" + std::to_string(count);
        }
        return "{" + text + "}";
    };
    std::printf("{\"event\":\"%s\",\"open\":%zu,\"replied\":%d,\"servers\":%s,\"errors\":%s}\n",
                what, open, replied, object(replies).c_str(), object(errors).c_str());
    std::fflush(stdout);
}

int run_hold(const Options& options) {
    if (options.words.size() != 3) die("hold needs N ADDR PORT");
    const int wanted = std::atoi(options.words[0].c_str());
    const Target target =
        target_of(options.words[1], std::atoi(options.words[2].c_str()), options.mapped);
    const int type = options.use_udp ? SOCK_DGRAM : SOCK_STREAM;
    std::vector<int> open;
    std::map<std::string, int> errors;
    for (int i = 0; i < wanted; i++) {
        const int fd = open_client(target, type, 0);
        const std::string error = connect_to(fd, target, options.timeout_ms);
        count_error(errors, error);
        if (error.empty()) {
            open.push_back(fd);
        } else {
            close(fd);
        }
    }
    print_hold("connected", open.size(), 0, {}, errors);

    for (std::string line; std::getline(std::cin, line) && line != "quit";) {
        if (line != "ping") continue;
        errors.clear();
        std::map<std::string, int> servers;
        int replied = 0;
        const auto until = Clock::now() + std::chrono::milliseconds(options.timeout_ms);
        std::vector<std::string> failure(open.size());
        // All send before any waits, so that one dead connection does not cost a timeout each.
        for (std::size_t i = 0; i < open.size(); i++)
            failure[i] = send_all(open[i], "hello\n", until);
        for (std::size_t i = 0; i < open.size(); i++) {
            std::string reply;
            if (failure[i].empty()) failure[i] = receive(open[i], reply, SIZE_MAX, until);
            count_error(errors, failure[i]);
            if (failure[i].empty()) {
                replied++;
                servers[reply.substr(0, reply.find(' '))]++;
            }
        }
        // A time-out leaves the connection open: it may live again once the test changes something.
        std::vector<int> alive;
        for (std::size_t i = 0; i < open.size(); i++) {
            if (failure[i].empty() || failure[i] == "TIMEOUT" || options.use_udp) {
                alive.push_back(open[i]);
            } else {
                close(open[i]);
            }
        }
        open = alive;
        print_hold("pinged", open.size(), replied, servers, errors);
    }
    for (const int fd : open)
        close(fd);
    return 0;
}

class Server {
public:
    explicit Server(const Options& options) : options_(options) {}

    int run() {
        epoll_ = epoll_create1(EPOLL_CLOEXEC);
        for (const int port : options_.tcp)
            add(listener(SOCK_STREAM, port), Kind::listener);
        for (const int port : options_.udp)
            add(listener(SOCK_DGRAM, port), Kind::datagram);
        std::printf("ready\n");
        std::fflush(stdout);
        for (;;) {
            epoll_event events[64];
            const int n = epoll_wait(epoll_, events, 64, -1);
            for (int i = 0; i < n; i++)
                serve(events[i].data.fd);
        }
    }

private:
    enum class Kind { listener, stream, datagram };

    void add(int fd, Kind kind) {
        kinds_[fd] = kind;
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
    }

    int listener(int type, int port) const {
        const int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        const int on = 1;
        const int off = 0;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
        const sockaddr_in6 address = address_of(options_.bind, port);
        if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
            (type == SOCK_STREAM && listen(fd, 4096) != 0)) {
            die("port " + std::to_string(port) + ": " + error_name(errno));
        }
        return fd;
    }

    [[nodiscard]] std::string answer(const sockaddr_in6& peer, std::size_t bytes) const {
        return options_.name + " peer=" + text_of(peer) + " len=" + std::to_string(bytes) + "\n";
    }

    void serve(int fd) {
        switch (kinds_[fd]) {
        case Kind::listener: {
            const int client = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
            if (client >= 0) add(client, Kind::stream);
            break;
        }
        case Kind::stream: serve_stream(fd); break;
        case Kind::datagram: serve_datagram(fd); break;
        }
    }

    // A request ends with a newline: a long one is read to its end, so that it gets one answer.
    void serve_stream(int fd) {
        std::string request;
        const auto until = Clock::now() + std::chrono::seconds(5);
        if (!receive(fd, request, SIZE_MAX, until).empty()) {
            kinds_.erase(fd);
            close(fd);
            return;
        }
        if (request.rfind("bulk ", 0) == 0) {
            send_all(fd, std::string(std::strtoul(request.c_str() + 5, nullptr, 10), 'b'), until);
            return;
        }
        sockaddr_in6 peer{};
        socklen_t length = sizeof(peer);
        getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length);
        send_all(fd, answer(peer, request.size()), until);
    }

    void serve_datagram(int fd) {
        char buffer[65536];
        char control[256];
        sockaddr_in6 peer{};
        iovec part{buffer, sizeof(buffer)};
        msghdr message{};
        message.msg_name = &peer;
        message.msg_namelen = sizeof(peer);
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        const ssize_t got = recvmsg(fd, &message, 0);
        if (got < 0) return;
        // The ancillary data says which of our addresses was asked: answer from that one.
        for (cmsghdr* part_of = CMSG_FIRSTHDR(&message); part_of != nullptr;
             part_of = CMSG_NXTHDR(&message, part_of)) {
            if (part_of->cmsg_level == IPPROTO_IPV6 && part_of->cmsg_type == IPV6_PKTINFO) {
                reinterpret_cast<in6_pktinfo*>(CMSG_DATA(part_of))->ipi6_ifindex = 0;
            }
        }
        std::string text = answer(peer, static_cast<std::size_t>(got));
        part = {text.data(), text.size()};
        message.msg_flags = 0;
        sendmsg(fd, &message, MSG_NOSIGNAL);
    }

    const Options& options_;
    int epoll_ = -1;
    std::map<int, Kind> kinds_;
};

Options parse(int count, char** arguments) {
    Options options;
    for (int i = 2; i < count; i++) {
        const std::string word = arguments[i];
        const auto value = [&]() -> std::string {
            if (++i >= count) die(word + " needs a value");
            return arguments[i];
        };
        const auto number = [&] { return std::atoi(value().c_str()); };
        if (word == "--name") {
            options.name = value();
        } else if (word == "--bind") {
            options.bind = value();
        } else if (word == "--tcp") {
            options.tcp.push_back(number());
        } else if (word == "--udp" && std::strcmp(arguments[1], "hold") == 0) {
            options.use_udp = true;
        } else if (word == "--udp") {
            options.udp.push_back(number());
        } else if (word == "--timeout") {
            options.timeout_ms = number();
        } else if (word == "--interval") {
            options.interval_ms = number();
        } else if (word == "--source-port") {
            options.source_port = number();
        } else if (word == "--count") {
            options.count = number();
        } else if (word == "--size") {
            options.size = static_cast<std::size_t>(number());
        } else if (word == "--bulk") {
            options.bulk = number();
        } else if (word == "--mapped") {
            options.mapped = true;
        } else if (word == "--connected") {
            options.connected = true;
        } else if (word.rfind("--", 0) == 0) {
            die("unknown option " + word);
        } else {
            options.words.push_back(word);
        }
    }
    return options;
}

} // namespace

int main(int count, char** arguments) {
    std::signal(SIGPIPE, SIG_IGN);
    const std::string verb = count > 1 ? arguments[1] : "";
    const Options options = parse(count, arguments);
    if (verb == "serve") return Server(options).run();
    if (verb == "tcp") return run_tcp(options);
    if (verb == "udp") return run_udp(options);
    if (verb == "hold") return run_hold(options);
    die(kUsage);
}
