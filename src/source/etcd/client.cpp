#include "source/etcd/client.h"

#include <algorithm>
#include <chrono>

#include "base/file.h"

namespace beeline::source {
namespace {

constexpr int kLargestMessage = 64 << 20;
// The server refuses clients that ask more often than every 5 s.
constexpr int kPingMs = 10'000;
constexpr int kPingTimeoutMs = 5'000;

using Clock = std::chrono::system_clock;

std::string trimmed(std::string text) {
    while (text.ends_with('\n') || text.ends_with('\r'))
        text.pop_back();
    return text;
}

// The server forgot the token, or users were changed since it was made.
bool is_stale_token(std::string_view message) {
    return message.find("invalid auth token") != std::string_view::npos ||
           message.find("revision of auth store is old") != std::string_view::npos ||
           message.find("user name is empty") != std::string_view::npos;
}

Code code_of(const grpc::Status& status) {
    switch (status.error_code()) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::FAILED_PRECONDITION: return Code::invalid;
    case grpc::StatusCode::NOT_FOUND: return Code::not_found;
    case grpc::StatusCode::RESOURCE_EXHAUSTED: return Code::exhausted;
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED: return Code::denied;
    case grpc::StatusCode::UNIMPLEMENTED: return Code::unsupported;
    default: return Code::unavailable;
    }
}

Error to_error(const grpc::Status& status, const std::string& url) {
    std::string message = status.error_message();
    // Texts of others go into logs and answers.
    std::replace_if(
        message.begin(), message.end(), [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; },
        ' ');
    if (message.size() > 300) message.resize(300);
    return Error{code_of(status), 0,
                 fmt::format("etcd at {}: {}", url, message.empty() ? "no answer" : message)};
}

} // namespace

std::string range_end(std::string prefix) {
    while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff)
        prefix.pop_back();
    if (prefix.empty()) return std::string(1, '\0');
    prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
    return prefix;
}

Result<EtcdEndpoint> parse_endpoint(std::string_view url) {
    EtcdEndpoint out;
    std::string_view rest = url;
    if (rest.starts_with("https://")) {
        out.tls = true;
        rest.remove_prefix(8);
    } else if (rest.starts_with("http://")) {
        rest.remove_prefix(7);
    } else {
        return fail(Code::invalid, "expected http:// or https://, HOST:PORT");
    }
    if (rest.ends_with('/')) rest.remove_suffix(1);
    const auto colon = rest.rfind(':');
    const bool odd = std::any_of(rest.begin(), rest.end(), [](char c) {
        return c <= ' ' || c >= 0x7f || c == '/' || c == '@' || c == '?' || c == '#' || c == '%';
    });
    if (odd || colon == std::string_view::npos || colon == 0)
        return fail(Code::invalid, "expected {}HOST:PORT without a path",
                    out.tls ? "https://" : "http://");
    const auto port = rest.substr(colon + 1);
    const bool digits = !port.empty() && port.size() <= 5 &&
                        port.find_first_not_of("0123456789") == std::string_view::npos;
    if (!digits || std::stoul(std::string(port)) == 0 || std::stoul(std::string(port)) > 65535)
        return fail(Code::invalid, "expected a port from 1 to 65535 at its end");
    // IPv6 addresses have colons of their own.
    const auto host = rest.substr(0, colon);
    if (host.find(':') != std::string_view::npos && !(host.starts_with('[') && host.ends_with(']')))
        return fail(Code::invalid, "an IPv6 address must be in brackets");
    out.target = fmt::format("dns:///{}", rest);
    return out;
}

struct EtcdClient::Session {
    std::string url;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<etcdpb::KV::Stub> kv;
    std::unique_ptr<etcdpb::Watch::Stub> watch;
    std::unique_ptr<etcdpb::Lease::Stub> lease;
    std::unique_ptr<etcdpb::Auth::Stub> auth;
    std::string token;
};

