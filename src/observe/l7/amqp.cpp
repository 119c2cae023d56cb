// AMQP 0-9-1: synchronous methods with their answers, what is published (with its confirmation where the channel asks for
// them) and delivered. Bodies and credentials are passed over.
#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>

#include "observe/l7/lines.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::string_view kProtocol("AMQP\0\0\x09\x01", 8);
constexpr std::size_t kHead = 7;
constexpr std::uint32_t kLongest = 128U << 20U;
constexpr std::size_t kWanted = 1024; // of a method
constexpr std::size_t kMaxChannels = 256;

enum Frame : std::uint8_t { kMethod = 1, kHeader = 2, kBody = 3, kHeartbeat = 8 };

constexpr std::uint32_t id_of(unsigned class_, unsigned method) { return class_ << 16U | method; }

constexpr std::uint32_t kOpen = id_of(10, 40), kConnectionClose = id_of(10, 50),
                        kChannelClose = id_of(20, 40), kPublish = id_of(60, 40),
                        kReturn = id_of(60, 50), kDeliver = id_of(60, 60), kGetOk = id_of(60, 71),
                        kGetEmpty = id_of(60, 72), kAck = id_of(60, 80), kNack = id_of(60, 120),
                        kConfirm = id_of(85, 10);

// Methods with an answer, which is the next number of the class.
struct Synchronous {
    std::uint32_t id;
    std::string_view name;
    std::size_t skip; // bytes before the name of what it is about
    std::size_t
        no_wait_at; // bit of the flags behind the names that says that no answer is wanted; 99: none
    unsigned names; // short texts before those flags
};
constexpr Synchronous kSynchronous[] = {
    {kOpen, "connection.open", 0, 99, 1},         {id_of(20, 10), "channel.open", 99, 99, 0},
    {id_of(40, 10), "exchange.declare", 2, 4, 2}, {id_of(40, 20), "exchange.delete", 2, 1, 1},
    {id_of(40, 30), "exchange.bind", 2, 0, 3},    {id_of(40, 40), "exchange.unbind", 2, 0, 3},
    {id_of(50, 10), "queue.declare", 2, 4, 1},    {id_of(50, 20), "queue.bind", 2, 0, 3},
    {id_of(50, 30), "queue.purge", 2, 0, 1},      {id_of(50, 40), "queue.delete", 2, 2, 1},
    {id_of(50, 50), "queue.unbind", 2, 99, 3},    {id_of(60, 10), "basic.qos", 99, 99, 0},
    {id_of(60, 20), "basic.consume", 2, 3, 2},    {id_of(60, 30), "basic.cancel", 0, 0, 1},
    {id_of(60, 70), "basic.get", 2, 99, 1},       {id_of(60, 110), "basic.recover", 99, 99, 0},
    {kConfirm, "confirm.select", 99, 0, 0},       {id_of(90, 10), "tx.select", 99, 99, 0},
    {id_of(90, 20), "tx.commit", 99, 99, 0},      {id_of(90, 30), "tx.rollback", 99, 99, 0}};

const Synchronous* synchronous(std::uint32_t id) {
    for (const Synchronous& row : kSynchronous)
        if (row.id == id) return &row;
    return nullptr;
}

// The method that this one answers. queue.unbind-ok is 51, exchange.unbind-ok 51 too.
std::uint32_t answered_by(std::uint32_t id) {
    if (id == id_of(40, 51)) return id_of(40, 40);
    if (id == kGetEmpty) return id_of(60, 70);
    return id - 1;
}

std::string_view short_text(Reader& in) { return in.text(in.u8()); }

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    const std::string_view text = text_of(start.client).substr(0, kProtocol.size());
    if (text == kProtocol) return Match::yes;
    return kProtocol.starts_with(text) && !start.middle ? Match::more : Match::no;
}

