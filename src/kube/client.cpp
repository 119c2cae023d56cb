#include "kube/client.h"

namespace beeline::kube {
namespace {

constexpr std::size_t kLargestAnswer = 256U << 20;

std::size_t append(char* data, std::size_t size, std::size_t count, void* owner) {
    auto& body = *static_cast<std::string*>(owner);
    if (body.size() + size * count > kLargestAnswer) return 0;
    body.append(data, size * count);
    return size * count;
}

} // namespace

// A multi handle is what keeps connections from one easy handle to the next.
struct Client::Pool {
    CURLM* multi = nullptr;
};

Client::Client(Access access) : access_(std::move(access)), pool_(std::make_unique<Pool>()) {}

Client::Client(Client&&) noexcept = default;

Client::~Client() {
    if (pool_ && pool_->multi) curl_multi_cleanup(pool_->multi);
}

Result<Response> Client::send(Request request) {
    Response out;
    const auto transfer = TRY(Transfer::create(access_, std::move(request), append, &out.body));
    if (!pool_->multi) pool_->multi = curl_multi_init();
    if (!pool_->multi) return fail(Code::exhausted, "libcurl gives no handle");
    curl_multi_add_handle(pool_->multi, transfer->handle());
    CURLcode code = CURLE_OK;
    int running = 1;
    while (running > 0) {
        if (curl_multi_perform(pool_->multi, &running) != CURLM_OK) {
            code = CURLE_FAILED_INIT;
            break;
        }
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(pool_->multi, &left)) {
            if (message->msg == CURLMSG_DONE) code = message->data.result;
        }
        if (running > 0) curl_multi_poll(pool_->multi, nullptr, 0, 1000, nullptr);
    }
    curl_multi_remove_handle(pool_->multi, transfer->handle());
    if (code != CURLE_OK) return fail(Code::unavailable, "{}", transfer->text(code));
    out.status = transfer->status();
    return out;
}

Result<std::string> Client::good(Request request) {
    const Request asked{request.method, request.path, {}, {}, {}, 0};
    auto response = TRY(send(std::move(request)));
    if (!response.good()) return failure_of(asked, response);
    return std::move(response.body);
}

Result<std::string> Client::get(const std::string& path) {
    Request request;
    request.path = path;
    return good(std::move(request));
}

} // namespace beeline::kube