class EtcdClient::Call {
public:
    Call(EtcdClient& client, const Session& session, unsigned timeout_ms) : client_(client) {
        if (timeout_ms != 0)
            context.set_deadline(Clock::now() + std::chrono::milliseconds(timeout_ms));
        if (!session.token.empty()) context.AddMetadata("token", session.token);
        // A member that lost its cluster answers with an error instead of old data or silence.
        context.AddMetadata("hasleader", "true");
        const std::lock_guard lock(client_.mutex_);
        client_.calls_.insert(&context);
        if (client_.stopped_) context.TryCancel();
    }
    ~Call() {
        const std::lock_guard lock(client_.mutex_);
        client_.calls_.erase(&context);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

    grpc::ClientContext context;

private:
    EtcdClient& client_;
};

void EtcdClient::stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    for (auto* call : calls_)
        call->TryCancel();
}

std::string EtcdClient::endpoint() const {
    const std::lock_guard lock(mutex_);
    return session_ ? session_->url : options_.endpoints[next_ % options_.endpoints.size()];
}

bool EtcdClient::is_compacted(const Error& error) {
    return error.message.find("has been compacted") != std::string::npos;
}

bool EtcdClient::is_too_large(const Error& error) {
    return error.code == Code::exhausted && error.message.find("larger than") != std::string::npos;
}

Result<std::shared_ptr<EtcdClient::Session>> EtcdClient::connect(const std::string& url) {
    const auto endpoint = TRY(parse_endpoint(url));
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kLargestMessage);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    // Connections are not shared, or pauses after failures would be.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (endpoint.tls) {
        // Read anew for each connection: certificates are renewed while the agent runs.
        grpc::SslCredentialsOptions tls;
        if (!options_.ca_file.empty()) tls.pem_root_certs = TRY(read_file(options_.ca_file));
        if (!options_.certificate.empty()) {
            tls.pem_cert_chain = TRY(read_file(options_.certificate));
            tls.pem_private_key = TRY(read_file(options_.key));
        }
        credentials = grpc::SslCredentials(tls);
        if (!options_.server_name.empty()) arguments.SetSslTargetNameOverride(options_.server_name);
    }
    auto out = std::make_shared<Session>();
    out->url = url;
    out->channel = grpc::CreateCustomChannel(endpoint.target, credentials, arguments);
    if (!out->channel->WaitForConnected(Clock::now() +
                                        std::chrono::milliseconds(options_.connect_ms)))
        return fail(Code::unavailable, "etcd at {}: cannot be reached{}", url,
                    endpoint.tls ? ", or its certificate is not trusted" : "");
    out->kv = etcdpb::KV::NewStub(out->channel);
    out->watch = etcdpb::Watch::NewStub(out->channel);
    out->lease = etcdpb::Lease::NewStub(out->channel);
    out->auth = etcdpb::Auth::NewStub(out->channel);
    TRY(authenticate(*out));
    return out;
}

Result<> EtcdClient::authenticate(Session& session) {
    if (options_.user.empty()) return {};
    session.token.clear();
    etcdpb::AuthenticateRequest request;
    request.set_name(options_.user);
    if (!options_.password_file.empty())
        request.set_password(trimmed(TRY(read_file(options_.password_file, 4096))));
    etcdpb::AuthenticateResponse response;
    Call call(*this, session, options_.request_ms);
    const auto status = session.auth->Authenticate(&call.context, request, &response);
    if (status.ok()) {
        session.token = response.token();
        return {};
    }
    // A cluster without users needs no token.
    if (status.error_message().find("authentication is not enabled") != std::string::npos)
        return {};
    Error error = to_error(status, session.url);
    if (error.code == Code::invalid) error.code = Code::denied;
    return Failure(std::move(error));
}

Result<std::shared_ptr<EtcdClient::Session>> EtcdClient::session() {
    std::size_t first = 0;
    {
        const std::lock_guard lock(mutex_);
        if (stopped_) return fail(Code::unavailable, "the agent is stopping");
        if (session_) return session_;
        first = next_;
    }
    std::string errors;
    Code code = Code::unavailable;
    for (std::size_t i = 0; i < options_.endpoints.size(); ++i) {
        const auto at = (first + i) % options_.endpoints.size();
        auto made = connect(options_.endpoints[at]);
        const std::lock_guard lock(mutex_);
        if (stopped_) return fail(Code::unavailable, "the agent is stopping");
        if (made) {
            session_ = *made;
            next_ = at;
            return session_;
        }
        code = made.error().code;
        errors += (errors.empty() ? "" : "; ") + made.error().message;
    }
    return fail(code, "{}", errors);
}

