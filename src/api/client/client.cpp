#include "api/client/client.h"

#include <http_parser.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "base/fd.h"

namespace beeline::api {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMaxBody = 256U << 20;

// No value: wait forever.
using Deadline = std::optional<Clock::time_point>;

Deadline deadline_in(int timeout_ms) {
    if (timeout_ms < 0) return {};
    return Clock::now() + std::chrono::milliseconds(timeout_ms);
}

int remaining_ms(const Deadline& deadline) {
    if (!deadline) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(left, 0));
}

Failure not_running(const std::string& socket) {
    return fail(Code::unavailable,
                "beelined is not running ({}): start it with 'systemctl start beeline' or "
                "'beelined --config ...'",
                socket);
}

Failure no_answer(const std::string& socket) {
    return fail(Code::unavailable, "beelined did not answer in time ({}): look at its log", socket);
}

Failure broken(const std::string& socket, std::string_view what) {
    return fail(Code::unavailable, "the connection to beelined broke ({}): {}", socket, what);
}

Result<> wait_for(int fd, short events, const Deadline& deadline, const std::string& socket) {
    for (;;) {
        pollfd entry{.fd = fd, .events = events, .revents = 0};
        const int ready = ::poll(&entry, 1, remaining_ms(deadline));
        if (ready > 0) return {};
        if (ready == 0) return no_answer(socket);
        if (errno != EINTR) return fail_errno(errno, "poll");
    }
}

Result<Fd> connect_to(const std::string& socket, const Deadline& deadline) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket.size() >= sizeof(address.sun_path))
        return fail(Code::invalid, "the socket path '{}' is longer than {} characters", socket,
                    sizeof(address.sun_path) - 1);
    std::memcpy(address.sun_path, socket.data(), socket.size());
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd) return fail_errno(errno, "socket");
    for (;;) {
        if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0)
            return fd;
        switch (errno) {
        case ENOENT:
        case ENOTDIR:
        case ECONNREFUSED: return not_running(socket);
        case EACCES:
        case EPERM:
            return fail(Code::denied,
                        "no access to {}: run as root or as a member of the group beeline", socket);
        case EINTR: break;
        case EAGAIN: // the listen backlog is full, which a unix socket does not let us poll for
            if (remaining_ms(deadline) == 0) return no_answer(socket);
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            break;
        default: return fail_errno(errno, "connect to " + socket);
        }
    }
}

Result<> send_all(int fd, std::string_view data, const Deadline& deadline,
                  const std::string& socket) {
    while (!data.empty()) {
        const auto sent = ::send(fd, data.data(), data.size(), MSG_NOSIGNAL);
        if (sent >= 0) {
            data.remove_prefix(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            TRY(wait_for(fd, POLLOUT, deadline, socket));
        } else if (errno == EPIPE || errno == ECONNRESET) {
            // The server may have refused the body early; its answer says why.
            return {};
        } else if (errno != EINTR) {
            return fail_errno(errno, "send to " + socket);
        }
    }
    return {};
}

// Parses one answer. `on_body` may end the exchange early by returning false.
class Answer {
public:
    explicit Answer(std::function<bool(int status, std::string_view data)> on_body)
        : on_body_(std::move(on_body)) {
        http_parser_init(&parser_, HTTP_RESPONSE);
        parser_.data = this;
        http_parser_settings_init(&settings_);
        settings_.on_header_field = [](http_parser* parser, const char* at, std::size_t size) {
            self(parser).header_field({at, size});
            return 0;
        };
        settings_.on_header_value = [](http_parser* parser, const char* at, std::size_t size) {
            self(parser).header_value({at, size});
            return 0;
        };
        settings_.on_body = [](http_parser* parser, const char* at, std::size_t size) {
            Answer& answer = self(parser);
            answer.stopped_ = !answer.on_body_(static_cast<int>(parser->status_code), {at, size});
            return answer.stopped_ ? 1 : 0;
        };
        settings_.on_message_complete = [](http_parser* parser) {
            // 1xx answers only announce the real one.
            self(parser).complete_ = parser->status_code >= 200;
            return 0;
        };
    }
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;

    // Empty data: the peer closed. False: this is not HTTP.
    bool feed(std::string_view data) {
        const std::size_t used =
            http_parser_execute(&parser_, &settings_, data.data(), data.size());
        return stopped_ || (used == data.size() && HTTP_PARSER_ERRNO(&parser_) == HPE_OK) ||
               complete_;
    }
    [[nodiscard]] bool finished() const { return complete_ || stopped_; }
    [[nodiscard]] int status() const { return static_cast<int>(parser_.status_code); }
    [[nodiscard]] const std::string& content_type() const { return content_type_; }

private:
    static Answer& self(http_parser* parser) { return *static_cast<Answer*>(parser->data); }

    void header_field(std::string_view text) {
        if (in_value_) field_.clear();
        in_value_ = false;
        field_ += text;
    }
    void header_value(std::string_view text) {
        in_value_ = true;
        static constexpr std::string_view kName = "content-type";
        const bool wanted =
            std::equal(field_.begin(), field_.end(), kName.begin(), kName.end(),
                       [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
        if (wanted) content_type_ += text;
    }

    http_parser parser_{};
    http_parser_settings settings_{};
    std::function<bool(int, std::string_view)> on_body_;
    std::string field_;
    std::string content_type_;
    bool in_value_ = false;
    bool complete_ = false;
    bool stopped_ = false;
};

Result<> exchange(const std::string& socket, std::string_view method, std::string_view target,
                  std::string_view body, const Deadline& deadline, Answer& answer) {
    const Fd fd = TRY(connect_to(socket, deadline));
    std::string head =
        fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, target);
    if (!body.empty() || method == "POST" || method == "PUT")
        head += fmt::format("Content-Length: {}\r\n", body.size());
    head += "\r\n";
    head += body;
    TRY(send_all(fd.get(), head, deadline, socket));

    std::array<char, 65536> buffer; // filled by recv
    while (!answer.finished()) {
        const auto got = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EAGAIN) {
            TRY(wait_for(fd.get(), POLLIN, deadline, socket));
            continue;
        }
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return broken(socket, std::strerror(errno));
        if (!answer.feed({buffer.data(), static_cast<std::size_t>(got)}))
            return broken(socket, "the answer is not valid HTTP");
        if (got == 0 && !answer.finished())
            return broken(socket, "it ended before the answer was complete");
    }
    return {};
}

// The Error that {"error":{code,message}} stands for.
std::optional<Error> api_error(const std::string& body) {
    const auto document = nlohmann::json::parse(body, nullptr, false);
    if (!document.is_object() || !document.contains("error") || !document["error"].is_object())
        return {};
    const auto& error = document["error"];
    if (!error.contains("code") || !error["code"].is_string() || !error.contains("message") ||
        !error["message"].is_string())
        return {};
    std::string name = error["code"];
    std::replace(name.begin(), name.end(), '_', '-');
    Error result{Code::internal, 0, error["message"]};
    for (const Code code :
         {Code::invalid, Code::not_found, Code::exists, Code::exhausted, Code::unsupported,
          Code::unavailable, Code::denied, Code::system, Code::internal}) {
        if (code_name(code) == name) result.code = code;
    }
    return result;
}

Failure unexpected_status(int status, std::string_view target) {
    const Code code = status == 404  ? Code::not_found
                      : status < 500 ? Code::invalid
                                     : Code::internal;
    return fail(code, "beelined answered {} with HTTP status {}", target, status);
}

} // namespace

