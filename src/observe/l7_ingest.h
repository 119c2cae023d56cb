// Records of the ring bl_l7 -> messages of application protocols in the store. One thread; counts from any.
//
// The kernel says who the ends of a connection are before the first payload of either; whoever missed that (an agent that
// was restarted, a ring that was full) is answered by the datapath's own table. Plain text from TLS libraries finds its
// connection by its socket's addresses and is read as a stream of its own beside the encrypted one.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "model/l7_choice.h"
#include "observe/clock.h"
#include "observe/consumer.h"
#include "observe/dns_names.h"
#include "observe/enrich.h"
#include "observe/l7/tracker.h"
#include "observe/l7_decode.h"
#include "observe/store.h"

namespace beeline::observe {

// What the datapath is asked. Called from the consumer's thread.
struct L7Datapath {
    // The connection between two ends, as one event of kind opened; of one to a service, that to its backend.
    std::function<std::optional<bl_flow_event>(const bl_flow_key&)> connection;
    // No more payload of it.
    std::function<void(const bl_flow_key&, std::uint64_t opened_ns)> stop;
};

struct L7Counts {
    l7::Stats tracker;
    std::uint64_t messages = 0;   // stored
    std::uint64_t unwanted = 0;   // of protocols that the workload's choice leaves out
    std::uint64_t unknown = 0;    // pieces of connections that nobody knows any more
    std::uint64_t after_stop = 0; // pieces that came although they were not wanted any more
    std::uint64_t refused = 0;    // records that were not understood
    std::uint64_t lost = 0;       // as the kernel counted
    std::uint64_t forgotten = 0;  // connections that made room for others
    std::size_t connections = 0;  // now
    std::size_t dns_names = 0;    // addresses that have one now
};

class L7Ingest final : public RingReader, private l7::Sink {
public:
    static constexpr std::size_t kConnections = 32 * 1024;

    L7Ingest(Store& store, l7::Options options, L7Datapath datapath,
             std::shared_ptr<DnsNames> names, std::string proc = "/proc",
             EventClock clock = EventClock(), std::size_t connections = kConnections);
    ~L7Ingest() override;

    void record(std::span<const std::byte> bytes) override;
    void flush() override;
    void lost(std::uint64_t count) override;

    // Any thread.
    void set_directory(std::shared_ptr<const model::Directory> directory);
    // What is read of each chosen workload, by Workload::id.
    using Chosen = std::unordered_map<std::uint32_t, model::L7Protocols>;
    void set_chosen(std::shared_ptr<const Chosen> chosen);
    [[nodiscard]] L7Counts counts() const;

private:
    struct Connection;
    struct KeyHash {
        std::size_t operator()(const bl_flow_key& key) const noexcept;
    };
    struct KeyEqual {
        bool operator()(const bl_flow_key& a, const bl_flow_key& b) const noexcept;
    };
    using Order = std::list<Connection>; // last used first

    void message(std::uint64_t connection, std::uint64_t time_ns,
                 std::shared_ptr<const model::L7> message) override;
    void shared_message(std::uint64_t connection, std::uint64_t time_ns,
                        const std::shared_ptr<const model::L7>& message,
                        const model::L7Numbers& numbers) override;
    void give_up(std::uint64_t connection, l7::GiveUp reason) override;

    void introduce(const L7Record& record);
    void payload(const L7Record& record);
    void plain_text(const L7Record& record);
    void end(Order::iterator connection);
    void name(Connection& connection, const FlowEvent& event);
    Connection* find(const bl_flow_key& normal, std::uint64_t opened_ns);
    Connection* by_service(const bl_flow_key& key);
    Connection* by_id(std::uint64_t id);
    Connection& add(const bl_flow_key& client, std::uint64_t opened_ns);
    bool ask(Connection& connection);
    void stop(Connection& connection);
    void give(Connection& connection, const l7::Chunk& chunk);
    void store(Connection& connection, std::uint64_t time_ns,
               const std::shared_ptr<const model::L7>& message, const model::L7Numbers& numbers);
    [[nodiscard]] bool wanted(Connection& connection, model::L7::Protocol protocol);
    void learn(const Connection& connection, const model::L7& message, std::uint64_t time_ns);

    Store& store_;
    L7Datapath datapath_;
    std::shared_ptr<DnsNames> names_;
    Enricher enricher_;
    EventClock clock_;
    l7::Tracker tracker_;
    const std::size_t capacity_;

    Order order_;
    std::unordered_map<bl_flow_key, Order::iterator, KeyHash, KeyEqual> index_;
    std::unordered_map<std::uint64_t, Order::iterator> ids_;
    std::uint64_t next_id_ = 2;
    std::uint64_t next_tick_ns_ = 0;
    bool unpublished_ = false;

    std::mutex mutex_;
    std::shared_ptr<const Chosen> next_chosen_; // under mutex_
    std::atomic<bool> chosen_changed_{false};
    std::shared_ptr<const Chosen> chosen_;
    std::uint64_t choice_ = 1;      // counts changes of chosen_
    Connection* current_ = nullptr; // whose chunk the tracker has

    mutable std::mutex counts_mutex_; // of published_ only
    L7Counts published_;
    L7Counts counts_;
};

} // namespace beeline::observe
