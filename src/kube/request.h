// One HTTP request to an API server, as libcurl is told of it. Shared by Client and Session.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <curl/curl.h>

#include "base/result.h"
#include "kube/access.h"

namespace beeline::kube {

struct Request {
    std::string method = "GET";
    std::string path; // "/api/v1/pods?limit=1"
    std::string body;
    std::string content_type = "application/json";
    std::string accept = "application/json";
    unsigned timeout_ms = 30'000; // in all; 0: none
};

struct Response {
    long status = 0;
    std::string body;
    [[nodiscard]] bool good() const { return status >= 200 && status < 300; }
};

// What an answer that is no good says: "403: pods is forbidden: ...".
std::string problem_of(long status, std::string_view body);
// The same as an Error: denied, not_found, exists, invalid or unavailable.
Failure failure_of(const Request& request, const Response& response);

// Text for a part of a path or a query.
std::string escaped(std::string_view text);

// A curl handle for one request; the certificate and the token are read now.
class Transfer {
public:
    // Bytes of the answer's body; false ends it.
    using Sink = std::size_t (*)(char* data, std::size_t size, std::size_t count, void* owner);

    static Result<std::unique_ptr<Transfer>> create(const Access& access, Request request,
                                                    Sink sink, void* owner);
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    [[nodiscard]] CURL* handle() { return handle_; }
    [[nodiscard]] long status() const;
    // What `code` means for people, with the server's name.
    [[nodiscard]] std::string text(CURLcode code) const;

private:
    Transfer() = default;
    Result<> set_up(const Access& access);

    CURL* handle_ = nullptr;
    curl_slist* headers_ = nullptr;
    curl_slist* connect_to_ = nullptr;
    Request request_;
    std::string server_;
    char error_[CURL_ERROR_SIZE] = {};
};

} // namespace beeline::kube