Result<nlohmann::json> Response::json() const {
    auto document = nlohmann::json::parse(body, nullptr, false);
    if (document.is_discarded())
        return fail(Code::internal, "beelined answered with something that is not JSON");
    return document;
}

std::string url_encode(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            out += c;
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

std::string url(std::string_view path, const Parameters& parameters) {
    std::string out(path);
    char separator = '?';
    for (const auto& [name, value] : parameters) {
        out += separator;
        out += url_encode(name) + '=' + url_encode(value);
        separator = '&';
    }
    return out;
}

Result<Response> Client::request(std::string_view method, std::string_view path_with_query,
                                 std::string_view body, int timeout_ms) const {
    Response response;
    bool too_large = false;
    Answer answer([&](int, std::string_view data) {
        too_large = response.body.size() + data.size() > kMaxBody;
        if (!too_large) response.body += data;
        return !too_large;
    });
    TRY(exchange(socket_, method, path_with_query, body, deadline_in(timeout_ms), answer));
    if (too_large)
        return fail(Code::exhausted, "the answer to {} is larger than {} MiB", path_with_query,
                    kMaxBody >> 20);
    response.status = answer.status();
    response.content_type = answer.content_type();
    if (!response.ok()) {
        if (auto error = api_error(response.body)) return Failure(std::move(*error));
    }
    return response;
}

Result<nlohmann::json> Client::call(std::string_view method, std::string_view path_with_query,
                                    std::string_view body, int timeout_ms) const {
    const Response response = TRY(request(method, path_with_query, body, timeout_ms));
    if (!response.ok()) return unexpected_status(response.status, path_with_query);
    return response.json();
}

Result<> Client::download(std::string_view path_with_query,
                          const std::function<bool(std::string_view bytes)>& on_bytes) const {
    std::string refusal;
    Answer answer([&](int status, std::string_view data) {
        if (status < 300) return on_bytes(data);
        refusal += data;
        return refusal.size() <= kMaxBody;
    });
    TRY(exchange(socket_, "GET", path_with_query, "", {}, answer));
    if (answer.status() >= 300) {
        if (auto error = api_error(refusal)) return Failure(std::move(*error));
        return unexpected_status(answer.status(), path_with_query);
    }
    return {};
}

Result<> Client::stream(std::string_view path_with_query,
                        const std::function<bool(std::string_view line)>& on_line) const {
    std::string pending; // a line whose end has not come yet
    bool too_large = false;
    TRY(download(path_with_query, [&](std::string_view data) {
        for (;;) {
            const std::size_t end = data.find('\n');
            if (end == std::string_view::npos) break;
            std::string_view line = data.substr(0, end);
            if (!pending.empty()) {
                pending += line;
                line = pending;
            }
            if (!line.empty() && !on_line(line)) return false;
            pending.clear();
            data.remove_prefix(end + 1);
        }
        pending += data;
        too_large = pending.size() > kMaxBody;
        return !too_large;
    }));
    if (too_large)
        return fail(Code::exhausted, "a line of {} is larger than {} MiB", path_with_query,
                    kMaxBody >> 20);
    return {};
}

} // namespace beeline::api