void EtcdClient::drop(const std::shared_ptr<Session>& session) {
    const std::lock_guard lock(mutex_);
    if (session_ != session) return;
    session_.reset();
    ++next_;
}

Result<>
EtcdClient::unary(bool idempotent,
                  const std::function<grpc::Status(Session&, grpc::ClientContext&)>& send) {
    const std::size_t most = std::max<std::size_t>(2, options_.endpoints.size());
    for (std::size_t attempt = 1;; ++attempt) {
        const auto session = TRY(this->session());
        grpc::Status status;
        {
            Call call(*this, *session, options_.request_ms);
            status = send(*session, call.context);
        }
        if (status.ok()) return {};
        const bool stale = !options_.user.empty() && is_stale_token(status.error_message());
        auto error = to_error(status, session->url);
        if (stale || error.code == Code::unavailable) drop(session);
        // With a stale token nothing was done.
        const bool again = stale || (idempotent && error.code == Code::unavailable);
        if (!again || attempt >= most) return Failure(std::move(error));
    }
}

Result<etcdpb::RangeResponse> EtcdClient::range(const etcdpb::RangeRequest& request) {
    etcdpb::RangeResponse out;
    TRY(unary(true, [&](Session& session, grpc::ClientContext& context) {
        return session.kv->Range(&context, request, &out);
    }));
    return out;
}

Result<etcdpb::TxnResponse> EtcdClient::txn(const etcdpb::TxnRequest& request) {
    etcdpb::TxnResponse out;
    TRY(unary(false, [&](Session& session, grpc::ClientContext& context) {
        return session.kv->Txn(&context, request, &out);
    }));
    return out;
}

Result<etcdpb::LeaseGrantResponse> EtcdClient::grant(std::int64_t ttl_s) {
    etcdpb::LeaseGrantRequest request;
    request.set_ttl(ttl_s);
    etcdpb::LeaseGrantResponse out;
    TRY(unary(false, [&](Session& session, grpc::ClientContext& context) {
        return session.lease->LeaseGrant(&context, request, &out);
    }));
    return out;
}

Result<std::int64_t> EtcdClient::keep_alive(std::int64_t lease) {
    std::int64_t left = 0;
    TRY(unary(true, [&](Session& session, grpc::ClientContext& context) {
        const auto stream = session.lease->LeaseKeepAlive(&context);
        etcdpb::LeaseKeepAliveRequest request;
        request.set_id(lease);
        etcdpb::LeaseKeepAliveResponse response;
        const bool answered = stream->Write(request) && stream->Read(&response);
        if (answered) left = response.ttl();
        // The stream would go on: its end after the answer is ours.
        if (answered) context.TryCancel();
        const auto status = stream->Finish();
        return answered ? grpc::Status::OK : status;
    }));
    return left;
}

Error EtcdClient::watch(const etcdpb::WatchCreateRequest& request,
                        const std::function<bool(const etcdpb::WatchResponse&)>& handler) {
    const auto session = this->session();
    if (!session) return session.error();
    grpc::Status status;
    std::string reason;
    {
        Call call(*this, **session, 0);
        const auto stream = (*session)->watch->Watch(&call.context);
        etcdpb::WatchRequest message;
        *message.mutable_create_request() = request;
        etcdpb::WatchResponse response;
        bool going = stream->Write(message);
        while (going && stream->Read(&response)) {
            if (response.canceled()) {
                reason = response.compact_revision() != 0
                             ? "the revision has been compacted"
                             : (response.cancel_reason().empty() ? "the watch was cancelled"
                                                                 : response.cancel_reason());
                break;
            }
            going = handler(response);
        }
        call.context.TryCancel();
        status = stream->Finish();
    }
    if (!reason.empty()) {
        const bool denied = reason.find("permission denied") != std::string::npos;
        // The token may be what it did not like: a new one on the next connection.
        if (!EtcdClient::is_compacted(Error{Code::unavailable, 0, reason})) drop(*session);
        return to_error(grpc::Status(denied ? grpc::StatusCode::PERMISSION_DENIED
                                            : grpc::StatusCode::UNAVAILABLE,
                                     reason),
                        (*session)->url);
    }
    drop(*session);
    return to_error(status, (*session)->url);
}

} // namespace beeline::source
