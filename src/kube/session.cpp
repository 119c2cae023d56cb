#include "kube/session.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace beeline::kube {
namespace {

constexpr int kLongestWaitMs = 10'000;
constexpr std::size_t kKeptBody = 16U << 10;

std::uint64_t now_ms() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

} // namespace

struct Session::Transaction {
    Request request;
    Handler handler;
    std::unique_ptr<Transfer> transfer;
    Outcome outcome;
    bool ended = false; // by the handler

    // An empty line ends the headers.
    static std::size_t receive_header(char* data, std::size_t size, std::size_t count,
                                      void* owner) {
        auto& self = *static_cast<Transaction*>(owner);
        const std::string_view line(data, size * count);
        const long status = self.transfer->status();
        if (line == "\r\n" && status >= 200 && status < 300 && self.handler.begun)
            self.handler.begun();
        return size * count;
    }
    static std::size_t receive(char* data, std::size_t size, std::size_t count, void* owner) {
        auto& self = *static_cast<Transaction*>(owner);
        const std::string_view text(data, size * count);
        const long status = self.transfer->status();
        if (status < 200 || status >= 300) {
            self.outcome.body +=
                text.substr(0, kKeptBody - std::min(kKeptBody, self.outcome.body.size()));
            return text.size();
        }
        if (!self.handler.data || self.handler.data(text)) return text.size();
        self.ended = true;
        return 0;
    }
};

std::string Session::Outcome::problem() const {
    return error.empty() ? problem_of(status, body) : error;
}

Session::Session(Access access) : access_(std::move(access)), multi_(curl_multi_init()) {
    if (multi_)
        curl_multi_setopt(multi_, CURLMOPT_PIPELINING, static_cast<long>(CURLPIPE_MULTIPLEX));
    thread_ = std::thread([this] { run(); });
}

Session::~Session() {
    stopping_ = true;
    if (multi_) curl_multi_wakeup(multi_);
    thread_.join();
    for (auto& [id, transaction] : transactions_) {
        if (transaction->transfer)
            curl_multi_remove_handle(multi_, transaction->transfer->handle());
    }
    transactions_.clear();
    if (multi_) curl_multi_cleanup(multi_);
}

void Session::post(Task task) {
    {
        const std::lock_guard lock(mutex_);
        tasks_.push_back(std::move(task));
    }
    if (multi_) curl_multi_wakeup(multi_);
}

Session::Id Session::start(Request request, Handler handler) {
    const Id id = next_++;
    auto transaction = std::make_unique<Transaction>();
    transaction->request = std::move(request);
    transaction->handler = std::move(handler);
    transactions_.emplace(id, std::move(transaction));
    waiting_.push_back(id);
    return id;
}

void Session::cancel(Id id) {
    const auto found = transactions_.find(id);
    if (found == transactions_.end()) return;
    if (found->second->transfer) {
        curl_multi_remove_handle(multi_, found->second->transfer->handle());
    }
    transactions_.erase(found);
}

Session::Id Session::after(std::uint64_t delay_ms, Task task) {
    const Id id = next_++;
    timers_.emplace(std::pair(now_ms() + delay_ms, id), std::move(task));
    return id;
}

void Session::cancel_timer(Id id) {
    std::erase_if(timers_, [&](const auto& timer) { return timer.first.second == id; });
}

void Session::run() {
    while (!stopping_) {
        run_tasks();
        run_timers();
        begin_waiting();
        int running = 0;
        curl_multi_perform(multi_, &running);
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
            if (message->msg == CURLMSG_DONE) finish(message->easy_handle, message->data.result);
        }
        if (!waiting_.empty()) continue;
        curl_multi_poll(multi_, nullptr, 0, wait_ms(), nullptr);
    }
}

void Session::run_tasks() {
    std::vector<Task> tasks;
    {
        const std::lock_guard lock(mutex_);
        tasks.swap(tasks_);
    }
    for (const auto& task : tasks)
        task();
}

void Session::run_timers() {
    const auto now = now_ms();
    while (!timers_.empty() && timers_.begin()->first.first <= now) {
        const auto task = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        task();
    }
}

int Session::wait_ms() const {
    if (timers_.empty()) return kLongestWaitMs;
    const auto now = now_ms();
    const auto due = timers_.begin()->first.first;
    return due <= now ? 0 : static_cast<int>(std::min<Time>(due - now, kLongestWaitMs));
}

void Session::begin_waiting() {
    std::vector<Id> waiting;
    waiting.swap(waiting_);
    for (const auto id : waiting) {
        const auto found = transactions_.find(id);
        if (found != transactions_.end()) begin(id, *found->second);
    }
}

void Session::begin(Id id, Transaction& transaction) {
    auto transfer =
        Transfer::create(access_, transaction.request, &Transaction::receive, &transaction);
    if (!transfer) {
        finish(id, {0, transfer.error().message, {}});
        return;
    }
    transaction.transfer = std::move(*transfer);
    auto* handle = transaction.transfer->handle();
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &Transaction::receive_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transaction);
    curl_easy_setopt(handle, CURLOPT_PRIVATE, reinterpret_cast<char*>(id)); // NOLINT
    if (curl_multi_add_handle(multi_, handle) != CURLM_OK) {
        transaction.transfer.reset();
        finish(id, {0, "libcurl does not take the request", {}});
    }
}

void Session::finish(CURL* handle, CURLcode code) {
    char* owner = nullptr;
    curl_easy_getinfo(handle, CURLINFO_PRIVATE, &owner);
    const auto id = reinterpret_cast<Id>(owner); // NOLINT
    const auto found = transactions_.find(id);
    if (found == transactions_.end()) return;
    auto& transaction = *found->second;
    Outcome outcome = std::move(transaction.outcome);
    outcome.status = transaction.transfer->status();
    if (code != CURLE_OK) {
        outcome.error =
            transaction.ended ? "ended by its reader" : transaction.transfer->text(code);
    }
    curl_multi_remove_handle(multi_, handle);
    finish(id, std::move(outcome));
}

void Session::finish(Id id, Outcome outcome) {
    const auto found = transactions_.find(id);
    const auto transaction = std::move(found->second);
    transactions_.erase(found);
    if (transaction->handler.done) transaction->handler.done(outcome);
}

} // namespace beeline::kube
