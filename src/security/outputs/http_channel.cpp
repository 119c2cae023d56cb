#include <curl/curl.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "security/outputs/channel.h"

namespace beeline::security {
namespace {

constexpr auto kFirstWait = std::chrono::milliseconds(100);

std::size_t ignore(char*, std::size_t size, std::size_t count, void*) { return size * count; }

struct Headers {
    curl_slist* list = nullptr;
    Headers() = default;
    Headers(const Headers&) = delete;
    Headers& operator=(const Headers&) = delete;
    ~Headers() { curl_slist_free_all(list); }
    void add(const std::string& line) { list = curl_slist_append(list, line.c_str()); }
};

class Http final : public Channel {
public:
    Http(HttpOutput output, CURL* curl) : output_(std::move(output)), curl_(curl) {
        for (auto* headers : {&text_, &json_}) {
            headers->add(headers == &json_ ? "Content-Type: application/json"
                                           : "Content-Type: text/plain");
            headers->add("Expect:");
            for (const auto& line : output_.headers)
                headers->add(line);
        }
    }
    ~Http() override { curl_easy_cleanup(curl_); }
    Http(const Http&) = delete;
    Http& operator=(const Http&) = delete;

    Result<> send(const std::string& line, bool json, const model::Alert&) override {
        auto wait = kFirstWait;
        for (unsigned attempt = 0;; ++attempt) {
            bool again = false;
            auto done = post(line, json, again);
            if (done || !again || attempt == output_.retries) return done;
            std::this_thread::sleep_for(wait);
            wait *= 2;
        }
    }

private:
    // The handle keeps its connection.
    Result<> post(const std::string& line, bool json, bool& again) {
        curl_easy_setopt(curl_, CURLOPT_HTTPHEADER, json ? json_.list : text_.list);
        curl_easy_setopt(curl_, CURLOPT_POSTFIELDS, line.data());
        curl_easy_setopt(curl_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(line.size()));
        if (const auto code = curl_easy_perform(curl_); code != CURLE_OK) {
            again = true;
            return fail(Code::unavailable, "cannot post to {}: {}", output_.url,
                        curl_easy_strerror(code));
        }
        long status = 0;
        curl_easy_getinfo(curl_, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200 && status < 300) return {};
        again = status >= 500 || status == 408 || status == 429;
        return fail(Code::unavailable, "{} answered with status {}", output_.url, status);
    }

    HttpOutput output_;
    CURL* curl_;
    Headers text_;
    Headers json_;
};

} // namespace

Result<std::unique_ptr<Channel>> http_channel(HttpOutput output) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    const bool known = output.url.starts_with("http://") || output.url.starts_with("https://");
    if (!known) return fail(Code::invalid, "'{}' is not an http:// or https:// URL", output.url);
    CURL* curl = curl_easy_init();
    if (curl == nullptr) return fail(Code::internal, "libcurl cannot start");
    curl_easy_setopt(curl, CURLOPT_URL, output.url.c_str());
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_POST, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(output.timeout_ms));
    curl_easy_setopt(curl, CURLOPT_USERAGENT, output.user_agent.c_str());
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    if (output.insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    const auto set = [&](CURLoption option, const std::string& value) {
        if (!value.empty()) curl_easy_setopt(curl, option, value.c_str());
    };
    set(CURLOPT_CAINFO, output.ca_file);
    set(CURLOPT_SSLCERT, output.client_certificate);
    set(CURLOPT_SSLKEY, output.client_key);
    return std::make_unique<Http>(std::move(output), curl);
}

} // namespace beeline::security
