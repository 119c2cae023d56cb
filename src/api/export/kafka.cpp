#include "api/export/kafka.h"

#include <atomic>
#include <mutex>
#include <utility>

#include <librdkafka/rdkafkacpp.h>

#include "api/export/pump.h"
#include "base/log.h"

namespace beeline::exporting {
namespace {

constexpr int kPatienceMs = 100; // for room in the queue, before a flow is given up
constexpr int kFlushMs = 3000;   // at the end

// Text in a log that a broker or a library made: a secret in it is somebody else's mistake, its length is ours.
std::string shortened(const std::string& text) { return text.substr(0, 300); }

class Events final : public RdKafka::DeliveryReportCb, public RdKafka::EventCb {
public:
    void dr_cb(RdKafka::Message& message) override {
        const std::lock_guard lock(mutex_);
        if (message.err() == RdKafka::ERR_NO_ERROR) {
            ++stats_.sent;
            stats_.last_error.clear();
            return;
        }
        ++stats_.failed;
        note(message.errstr());
    }
    void event_cb(RdKafka::Event& event) override {
        if (event.type() != RdKafka::Event::EVENT_ERROR) return;
        const std::lock_guard lock(mutex_);
        note(RdKafka::err2str(event.err()) + ": " + event.str());
    }
    void lost(std::uint64_t count) {
        const std::lock_guard lock(mutex_);
        stats_.lost += count;
    }
    void waited() {
        const std::lock_guard lock(mutex_);
        ++stats_.retries;
    }
    [[nodiscard]] Stats stats() const {
        const std::lock_guard lock(mutex_);
        return stats_;
    }

private:
    void note(const std::string& text) {
        std::string error = shortened(text);
        if (stats_.last_error == error) return;
        stats_.last_error = std::move(error);
        log_warn("kafka", kv("error", stats_.last_error));
    }

    mutable std::mutex mutex_;
    Stats stats_;
};

class KafkaExporter final : public Exporter, public Sink {
public:
    KafkaExporter(const KafkaOptions& options, Selector selector)
        : options_(options), selector_(std::move(selector)) {}
    ~KafkaExporter() override {
        pump_.reset();
        if (producer_) producer_->flush(kFlushMs);
    }

    Result<> start(const observe::Store& store) {
        std::unique_ptr<RdKafka::Conf> conf(RdKafka::Conf::create(RdKafka::Conf::CONF_GLOBAL));
        std::string error;
        // What the configuration says by name comes first, so that only its own properties can override it.
        std::map<std::string, std::string> properties{
            {"bootstrap.servers", options_.brokers},
            {"client.id", "beeline"},
            {"compression.type", options_.compression},
            {"acks", options_.acks},
            {"queue.buffering.max.messages", std::to_string(options_.queue)},
            {"linger.ms", "50"},
        };
        for (const auto& [name, value] : options_.properties)
            properties[name] = value;
        for (const auto& [name, value] : properties) {
            if (conf->set(name, value, error) != RdKafka::Conf::CONF_OK) {
                // The library's message may repeat the value.
                return fail(Code::invalid, "export.kafka: librdkafka refuses the property {}",
                            name);
            }
        }
        if (conf->set("dr_cb", static_cast<RdKafka::DeliveryReportCb*>(&events_), error) !=
                RdKafka::Conf::CONF_OK ||
            conf->set("event_cb", static_cast<RdKafka::EventCb*>(&events_), error) !=
                RdKafka::Conf::CONF_OK)
            return fail(Code::internal, "export.kafka: {}", error);
        producer_.reset(RdKafka::Producer::create(conf.get(), error));
        if (!producer_) return fail(Code::invalid, "export.kafka: {}", error);
        pump_ = TRY(Pump::start(store, *this));
        return {};
    }

    [[nodiscard]] std::string name() const override { return options_.topic; }
    [[nodiscard]] std::string kind() const override { return "kafka"; }
    [[nodiscard]] Stats stats() const override {
        Stats stats = events_.stats();
        stats.waiting = waiting_.load(std::memory_order_relaxed);
        return stats;
    }

    void take(const model::Flow& flow) override {
        const bool loss = flow.kind == model::Flow::Kind::lost;
        if (loss && flow.lost_where == observe::kLostInQueue) events_.lost(flow.lost);
        if (!selector_.make(flow, event_)) return;
        send(json_line(event_), loss ? std::string() : key(flow), flow.time_ns / 1'000'000);
    }
    void idle() override { poll(0); }

private:
    [[nodiscard]] std::string key(const model::Flow& flow) const {
        if (options_.key == KafkaOptions::Key::none) return "";
        const auto& end =
            options_.key == KafkaOptions::Key::source ? flow.source : flow.destination;
        return end.name.empty() ? end.address.to_string() : end.space + "/" + end.name;
    }
    void send(std::string line, const std::string& key, std::int64_t time_ms) {
        for (int tries = 0;; ++tries) {
            const auto code = producer_->produce(options_.topic, RdKafka::Topic::PARTITION_UA,
                                                 RdKafka::Producer::RK_MSG_COPY, line.data(),
                                                 line.size(), key.empty() ? nullptr : key.data(),
                                                 key.size(), time_ms, nullptr);
            if (code == RdKafka::ERR_NO_ERROR) break;
            if (code != RdKafka::ERR__QUEUE_FULL || tries == 1) return events_.lost(1);
            // Back-pressure: the store goes on keeping flows while this waits for the broker.
            events_.waited();
            poll(kPatienceMs);
        }
        if (++since_poll_ % 64 == 0) poll(0);
    }
    void poll(int timeout_ms) {
        producer_->poll(timeout_ms);
        waiting_.store(static_cast<std::uint64_t>(producer_->outq_len()),
                       std::memory_order_relaxed);
    }

    KafkaOptions options_;
    Selector selector_;
    Events events_; // outlives the producer
    std::unique_ptr<RdKafka::Producer> producer_;
    observer::ExportEvent event_;
    std::uint64_t since_poll_ = 0;
    std::atomic<std::uint64_t> waiting_{0};
    std::unique_ptr<Pump> pump_;
};

} // namespace

Result<std::unique_ptr<Exporter>> start_kafka(const KafkaOptions& options, hubble::Origin origin,
                                              const observe::Store& store) {
    auto out = std::make_unique<KafkaExporter>(
        options, TRY(Selector::compile(options.selection, std::move(origin))));
    TRY(out->start(store));
    return std::unique_ptr<Exporter>(std::move(out));
}

} // namespace beeline::exporting
