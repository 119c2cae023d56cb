#include "api/export/otlp.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include <opentelemetry/proto/collector/logs/v1/logs_service.pb.h>
#include <opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h>
#include <opentelemetry/proto/collector/trace/v1/trace_service.pb.h>

#include "api/export/http_post.h"
#include "api/export/otlp_encode.h"
#include "api/export/pump.h"
#include "base/log.h"

namespace beeline::exporting {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
namespace collector = opentelemetry::proto::collector;

constexpr milliseconds kFirstRetry{500};
constexpr milliseconds kLastRetry{30'000};
constexpr milliseconds kGoodbye{2'000}; // what is left at the end has this long

std::int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

// Records that wait, no more than allowed. `T` is a log record or a span.
template <typename T>
class Queue {
public:
    explicit Queue(std::size_t most) : most_(most) {}
    bool push(T record) {
        if (records_.size() >= most_) return false;
        if (records_.empty()) oldest_ = Clock::now();
        records_.push_back(std::move(record));
        return true;
    }
    std::vector<T> take(std::size_t count) {
        std::vector<T> out;
        for (; !records_.empty() && out.size() < count; records_.pop_front())
            out.push_back(std::move(records_.front()));
        oldest_ = Clock::now();
        return out;
    }
    [[nodiscard]] std::size_t size() const { return records_.size(); }
    [[nodiscard]] Clock::time_point oldest() const { return oldest_; }

private:
    std::size_t most_;
    std::deque<T> records_;
    Clock::time_point oldest_;
};

class OtlpExporter final : public Exporter, public Sink {
public:
    OtlpExporter(const OtlpOptions& options, Selector selector, CollectMetrics collect)
        : options_(options), selector_(std::move(selector)), collect_(std::move(collect)),
          post_({options.headers, options.timeout_ms, options.gzip, options.ca_file,
                 options.certificate, options.key}),
          logs_(options.queue), spans_(options.queue), random_(std::random_device{}()) {
        while (options_.endpoint.ends_with('/'))
            options_.endpoint.pop_back();
    }
    ~OtlpExporter() override {
        pump_.reset();
        {
            const std::lock_guard lock(mutex_);
            stopping_ = true;
            goodbye_ = Clock::now() + kGoodbye;
        }
        wake_.notify_all();
        // A server that hangs must not hold up the end.
        {
            std::unique_lock lock(mutex_);
            done_.wait_until(lock, goodbye_ + milliseconds(200), [this] { return finished_; });
        }
        post_.abort();
        if (thread_.joinable()) thread_.join();
    }

    Result<> start(const observe::Store& store) {
        if (options_.logs || options_.traces) pump_ = TRY(Pump::start(store, *this));
        thread_ = std::thread([this] { run(); });
        return {};
    }

    [[nodiscard]] std::string name() const override { return options_.endpoint; }
    [[nodiscard]] std::string kind() const override { return "otlp"; }
    [[nodiscard]] Stats stats() const override {
        const std::lock_guard lock(mutex_);
        Stats stats = stats_;
        stats.waiting = logs_.size() + spans_.size();
        return stats;
    }

    // Of the pump.
    void take(const model::Flow& flow) override {
        if (flow.kind == model::Flow::Kind::lost && flow.lost_where == observe::kLostInQueue)
            lose(flow.lost);
        if (options_.traces) {
            otel::trace::v1::Span span;
            if (fill_span(flow, new_span_id(), span)) push(spans_, std::move(span));
        }
        if (options_.logs && selector_.make(flow, event_)) {
            otel::logs::v1::LogRecord record;
            fill_log(flow, json_line(event_), record);
            push(logs_, std::move(record));
        }
    }
    void idle() override {}

private:
    template <typename T>
    void push(Queue<T>& queue, T record) {
        const std::lock_guard lock(mutex_);
        if (!queue.push(std::move(record))) ++stats_.lost;
        if (queue.size() == 1 || queue.size() == options_.batch) wake_.notify_all();
    }
    void lose(std::uint64_t count) {
        const std::lock_guard lock(mutex_);
        stats_.lost += count;
    }
    std::string new_span_id() {
        const std::uint64_t number = random_() | 1; // never zero
        return {reinterpret_cast<const char*>(&number), sizeof number};
    }

    void run() {
        auto next_metrics = Clock::now() + std::chrono::seconds(options_.interval_s);
        bool running = true;
        while (running) {
            {
                std::unique_lock lock(mutex_);
                wake_.wait_until(lock, wake_time(next_metrics),
                                 [this] { return stopping_ || is_due(logs_) || is_due(spans_); });
                running = !stopping_;
            }
            send_all(logs_, [this](auto records) { send_logs(std::move(records)); }, !running);
            send_all(spans_, [this](auto records) { send_spans(std::move(records)); }, !running);
            // The agent's loop, which is asked for numbers, may be about to end with it.
            if (options_.metrics && collect_ && running && Clock::now() >= next_metrics) {
                send_metrics();
                next_metrics = Clock::now() + std::chrono::seconds(options_.interval_s);
            }
        }
        const std::lock_guard lock(mutex_);
        finished_ = true;
        done_.notify_all();
    }
    template <typename T>
    [[nodiscard]] bool is_due(const Queue<T>& queue) const { // under mutex_
        return queue.size() >= options_.batch ||
               (queue.size() > 0 &&
                Clock::now() >= queue.oldest() + milliseconds(options_.delay_ms));
    }
    [[nodiscard]] Clock::time_point wake_time(Clock::time_point next_metrics) const {
        auto next =
            options_.metrics && collect_ ? next_metrics : Clock::now() + std::chrono::seconds(60);
        if (logs_.size() > 0)
            next = std::min(next, logs_.oldest() + milliseconds(options_.delay_ms));
        if (spans_.size() > 0)
            next = std::min(next, spans_.oldest() + milliseconds(options_.delay_ms));
        return next;
    }
    template <typename T, typename Send>
    void send_all(Queue<T>& queue, const Send& send, bool all) {
        while (true) {
            std::vector<T> records;
            {
                const std::lock_guard lock(mutex_);
                if (!(all ? queue.size() > 0 : is_due(queue))) return;
                records = queue.take(options_.batch);
            }
            send(std::move(records));
        }
    }

    void send_logs(std::vector<otel::logs::v1::LogRecord> records) {
        collector::logs::v1::ExportLogsServiceRequest request;
        auto* resource = request.add_resource_logs();
        fill_resource(selector_.origin(), *resource->mutable_resource());
        auto* scope = resource->add_scope_logs();
        scope->mutable_scope()->set_name("beeline.flows");
        const std::size_t count = records.size();
        for (auto& record : records)
            *scope->add_log_records() = std::move(record);
        send<collector::logs::v1::ExportLogsServiceResponse>(
            "/v1/logs", request.SerializeAsString(), count, [](const auto& partial) {
                return static_cast<std::uint64_t>(partial.rejected_log_records());
            });
    }
    void send_spans(std::vector<otel::trace::v1::Span> records) {
        collector::trace::v1::ExportTraceServiceRequest request;
        auto* resource = request.add_resource_spans();
        fill_resource(selector_.origin(), *resource->mutable_resource());
        auto* scope = resource->add_scope_spans();
        scope->mutable_scope()->set_name("beeline.http");
        const std::size_t count = records.size();
        for (auto& record : records)
            *scope->add_spans() = std::move(record);
        send<collector::trace::v1::ExportTraceServiceResponse>(
            "/v1/traces", request.SerializeAsString(), count, [](const auto& partial) {
                return static_cast<std::uint64_t>(partial.rejected_spans());
            });
    }
    void send_metrics() {
        collector::metrics::v1::ExportMetricsServiceRequest request;
        auto* resource = request.add_resource_metrics();
        fill_resource(selector_.origin(), *resource->mutable_resource());
        auto* scope = resource->add_scope_metrics();
        scope->mutable_scope()->set_name("beeline.metrics");
        fill_metrics(collect_(), started_ns_, now_ns(), *scope);
        std::size_t count = 0;
        for (const auto& metric : scope->metrics())
            count += static_cast<std::size_t>(metric.sum().data_points_size() +
                                              metric.gauge().data_points_size() +
                                              metric.histogram().data_points_size());
        send<collector::metrics::v1::ExportMetricsServiceResponse>(
            "/v1/metrics", request.SerializeAsString(), count, [](const auto& partial) {
                return static_cast<std::uint64_t>(partial.rejected_data_points());
            });
    }

    template <typename Response, typename Rejected>
    void send(const char* path, const std::string& body, std::size_t count,
              const Rejected& rejected) {
        const auto give_up = Clock::now() + std::chrono::seconds(options_.retry_s);
        auto pause = kFirstRetry;
        while (true) {
            const auto answer = post_.post(options_.endpoint + path, body);
            if (answer && answer->status >= 200 && answer->status < 300) {
                Response response;
                std::uint64_t refused = 0;
                if (response.ParseFromString(answer->body) && response.has_partial_success())
                    refused = std::min<std::uint64_t>(rejected(response.partial_success()), count);
                const std::lock_guard lock(mutex_);
                stats_.sent += count - refused;
                stats_.failed += refused;
                stats_.last_error =
                    refused > 0 ? response.partial_success().error_message().substr(0, 300) : "";
                return;
            }
            const std::string error = answer ? fmt::format("{} answered {}", path, answer->status)
                                             : path + (": " + answer.error().message);
            // Only these may become better by themselves.
            const bool again = !answer || answer->status == 429 || answer->status == 502 ||
                               answer->status == 503 || answer->status == 504;
            auto wait = pause;
            if (answer && answer->retry_after_s > 0)
                wait = std::chrono::seconds(answer->retry_after_s);
            std::unique_lock lock(mutex_);
            if (stats_.last_error != error) {
                log_warn("otlp", kv("endpoint", options_.endpoint), kv("error", error));
                stats_.last_error = error;
            }
            const auto until = stopping_ ? goodbye_ : give_up;
            if (!again || Clock::now() + wait > until) {
                stats_.failed += count;
                return;
            }
            ++stats_.retries;
            wake_.wait_for(lock, wait, [this] { return stopping_; });
            pause = std::min(pause * 2, kLastRetry);
        }
    }

    OtlpOptions options_;
    Selector selector_;
    CollectMetrics collect_;
    const std::int64_t started_ns_ = now_ns();
    HttpPost post_;
    observer::ExportEvent event_; // of the pump

    mutable std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    Queue<otel::logs::v1::LogRecord> logs_; // under mutex_, as the rest
    Queue<otel::trace::v1::Span> spans_;
    Stats stats_;
    bool stopping_ = false;
    bool finished_ = false;
    Clock::time_point goodbye_;

    std::mt19937_64 random_; // of the pump
    std::thread thread_;
    std::unique_ptr<Pump> pump_;
};

} // namespace

Result<std::unique_ptr<Exporter>> start_otlp(const OtlpOptions& options, hubble::Origin origin,
                                             const observe::Store& store, CollectMetrics collect) {
    auto out = std::make_unique<OtlpExporter>(
        options, TRY(Selector::compile(options.selection, std::move(origin))), std::move(collect));
    TRY(out->start(store));
    return std::unique_ptr<Exporter>(std::move(out));
}

} // namespace beeline::exporting
