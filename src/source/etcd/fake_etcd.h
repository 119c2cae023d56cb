// For tests: an etcd inside this process, with revisions, watches, leases, compaction, users, and the ways to fail.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <etcd/rpc.grpc.pb.h>
#include <grpcpp/grpcpp.h>

namespace beeline::source {

namespace etcdpb = ::etcdserverpb;

class FakeEtcd final : public etcdpb::KV::Service,
                       public etcdpb::Watch::Service,
                       public etcdpb::Lease::Service,
                       public etcdpb::Auth::Service {
public:
    FakeEtcd() { start(); }
    ~FakeEtcd() override { stop(); }

    void start() {
        stopping_ = false;
        grpc::ServerBuilder builder;
        builder.AddListeningPort("127.0.0.1:" + std::to_string(port_),
                                 grpc::InsecureServerCredentials(), &port_);
        builder.RegisterService(static_cast<etcdpb::KV::Service*>(this));
        builder.RegisterService(static_cast<etcdpb::Watch::Service*>(this));
        builder.RegisterService(static_cast<etcdpb::Lease::Service*>(this));
        builder.RegisterService(static_cast<etcdpb::Auth::Service*>(this));
        server_ = builder.BuildAndStart();
    }
    void stop() {
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        changed_.notify_all();
        if (server_) server_->Shutdown(std::chrono::system_clock::now());
        server_.reset();
    }
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }

    void put(const std::string& key, const std::string& value, std::int64_t lease = 0) {
        const std::lock_guard lock(mutex_);
        ++revision_;
        put_locked(key, value, lease);
    }
    void remove(const std::string& key) {
        const std::lock_guard lock(mutex_);
        ++revision_;
        remove_locked(key);
    }
    void expire(std::int64_t lease) {
        const std::lock_guard lock(mutex_);
        leases_.erase(lease);
        ++revision_;
        std::vector<std::string> gone;
        for (const auto& [key, value] : keys_)
            if (value.lease() == lease) gone.push_back(key);
        for (const auto& key : gone)
            remove_locked(key);
    }
    // Forgets what happened before now; a watch from there is refused.
    void compact() {
        const std::lock_guard lock(mutex_);
        compacted_ = revision_;
        events_.clear();
    }
    // All streams end, the server stays.
    void break_streams() {
        ++streams_;
        changed_.notify_all();
    }
    void set_cluster(std::uint64_t id) {
        const std::lock_guard lock(mutex_);
        cluster_ = id;
        revision_ = 1;
        keys_.clear();
        events_.clear();
    }
    void require_token() {
        const std::lock_guard lock(mutex_);
        token_ = "t0";
    }
    // Tokens that were given are no longer good.
    void expire_tokens() {
        const std::lock_guard lock(mutex_);
        token_ += "x";
    }
    [[nodiscard]] std::string value(const std::string& key) {
        const std::lock_guard lock(mutex_);
        const auto found = keys_.find(key);
        return found == keys_.end() ? "" : found->second.value();
    }
    [[nodiscard]] std::set<std::int64_t> leases() {
        const std::lock_guard lock(mutex_);
        return leases_;
    }
    [[nodiscard]] std::int64_t revision() {
        const std::lock_guard lock(mutex_);
        return revision_;
    }

    std::atomic<unsigned> delay_ms{0};    // before each answer of KV
    std::atomic<bool> refuse_txn{false};  // as if others had changed the key
    std::atomic<unsigned> ranges{0};      // calls
    std::atomic<unsigned> watches{0};     // calls
    std::atomic<unsigned> logins{0};      // calls
    std::atomic<std::size_t> fragment{0}; // events of one response; 0: all

    grpc::Status Range(grpc::ServerContext* context, const etcdpb::RangeRequest* request,
                       etcdpb::RangeResponse* response) override {
        ++ranges;
        wait();
        const std::lock_guard lock(mutex_);
        if (!known(*context)) return stale();
        if (request->revision() != 0 && request->revision() < compacted_)
            return {grpc::StatusCode::OUT_OF_RANGE,
                    "etcdserver: mvcc: required revision has been compacted"};
        range_locked(*request, *response);
        return grpc::Status::OK;
    }

