#include "kube/request.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <mutex>

#include <nlohmann/json.hpp>

namespace beeline::kube {
namespace {

// A server that is gone without a word is noticed after this long, although watches wait for minutes.
constexpr unsigned kDeadAfterMs = 20'000;
constexpr long kConnectTimeoutMs = 5'000;
constexpr std::size_t kLongestProblem = 400;

int watch_peer(void*, curl_socket_t socket, curlsocktype) {
    const unsigned timeout = kDeadAfterMs;
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    return CURL_SOCKOPT_OK;
}

void set_blob(CURL* handle, CURLoption option, const std::string& text) {
    curl_blob blob{};
    blob.data = const_cast<char*>(text.data()); // NOLINT(cppcoreguidelines-pro-type-const-cast)
    blob.len = text.size();
    blob.flags = CURL_BLOB_COPY;
    curl_easy_setopt(handle, option, &blob);
}

bool is_loopback(std::string_view server) {
    return server.find("://127.") != std::string_view::npos ||
           server.find("://localhost") != std::string_view::npos ||
           server.find("://[::1]") != std::string_view::npos;
}

} // namespace

std::string problem_of(long status, std::string_view body) {
    std::string message;
    const auto answer = nlohmann::json::parse(body, nullptr, false);
    if (answer.is_object() && answer.contains("message") && answer["message"].is_string())
        message = answer["message"].get<std::string>();
    if (message.empty()) message = body.substr(0, kLongestProblem);
    if (message.size() > kLongestProblem) message = message.substr(0, kLongestProblem) + "...";
    for (char& c : message) {
        if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
    }
    return message.empty() ? fmt::format("status {}", status)
                           : fmt::format("status {}: {}", status, message);
}

Failure failure_of(const Request& request, const Response& response) {
    Code code = Code::unavailable;
    switch (response.status) {
    case 400:
    case 422: code = Code::invalid; break;
    case 401:
    case 403: code = Code::denied; break;
    case 404: code = Code::not_found; break;
    case 409: code = Code::exists; break;
    default: break;
    }
    return fail(code, "{} {}: {}", request.method, request.path,
                problem_of(response.status, response.body));
}

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            out += c;
        } else {
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return out;
}

Result<std::unique_ptr<Transfer>> Transfer::create(const Access& access, Request request, Sink sink,
                                                   void* owner) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    std::unique_ptr<Transfer> out(new Transfer);
    out->request_ = std::move(request);
    out->server_ = access.server;
    out->handle_ = curl_easy_init();
    if (!out->handle_) return fail(Code::exhausted, "libcurl gives no handle");
    curl_easy_setopt(out->handle_, CURLOPT_WRITEFUNCTION, sink);
    curl_easy_setopt(out->handle_, CURLOPT_WRITEDATA, owner);
    TRY(out->set_up(access));
    return out;
}

Transfer::~Transfer() {
    if (handle_) curl_easy_cleanup(handle_);
    curl_slist_free_all(headers_);
    curl_slist_free_all(connect_to_);
}

Result<> Transfer::set_up(const Access& access) {
    const auto set = [&](CURLoption option, auto value) {
        curl_easy_setopt(handle_, option, value);
    };
    set(CURLOPT_URL, (access.server + request_.path).c_str());
    set(CURLOPT_PROTOCOLS_STR, "https,http");
    set(CURLOPT_ERRORBUFFER, error_);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
    // One connection for all watches. Without TLS it never speaks HTTP/2, and the others would wait for the first to end.
    set(CURLOPT_PIPEWAIT, access.server.starts_with("https://") ? 1L : 0L);
    set(CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(request_.timeout_ms));
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_TCP_KEEPIDLE, 10L);
    set(CURLOPT_TCP_KEEPINTVL, 5L);
    set(CURLOPT_SOCKOPTFUNCTION, &watch_peer);
    if (!access.proxy.empty()) {
        set(CURLOPT_PROXY, access.proxy.c_str());
    } else if (is_loopback(access.server)) {
        set(CURLOPT_PROXY, "");
    }
    if (!access.server_name.empty()) {
        // The name is checked, the address stays: a connection to the server's host under another name.
        const auto begin = access.server.find("://") + 3;
        const auto authority = access.server.substr(begin);
        const auto colon = authority.rfind(':');
        const bool has_port =
            colon != std::string::npos && authority.find(']', colon) == std::string::npos;
        const auto port = has_port ? authority.substr(colon) : std::string(":443");
        set(CURLOPT_URL, ("https://" + access.server_name + port + request_.path).c_str());
        headers_ = curl_slist_append(headers_, ("Host: " + authority).c_str());
        connect_to_ = curl_slist_append(
            nullptr, fmt::format("{}{}:{}{}", access.server_name, port,
                                 has_port ? authority.substr(0, colon) : authority, port)
                         .c_str());
        set(CURLOPT_CONNECT_TO, connect_to_);
    }
    if (const auto ca = TRY(access.ca.read()); !ca.empty())
        set_blob(handle_, CURLOPT_CAINFO_BLOB, ca);
    if (const auto certificate = TRY(access.certificate.read()); !certificate.empty()) {
        set_blob(handle_, CURLOPT_SSLCERT_BLOB, certificate);
        set(CURLOPT_SSLCERTTYPE, "PEM");
        set_blob(handle_, CURLOPT_SSLKEY_BLOB, TRY(access.key.read()));
        set(CURLOPT_SSLKEYTYPE, "PEM");
    }
    const auto add = [&](const std::string& line) {
        headers_ = curl_slist_append(headers_, line.c_str());
    };
    add("Accept: " + request_.accept);
    add("User-Agent: beeline");
    add("Expect:");
    const auto token = TRY(access.token.read());
    if (token.find_first_of("\r\n") != std::string::npos)
        return fail(Code::invalid, "{}: the token is not one line", access.origin);
    if (!token.empty()) add("Authorization: Bearer " + token);
    if (request_.method != "GET") {
        set(CURLOPT_CUSTOMREQUEST, request_.method.c_str());
        if (!request_.body.empty()) {
            add("Content-Type: " + request_.content_type);
            set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
            set(CURLOPT_POSTFIELDS, request_.body.data());
        }
    }
    set(CURLOPT_HTTPHEADER, headers_);
    return {};
}

long Transfer::status() const {
    long status = 0;
    curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

std::string Transfer::text(CURLcode code) const {
    return fmt::format("{}: {}", server_, error_[0] ? error_ : curl_easy_strerror(code));
}

} // namespace beeline::kube