class Amqp final : public Parser {
public:
    explicit Amqp(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override {
        if (in.side == Side::client && !begun_) {
            begun_ = true;
            return Step::take(kProtocol.size());
        }
        if (in.data.size() < kHead) return Step::more();
        if (in.side == Side::server && text_of(in.data).starts_with("AMQP"))
            return Step::give_up(GiveUp::unsupported);
        Reader reader(in.data);
        const std::uint8_t type = reader.u8();
        const std::uint16_t channel = reader.u16();
        const std::uint32_t size = reader.u32();
        if ((type < kMethod || type > kBody) && type != kHeartbeat)
            return Step::give_up(GiveUp::malformed);
        if (size > kLongest) return Step::give_up(GiveUp::malformed);
        // With its end, which shows that the place is right, unless it is long.
        const std::size_t wanted = type == kBody ? 0 : std::min<std::size_t>(size + 1UL, kWanted);
        if (reader.left() < wanted) return Step::more();
        if (wanted > size && static_cast<std::uint8_t>(reader.rest()[size]) != 0xce)
            return Step::give_up(GiveUp::malformed);
        if (channels_.size() > kMaxChannels) return Step::give_up(GiveUp::outstanding);
        Reader body(reader.take(std::min<std::size_t>(wanted, size)));
        std::optional<GiveUp> failure;
        if (type == kMethod)
            failure =
                in.side == Side::client ? sent(in, channel, body) : answered(in, channel, body);
        else if (type == kHeader)
            failure = content(in, channel, body);
        return failure ? Step::give_up(*failure)
                       : Step::take(kHead + static_cast<std::uint64_t>(size) + 1);
    }

private:
    struct Channel {
        bool confirms = false;
        std::uint64_t published = 0; // since it confirms
        // What waits for its content header, which says how long it is.
        std::optional<L7> publication;
        std::uint64_t publication_ns = 0;
        std::optional<L7> delivery;
        std::uint64_t delivery_ns = 0;
    };

    static std::uint64_t key_of(std::uint16_t channel, std::uint32_t id) {
        return static_cast<std::uint64_t>(channel) << 32U | id;
    }
    // Confirmations are numbered by channel; the top bit tells them from methods.
    static std::uint64_t tag_key(std::uint16_t channel, std::uint64_t tag) {
        return 1ULL << 63U | static_cast<std::uint64_t>(channel) << 44U |
               (tag & ((1ULL << 44U) - 1));
    }

    L7 message(std::string_view method) const {
        L7 out;
        out.protocol = L7::Protocol::amqp;
        out.method = method;
        out.host = host_;
        return out;
    }

    std::string place(std::string_view exchange, std::string_view key) const {
        return context_.text(exchange.empty() ? std::string(key)
                                              : fmt::format("{}/{}", exchange, key));
    }

    std::optional<GiveUp> sent(const In& in, std::uint16_t number, Reader& body) {
        const std::uint32_t id = body.u32();
        if (!body.ok()) return GiveUp::malformed;
        if (id == kPublish) {
            body.u16();
            const std::string_view exchange = short_text(body);
            const std::string_view key = short_text(body);
            if (!body.ok()) return GiveUp::malformed;
            Channel& channel = channels_[number];
            channel.publication = message("basic.publish");
            channel.publication->resource = place(exchange, key);
            channel.publication_ns = in.time_ns;
            return std::nullopt;
        }
        if (id == kChannelClose || id == kConnectionClose) {
            forget(number, id == kConnectionClose);
            return std::nullopt;
        }
        const Synchronous* row = synchronous(id);
        if (row == nullptr) return std::nullopt; // acks, parts of the login
        L7 request = message(row->name);
        if (row->skip != 99) {
            body.skip(row->skip);
            const std::string_view name = short_text(body);
            request.resource = context_.text(name);
            for (unsigned i = 1; i < row->names; ++i)
                short_text(body);
            if (id == kOpen) request.host = host_ = context_.text(name);
        }
        bool no_wait = false;
        if (row->no_wait_at != 99) no_wait = (body.u8() >> row->no_wait_at & 1U) != 0;
        if (!body.ok()) return GiveUp::malformed;
        if (id == kConfirm) channels_[number].confirms = true;
        if (no_wait)
            context_.emit(in.time_ns, std::move(request));
        else if (!outstanding_.add(in.time_ns, std::move(request), key_of(number, id)))
            return GiveUp::outstanding;
        return std::nullopt;
    }

    std::optional<GiveUp> answered(const In& in, std::uint16_t number, Reader& body) {
        const std::uint32_t id = body.u32();
        if (!body.ok()) return GiveUp::malformed;
        switch (id) {
        case kDeliver:
        case kGetOk: {
            std::string_view tag;
            if (id == kDeliver) tag = short_text(body);
            body.skip(8 + 1); // delivery tag, redelivered
            const std::string_view exchange = short_text(body);
            const std::string_view key = short_text(body);
            if (!body.ok()) return GiveUp::malformed;
            Channel& channel = channels_[number];
            channel.delivery_ns = in.time_ns;
            if (const auto request =
                    id == kGetOk ? outstanding_.pop(key_of(number, id_of(60, 70))) : std::nullopt) {
                channel.delivery = Outstanding::answer(*request, in.time_ns);
            } else {
                channel.delivery = message("basic.deliver");
                channel.delivery->type = L7::Type::response;
                channel.delivery->resource = place(exchange, key);
            }
            channel.delivery->status = L7::Status::ok;
            return std::nullopt;
        }
        case kAck:
        case kNack: confirmed(in, number, body, id == kAck); return std::nullopt;
        case kReturn: {
            const std::uint16_t code = body.u16();
            const std::string_view text = short_text(body);
            const std::string_view exchange = short_text(body);
            const std::string_view key = short_text(body);
            if (!body.ok()) return GiveUp::malformed;
            L7 answer = message("basic.return");
            answer.type = L7::Type::response;
            answer.resource = place(exchange, key);
            fail(answer, code, text);
            context_.emit(in.time_ns, std::move(answer));
            return std::nullopt;
        }
        case kChannelClose:
        case kConnectionClose:
            closed(in, number, body, id == kConnectionClose);
            return std::nullopt;
        default: break;
        }
        if (auto request = outstanding_.pop(key_of(number, answered_by(id)))) {
            L7 answer = Outstanding::answer(*request, in.time_ns);
            answer.status = L7::Status::ok;
            context_.emit(in.time_ns, std::move(answer));
        }
        return std::nullopt;
    }

    std::optional<GiveUp> content(const In& in, std::uint16_t number, Reader& body) {
        body.u32(); // class, weight
        const std::uint64_t size = body.u64();
        const auto it = channels_.find(number);
        if (!body.ok()) return GiveUp::malformed;
        if (it == channels_.end()) return std::nullopt;
        Channel& channel = it->second;
        if (in.side == Side::server) {
            if (!channel.delivery) return std::nullopt; // of a returned message
            channel.delivery->response_bytes = size;
            context_.emit(channel.delivery_ns, std::move(*channel.delivery));
            channel.delivery.reset();
            return std::nullopt;
        }
        if (!channel.publication) return GiveUp::malformed;
        L7 request = std::move(*channel.publication);
        channel.publication.reset();
        request.request_bytes = size;
        if (!channel.confirms)
            context_.emit(channel.publication_ns, std::move(request));
        else if (!outstanding_.add(channel.publication_ns, std::move(request),
                                   tag_key(number, ++channel.published)))
            return GiveUp::outstanding;
        return std::nullopt;
    }

    void confirmed(const In& in, std::uint16_t number, Reader& body, bool ok) {
        const auto it = channels_.find(number);
        const std::uint64_t tag = body.u64();
        const bool multiple = (body.u8() & 1U) != 0;
        if (!body.ok() || it == channels_.end() || tag > it->second.published) return;
        const std::uint64_t window = std::min<std::uint64_t>(tag, context_.options.max_outstanding);
        for (std::uint64_t each = multiple ? tag - window + 1 : tag; each <= tag; ++each) {
            const auto request = outstanding_.pop(tag_key(number, each));
            if (!request) continue;
            L7 answer = Outstanding::answer(*request, in.time_ns);
            answer.status = ok ? L7::Status::ok : L7::Status::error;
            if (!ok) answer.error = "not taken by the broker";
            context_.emit(in.time_ns, std::move(answer));
        }
    }

    // The server ends a channel, or all, because of one of its requests.
    void closed(const In& in, std::uint16_t number, Reader& body, bool all) {
        const std::uint16_t code = body.u16();
        const std::string_view text = short_text(body);
        const std::uint32_t id = body.u32();
        if (body.ok() && code != 200) {
            L7 answer;
            if (const auto request = outstanding_.pop(key_of(number, id))) {
                answer = Outstanding::answer(*request, in.time_ns);
            } else {
                answer = message(all ? "connection.close" : "channel.close");
                answer.type = L7::Type::response;
            }
            fail(answer, code, text);
            context_.emit(in.time_ns, std::move(answer));
        }
        forget(number, all);
    }

    void fail(L7& answer, std::uint16_t code, std::string_view text) const {
        answer.status = L7::Status::error;
        answer.code = code;
        answer.error = context_.text(redact_text(text, context_.options));
    }

    void forget(std::uint16_t number, bool all) {
        if (all)
            channels_.clear();
        else
            channels_.erase(number);
    }

    Context& context_;
    Outstanding outstanding_;
    bool begun_ = false;
    std::string host_;
    std::unordered_map<std::uint16_t, Channel> channels_;
};

} // namespace

const ProtocolEntry kAmqp = {
    L7::Protocol::amqp,
    {5672, 0, 0, 0},
    ProtocolEntry::Middle::never,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Amqp>(context); }};

} // namespace beeline::observe::l7