    grpc::Status Txn(grpc::ServerContext* context, const etcdpb::TxnRequest* request,
                     etcdpb::TxnResponse* response) override {
        wait();
        const std::lock_guard lock(mutex_);
        if (!known(*context)) return stale();
        bool holds = !(refuse_txn && request->compare_size() > 0);
        for (const auto& each : request->compare()) {
            const auto found = keys_.find(each.key());
            const auto mod = found == keys_.end() ? 0 : found->second.mod_revision();
            const auto lease = found == keys_.end() ? 0 : found->second.lease();
            holds = holds && (each.target() == etcdpb::Compare::MOD ? mod == each.mod_revision()
                                                                    : lease == each.lease());
        }
        response->set_succeeded(holds);
        if (holds) {
            const bool writes =
                std::any_of(request->success().begin(), request->success().end(),
                            [](const auto& each) { return !each.has_request_range(); });
            if (writes) ++revision_;
            for (const auto& each : request->success()) {
                auto* out = response->add_responses();
                if (each.has_request_range()) {
                    range_locked(each.request_range(), *out->mutable_response_range());
                } else if (each.has_request_put()) {
                    const auto& put = each.request_put();
                    if (put.lease() != 0 && !leases_.contains(put.lease()))
                        return {grpc::StatusCode::NOT_FOUND,
                                "etcdserver: requested lease not found"};
                    put_locked(put.key(), put.value(), put.lease());
                } else {
                    remove_locked(each.request_delete_range().key());
                }
            }
        }
        head(*response->mutable_header());
        return grpc::Status::OK;
    }

    grpc::Status
    Watch(grpc::ServerContext* context,
          grpc::ServerReaderWriter<etcdpb::WatchResponse, etcdpb::WatchRequest>* stream) override {
        ++watches;
        const auto generation = streams_.load();
        etcdpb::WatchRequest request;
        if (!stream->Read(&request)) return grpc::Status::OK;
        auto next = request.create_request().start_revision();
        etcdpb::WatchResponse answer;
        {
            const std::lock_guard lock(mutex_);
            head(*answer.mutable_header());
            answer.set_created(true);
            if (!known(*context)) {
                answer.set_canceled(true);
                answer.set_cancel_reason(
                    "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token");
            } else if (next <= compacted_) {
                stream->Write(answer);
                answer.set_created(false);
                answer.set_canceled(true);
                answer.set_compact_revision(compacted_ + 1);
            }
        }
        stream->Write(answer);
        while (!answer.canceled()) {
            std::vector<etcdpb::WatchResponse> news;
            {
                std::unique_lock lock(mutex_);
                changed_.wait_for(lock, std::chrono::milliseconds(5));
                if (stopping_ || generation != streams_ || context->IsCancelled()) break;
                etcdpb::WatchResponse one;
                for (const auto& event : events_) {
                    if (event.kv().mod_revision() < next) continue;
                    *one.add_events() = event;
                    const auto most = fragment.load();
                    if (most != 0 && static_cast<std::size_t>(one.events_size()) == most) {
                        one.set_fragment(true);
                        news.push_back(std::exchange(one, {}));
                    }
                }
                next = revision_ + 1;
                if (one.events_size() != 0) news.push_back(std::move(one));
                if (!news.empty()) news.back().set_fragment(false);
                for (auto& each : news)
                    head(*each.mutable_header());
            }
            for (const auto& each : news)
                stream->Write(each);
        }
        return answer.canceled() ? grpc::Status::OK
                                 : grpc::Status(grpc::StatusCode::UNAVAILABLE, "going away");
    }

