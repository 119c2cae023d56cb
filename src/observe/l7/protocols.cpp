#include <algorithm>
#include <array>

#include "observe/l7/parser.h"

namespace beeline::observe::l7 {

// Asked in this order: those with the plainest first bytes first.
std::span<const ProtocolEntry> protocols() {
    static const std::array kAll = {kHttp2,     kHttp1, kPostgresql, kRedis,     kAmqp,
                                    kMysql,     kNats,  kMongodb,    kCassandra, kMemcachedBinary,
                                    kMemcached, kKafka, kDns};
    return kAll;
}

std::shared_ptr<const model::L7> Context::emit(std::uint64_t time_ns, model::L7 message) {
    message.tls = tls;
    ++stats.messages[static_cast<std::size_t>(message.protocol)];
    auto shared = std::make_shared<const model::L7>(std::move(message));
    sink.message(connection, time_ns, shared);
    return shared;
}

void Context::emit(std::uint64_t time_ns, const std::shared_ptr<const model::L7>& message,
                   const model::L7Numbers& numbers) {
    ++stats.messages[static_cast<std::size_t>(message->protocol)];
    sink.shared_message(connection, time_ns, message, numbers);
}

void Sink::shared_message(std::uint64_t connection, std::uint64_t time_ns,
                          const std::shared_ptr<const model::L7>& message,
                          const model::L7Numbers& numbers) {
    auto own = std::make_shared<model::L7>(*message);
    own->latency_ns = numbers.latency_ns;
    own->request_bytes = numbers.request_bytes;
    own->response_bytes = numbers.response_bytes;
    this->message(connection, time_ns, std::move(own));
}

namespace {

// Bytes of the UTF-8 character at the start of `text`; 0: there is none.
std::size_t character(std::string_view text) {
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (size == 0 || size > text.size()) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((byte(i) & 0xc0U) != 0x80) return 0;
    if (size > 2) {
        const unsigned second = byte(1); // no overlong forms, surrogates, or beyond the last
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
            (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
            return 0;
    }
    return size;
}

} // namespace

std::string Context::text(std::string_view raw) const {
    std::string out;
    const auto plain = [](char c) { return c >= 0x20 && c < 0x7f; };
    while (!raw.empty() && out.size() < options.max_text) {
        // Nearly every text is one such run.
        const auto end = std::find_if_not(raw.begin(), raw.end(), plain);
        const auto run =
            std::min(static_cast<std::size_t>(end - raw.begin()), options.max_text - out.size());
        out += raw.substr(0, run);
        raw.remove_prefix(run);
        if (raw.empty() || out.size() >= options.max_text) break;
        const std::size_t size = character(raw);
        if (out.size() + size > options.max_text) break;
        const auto byte = static_cast<unsigned char>(raw.front());
        if (size == 0)
            out += '?';
        else if (byte < 0x20 || byte == 0x7f)
            out += ' ';
        else
            out += raw.substr(0, size);
        raw.remove_prefix(std::max<std::size_t>(size, 1));
    }
    return out;
}

Outstanding::~Outstanding() { context_.stats.unanswered += requests_.size(); }

bool Outstanding::add(std::uint64_t time_ns, model::L7 message, std::uint64_t key,
                      std::uint64_t note) {
    auto shared = context_.emit(time_ns, std::move(message));
    if (requests_.size() >= context_.options.max_outstanding) return false;
    requests_.push_back({std::move(shared), time_ns, key, note, 0});
    return true;
}

bool Outstanding::add(std::uint64_t time_ns, const std::shared_ptr<const model::L7>& message,
                      std::uint64_t request_bytes, std::uint64_t note) {
    context_.emit(time_ns, message, {.request_bytes = request_bytes});
    if (requests_.size() >= context_.options.max_outstanding) return false;
    requests_.push_back({message, time_ns, 0, note, request_bytes});
    return true;
}

void Outstanding::drop() {
    if (!requests_.empty()) requests_.pop_front();
}

std::optional<Outstanding::Request> Outstanding::pop() {
    if (requests_.empty()) return std::nullopt;
    std::optional<Request> result(std::move(requests_.front()));
    requests_.pop_front();
    return result;
}

std::optional<Outstanding::Request> Outstanding::pop(std::uint64_t key) {
    for (auto it = requests_.begin(); it != requests_.end(); ++it) {
        if (it->key != key) continue;
        std::optional<Request> result(std::move(*it));
        requests_.erase(it);
        return result;
    }
    return std::nullopt;
}

Outstanding::Request* Outstanding::find(std::uint64_t key) {
    for (Request& request : requests_)
        if (request.key == key) return &request;
    return nullptr;
}

std::uint64_t Outstanding::latency(const Request& request, std::uint64_t time_ns) {
    // The clock may not have moved between two chunks of one packet burst; 0 would say that it is not known.
    return time_ns > request.time_ns ? time_ns - request.time_ns : 1;
}

model::L7 Outstanding::answer(const Request& request, std::uint64_t time_ns) {
    model::L7 result = *request.message;
    result.type = model::L7::Type::response;
    result.latency_ns = latency(request, time_ns);
    if (request.bytes != 0) result.request_bytes = request.bytes;
    result.headers.clear();
    return result;
}

std::string_view name_of(GiveUp reason) {
    switch (reason) {
#define X(name, text)                                                                              \
    case GiveUp::name: return #name;
        BEELINE_L7_GIVE_UPS(X)
#undef X
    case GiveUp::count: break;
    }
    return "";
}

std::string_view to_string(GiveUp reason) {
    switch (reason) {
#define X(name, text)                                                                              \
    case GiveUp::name: return text;
        BEELINE_L7_GIVE_UPS(X)
#undef X
    case GiveUp::count: break;
    }
    return "";
}

} // namespace beeline::observe::l7
