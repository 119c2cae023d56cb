// POST requests to one server, with the connection kept.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"

namespace beeline::exporting {

struct PostOptions {
    std::map<std::string, std::string> headers;
    unsigned timeout_ms = 10'000;
    bool gzip = false;
    std::string ca_file; // of https; empty: the system's
    std::string certificate;
    std::string key;
};

struct PostAnswer {
    long status = 0;
    std::string body;           // bounded
    unsigned retry_after_s = 0; // 0: the server did not say
};

// One thread. Errors never hold headers.
class HttpPost {
public:
    explicit HttpPost(PostOptions options);
    ~HttpPost();
    HttpPost(const HttpPost&) = delete;
    HttpPost& operator=(const HttpPost&) = delete;

    // The error is that of the transport: no answer came.
    Result<PostAnswer> post(const std::string& url, const std::string& body);
    // Any thread: a request that runs is given up, and so is any later one.
    void abort() { aborted_.store(true, std::memory_order_relaxed); }

private:
    struct Handle;
    PostOptions options_;
    std::atomic<bool> aborted_{false};
    std::unique_ptr<Handle> handle_;
};

// Empty when it cannot be compressed.
std::string gzip(const std::string& text);

} // namespace beeline::exporting
