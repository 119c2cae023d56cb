#include "api/export/http_post.h"

#include <curl/curl.h>
#include <zlib.h>

#include <cstdlib>
#include <mutex>
#include <utility>

namespace beeline::exporting {
namespace {

constexpr std::size_t kMostAnswer = 64U << 10;

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* to) {
    auto& body = *static_cast<std::string*>(to);
    if (body.size() < kMostAnswer) body.append(data, size * count);
    return size * count;
}

int is_aborted(void* flag, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<std::atomic<bool>*>(flag)->load(std::memory_order_relaxed) ? 1 : 0;
}

} // namespace

struct HttpPost::Handle {
    CURL* easy = nullptr;
    curl_slist* headers = nullptr;
};

std::string gzip(const std::string& text) {
    z_stream zip{};
    // 16 more than the window: with gzip's head instead of zlib's.
    if (deflateInit2(&zip, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return "";
    std::string out(deflateBound(&zip, text.size()), '\0');
    zip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    zip.avail_in = static_cast<uInt>(text.size());
    zip.next_out = reinterpret_cast<Bytef*>(out.data());
    zip.avail_out = static_cast<uInt>(out.size());
    const bool done = deflate(&zip, Z_FINISH) == Z_STREAM_END;
    out.resize(done ? zip.total_out : 0);
    deflateEnd(&zip);
    return out;
}

HttpPost::HttpPost(PostOptions options)
    : options_(std::move(options)), handle_(std::make_unique<Handle>()) {
    static std::once_flag once;
    std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
    handle_->easy = curl_easy_init();
    auto add = [this](const std::string& line) {
        handle_->headers = curl_slist_append(handle_->headers, line.c_str());
    };
    add("Content-Type: application/x-protobuf");
    add("Expect:");
    if (options_.gzip) add("Content-Encoding: gzip");
    for (const auto& [name, value] : options_.headers)
        add(name + ": " + value);
}

HttpPost::~HttpPost() {
    curl_slist_free_all(handle_->headers);
    curl_easy_cleanup(handle_->easy);
}

Result<PostAnswer> HttpPost::post(const std::string& url, const std::string& body) {
    CURL* easy = handle_->easy;
    if (easy == nullptr) return fail(Code::internal, "libcurl could not be set up");
    const std::string packed = options_.gzip ? gzip(body) : std::string();
    const std::string& sent = options_.gzip ? packed : body;
    PostAnswer answer;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, sent.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(sent.size()));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handle_->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "beeline");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(options_.timeout_ms));
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, is_aborted);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &aborted_);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer.body);
    if (!options_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
    if (!options_.certificate.empty())
        curl_easy_setopt(easy, CURLOPT_SSLCERT, options_.certificate.c_str());
    if (!options_.key.empty()) curl_easy_setopt(easy, CURLOPT_SSLKEY, options_.key.c_str());
    const CURLcode code = curl_easy_perform(easy);
    if (code != CURLE_OK) return fail(Code::unavailable, "{}", curl_easy_strerror(code));
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_off_t retry_after = 0;
    if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0)
        answer.retry_after_s = static_cast<unsigned>(std::min<curl_off_t>(retry_after, 3600));
    return answer;
}

} // namespace beeline::exporting