    grpc::Status LeaseGrant(grpc::ServerContext*, const etcdpb::LeaseGrantRequest* request,
                            etcdpb::LeaseGrantResponse* response) override {
        const std::lock_guard lock(mutex_);
        const auto id = 1000 + next_lease_++;
        leases_.insert(id);
        response->set_id(id);
        response->set_ttl(request->ttl());
        return grpc::Status::OK;
    }

    grpc::Status
    LeaseKeepAlive(grpc::ServerContext*,
                   grpc::ServerReaderWriter<etcdpb::LeaseKeepAliveResponse,
                                            etcdpb::LeaseKeepAliveRequest>* stream) override {
        etcdpb::LeaseKeepAliveRequest request;
        while (stream->Read(&request)) {
            etcdpb::LeaseKeepAliveResponse response;
            response.set_id(request.id());
            {
                const std::lock_guard lock(mutex_);
                response.set_ttl(leases_.contains(request.id()) ? 30 : 0);
            }
            stream->Write(response);
        }
        return grpc::Status::OK;
    }

    grpc::Status Authenticate(grpc::ServerContext*, const etcdpb::AuthenticateRequest* request,
                              etcdpb::AuthenticateResponse* response) override {
        ++logins;
        const std::lock_guard lock(mutex_);
        if (request->name() != "beeline" || request->password() != "secret")
            return {grpc::StatusCode::INVALID_ARGUMENT,
                    "etcdserver: authentication failed, invalid user ID or password"};
        response->set_token(token_);
        return grpc::Status::OK;
    }

private:
    void wait() const {
        if (delay_ms != 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
    }
    static grpc::Status stale() {
        return {grpc::StatusCode::UNAUTHENTICATED, "etcdserver: invalid auth token"};
    }
    bool known(const grpc::ServerContext& context) const {
        if (token_.empty()) return true;
        const auto& metadata = context.client_metadata();
        const auto found = metadata.find("token");
        return found != metadata.end() &&
               std::string(found->second.data(), found->second.size()) == token_;
    }
    void head(etcdpb::ResponseHeader& header) const {
        header.set_cluster_id(cluster_);
        header.set_revision(revision_);
    }
    void range_locked(const etcdpb::RangeRequest& request, etcdpb::RangeResponse& response) const {
        head(*response.mutable_header());
        for (auto it = keys_.lower_bound(request.key()); it != keys_.end(); ++it) {
            if (request.range_end().empty() ? it->first != request.key()
                                            : it->first >= request.range_end())
                break;
            if (request.limit() != 0 && response.kvs_size() == request.limit()) {
                response.set_more(true);
                break;
            }
            *response.add_kvs() = it->second;
        }
    }
    void put_locked(const std::string& key, const std::string& value, std::int64_t lease) {
        auto& kv = keys_[key];
        kv.set_key(key);
        kv.set_value(value);
        kv.set_lease(lease);
        kv.set_mod_revision(revision_);
        if (kv.create_revision() == 0) kv.set_create_revision(revision_);
        etcdpb::Event event;
        *event.mutable_kv() = kv;
        events_.push_back(event);
        changed_.notify_all();
    }
    void remove_locked(const std::string& key) {
        if (keys_.erase(key) == 0) return;
        etcdpb::Event event;
        event.set_type(etcdpb::Event::DELETE);
        event.mutable_kv()->set_key(key);
        event.mutable_kv()->set_mod_revision(revision_);
        events_.push_back(event);
        changed_.notify_all();
    }

    std::unique_ptr<grpc::Server> server_;
    int port_ = 0;
    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;
    std::atomic<unsigned> streams_{0};
    std::uint64_t cluster_ = 7;
    std::int64_t revision_ = 1;
    std::int64_t compacted_ = 0;
    std::int64_t next_lease_ = 1;
    std::string token_;
    std::map<std::string, etcdpb::KeyValue> keys_;
    std::vector<etcdpb::Event> events_;
    std::set<std::int64_t> leases_;
};

} // namespace beeline::source
