// Calls to an etcd cluster: several endpoints, TLS, a token that is renewed. Every call waits; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include <etcd/rpc.grpc.pb.h>
#include <grpcpp/grpcpp.h>

#include "base/result.h"
#include "source/etcd/options.h"

namespace beeline::source {

namespace etcdpb = ::etcdserverpb;

// The end of the range of all keys that begin with `prefix`.
std::string range_end(std::string prefix);

// An endpoint as gRPC wants it, and whether it is TLS.
struct EtcdEndpoint {
    std::string target; // "dns:///HOST:PORT"
    bool tls = false;
    bool operator==(const EtcdEndpoint&) const = default;
};
Result<EtcdEndpoint> parse_endpoint(std::string_view url);

class EtcdClient {
public:
    explicit EtcdClient(EtcdOptions options) : options_(std::move(options)) {}
    EtcdClient(const EtcdClient&) = delete;
    EtcdClient& operator=(const EtcdClient&) = delete;

    Result<etcdpb::RangeResponse> range(const etcdpb::RangeRequest& request);
    Result<etcdpb::TxnResponse> txn(const etcdpb::TxnRequest& request);
    Result<etcdpb::LeaseGrantResponse> grant(std::int64_t ttl_s);
    // The seconds that are left now; 0: there is no such lease.
    Result<std::int64_t> keep_alive(std::int64_t lease);

    // Waits for responses until the stream ends, and says why it did. The handler returns false to end it.
    Error watch(const etcdpb::WatchCreateRequest& request,
                const std::function<bool(const etcdpb::WatchResponse&)>& handler);

    // Ends all calls, also later ones.
    void stop();
    // The endpoint in use, or the one to be tried next.
    [[nodiscard]] std::string endpoint() const;

    // The revision that was asked for is no longer known to the server.
    static bool is_compacted(const Error& error);
    // An answer that is larger than one message may be.
    static bool is_too_large(const Error& error);

private:
    struct Session; // a connection to one endpoint, with its token
    class Call;     // a context that stop() cancels

    Result<std::shared_ptr<Session>> session();
    Result<std::shared_ptr<Session>> connect(const std::string& url);
    Result<> authenticate(Session& session);
    void drop(const std::shared_ptr<Session>& session);
    // `idempotent`: may be sent again when nobody knows whether it arrived.
    Result<> unary(bool idempotent,
                   const std::function<grpc::Status(Session&, grpc::ClientContext&)>& send);

    EtcdOptions options_;
    mutable std::mutex mutex_;
    std::shared_ptr<Session> session_;
    std::size_t next_ = 0; // endpoint
    std::set<grpc::ClientContext*> calls_;
    bool stopped_ = false;
};

} // namespace beeline::source
