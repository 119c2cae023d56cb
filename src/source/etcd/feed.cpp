#include "source/etcd/feed.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>

namespace beeline::source {
namespace {

constexpr std::size_t kMostKeys = 500'000;
constexpr std::size_t kMostBytes = 512U << 20;

EtcdFeed::Value to_value(const etcdpb::KeyValue& from, bool deleted) {
    return {from.key(),
            deleted ? std::string() : from.value(),
            from.create_revision(),
            from.mod_revision(),
            from.lease(),
            deleted};
}

} // namespace

unsigned Pause::next_ms() {
    const unsigned longest =
        std::min<std::uint64_t>(longest_ms_, std::uint64_t{first_ms_} << std::min(failures_, 20U));
    ++failures_;
    return longest / 2 + static_cast<unsigned>(random_() % (longest / 2 + 1));
}

EtcdFeed::EtcdFeed(EtcdOptions options, Handlers handlers, std::uint64_t cluster,
                   std::int64_t revision)
    : options_(std::move(options)), handlers_(std::move(handlers)), client_(options_),
      cluster_(cluster), revision_(revision), page_(static_cast<int>(options_.page)),
      pause_(options_.first_pause_ms, options_.longest_pause_ms) {
    thread_ = std::thread([this] {
        pthread_setname_np(pthread_self(), "etcd-feed");
        run();
    });
}

EtcdFeed::~EtcdFeed() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    client_.stop();
    wake_.notify_all();
    thread_.join();
}

bool EtcdFeed::sleep(unsigned ms) {
    std::unique_lock lock(mutex_);
    return !wake_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stop_; });
}

void EtcdFeed::run() {
    for (;;) {
        Error error;
        if (!listed_) {
            if (const auto done = list(); !done) error = done.error();
        }
        if (listed_) {
            error = follow();
            // The revisions of this cluster are others: read it anew.
            if (!listed_ && sleep(pause_.next_ms())) continue;
        }
        if (EtcdClient::is_compacted(error)) {
            // Too long away: what happened in between can only be read as a whole.
            listed_ = false;
            if (!sleep(0)) return;
            continue;
        }
        connected_ = false;
        ++failures_;
        if (!sleep(0)) return;
        handlers_.state(error.message);
        if (!sleep(pause_.next_ms())) return;
    }
}

// In pages, all of the revision of the first one.
Result<> EtcdFeed::list() {
    Batch batch;
    batch.whole = true;
    std::size_t bytes = 0;
    etcdpb::RangeRequest request;
    request.set_key(options_.prefix + "/");
    request.set_range_end(range_end(options_.prefix + "/"));
    for (;;) {
        request.set_limit(page_);
        auto answer = client_.range(request);
        if (!answer && EtcdClient::is_too_large(answer.error()) && page_ > 1) {
            page_ = std::max(1, page_ / 8);
            continue;
        }
        if (!answer) return Failure(answer.error());
        if (request.revision() == 0) {
            batch.cluster = answer->header().cluster_id();
            batch.revision = answer->header().revision();
            request.set_revision(batch.revision);
        }
        for (const auto& each : answer->kvs()) {
            bytes += each.key().size() + each.value().size();
            batch.values.push_back(to_value(each, false));
        }
        if (batch.values.size() > kMostKeys || bytes > kMostBytes)
            return fail(Code::exhausted, "more than {} keys or {} MiB are below {}: not read",
                        kMostKeys, kMostBytes >> 20, options_.prefix);
        if (!answer->more() || answer->kvs().empty()) break;
        // The next key after the last one.
        request.set_key(answer->kvs().rbegin()->key() + std::string(1, '\0'));
    }
    batch.history = batch.cluster != cluster_ || batch.revision < revision_;
    cluster_ = batch.cluster;
    revision_ = batch.revision;
    listed_ = true;
    ++lists_;
    handlers_.batch(std::move(batch));
    return {};
}

Error EtcdFeed::follow() {
    etcdpb::WatchCreateRequest request;
    request.set_key(options_.prefix + "/");
    request.set_range_end(range_end(options_.prefix + "/"));
    request.set_start_revision(revision_ + 1);
    // Without news the known revision must not become so old that it is compacted.
    request.set_progress_notify(true);
    request.set_fragment(true);
    Batch pending;
    return client_.watch(
        request, [&](const etcdpb::WatchResponse& response) { return take(response, pending); });
}

bool EtcdFeed::take(const etcdpb::WatchResponse& response, Batch& pending) {
    const auto& header = response.header();
    if (response.created()) {
        // Another cluster, or this one from a backup: its revisions say nothing about ours.
        if (header.cluster_id() != cluster_ || header.revision() < revision_) {
            listed_ = false;
            return false;
        }
        pause_.reset();
        connected_ = true;
        handlers_.state("");
    }
    for (const auto& event : response.events())
        pending.values.push_back(to_value(event.kv(), event.type() == etcdpb::Event::DELETE));
    // The rest of this revision is still to come.
    if (response.fragment()) return true;
    // With events, or when the watch was made, the header tells the server's revision, not how far the events are.
    if (!pending.values.empty()) {
        revision_ = std::max(revision_, pending.values.back().modified);
    } else if (!response.created()) {
        revision_ = std::max(revision_, header.revision());
    }
    if (pending.values.empty()) return true;
    pending.cluster = cluster_;
    pending.revision = revision_;
    handlers_.batch(std::exchange(pending, {}));
    return true;
}

} // namespace beeline::source
