// HTTP/2 (RFC 9113) with prior knowledge or inside TLS, and gRPC upon it. Header compression depends on every header
// block since the connection's first, so a connection is read from its beginning, whole, or not at all.
#include <nghttp2/nghttp2.h>

#include <charconv>
#include <unordered_map>

#include "observe/l7/http.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr std::size_t kFrameHead = 9;
constexpr std::size_t kMaxFields = 256UL << 10; // bytes of one message's header fields
constexpr std::uint32_t kMaxTable = 1U << 20;   // of header compression

enum Frame : std::uint8_t {
    kData,
    kHeaders,
    kPriority,
    kReset,
    kSettings,
    kPush,
    kPing,
    kGoAway,
    kWindow,
    kContinuation
};
enum Flag : std::uint8_t {
    kEndStream = 0x1,
    kAck = 0x1,
    kEndHeaders = 0x4,
    kPadded = 0x8,
    kHasPriority = 0x20
};

std::string_view grpc_status_name(std::uint32_t code) {
    static constexpr std::string_view kNames[] = {"OK",
                                                  "CANCELLED",
                                                  "UNKNOWN",
                                                  "INVALID_ARGUMENT",
                                                  "DEADLINE_EXCEEDED",
                                                  "NOT_FOUND",
                                                  "ALREADY_EXISTS",
                                                  "PERMISSION_DENIED",
                                                  "RESOURCE_EXHAUSTED",
                                                  "FAILED_PRECONDITION",
                                                  "ABORTED",
                                                  "OUT_OF_RANGE",
                                                  "UNIMPLEMENTED",
                                                  "INTERNAL",
                                                  "UNAVAILABLE",
                                                  "DATA_LOSS",
                                                  "UNAUTHENTICATED"};
    return code < std::size(kNames) ? kNames[code] : "UNKNOWN";
}

std::string_view reset_name(std::uint32_t code) {
    static constexpr std::string_view kNames[] = {"NO_ERROR",
                                                  "PROTOCOL_ERROR",
                                                  "INTERNAL_ERROR",
                                                  "FLOW_CONTROL_ERROR",
                                                  "SETTINGS_TIMEOUT",
                                                  "STREAM_CLOSED",
                                                  "FRAME_SIZE_ERROR",
                                                  "REFUSED_STREAM",
                                                  "CANCEL",
                                                  "COMPRESSION_ERROR",
                                                  "CONNECT_ERROR",
                                                  "ENHANCE_YOUR_CALM",
                                                  "INADEQUATE_SECURITY",
                                                  "HTTP_1_1_REQUIRED"};
    return code < std::size(kNames) ? kNames[code] : "reset";
}

class Inflater {
public:
    Inflater() { nghttp2_hd_inflate_new(&inflater_); }
    ~Inflater() { nghttp2_hd_inflate_del(inflater_); }
    Inflater(const Inflater&) = delete;
    Inflater& operator=(const Inflater&) = delete;

    // Calls field(name, value) for each; false: damaged, or more than is sane.
    template <typename F>
    bool inflate(Bytes block, bool last, const F& field) {
        if (inflater_ == nullptr) return false;
        const auto* at = reinterpret_cast<const std::uint8_t*>(block.data());
        std::size_t left = block.size();
        for (;;) {
            nghttp2_nv pair;
            int flags = 0;
            const auto used =
                nghttp2_hd_inflate_hd2(inflater_, &pair, &flags, at, left, last ? 1 : 0);
            if (used < 0) return false;
            at += used;
            left -= static_cast<std::size_t>(used);
            if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
                fields_ += pair.namelen + pair.valuelen;
                if (fields_ > kMaxFields) return false;
                field(std::string_view(reinterpret_cast<const char*>(pair.name), pair.namelen),
                      std::string_view(reinterpret_cast<const char*>(pair.value), pair.valuelen));
            }
            if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
                nghttp2_hd_inflate_end_headers(inflater_);
                fields_ = 0;
                return true;
            }
            if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && left == 0) return !last;
        }
    }
    bool resize(std::uint32_t size) {
        return inflater_ != nullptr && nghttp2_hd_inflate_change_table_size(inflater_, size) == 0;
    }

private:
    nghttp2_hd_inflater* inflater_ = nullptr;
    std::size_t fields_ = 0;
};

// A SETTINGS frame that is no acknowledgement, on stream 0; as far as there is one.
bool starts_with_settings(std::span<const std::byte> data) {
    constexpr std::size_t kLongest = 64 * 6;
    const auto byte = [&](std::size_t i) { return std::to_integer<std::size_t>(data[i]); };
    if (data.size() < 9) return false;
    const std::size_t length = byte(0) << 16 | byte(1) << 8 | byte(2);
    return length <= kLongest && length % 6 == 0 && byte(3) == 4 && byte(4) == 0 &&
           (byte(5) | byte(6) | byte(7) | byte(8)) == 0;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    // A server may send its settings before it has read anything: the answer to ALPN was enough for it.
    if (start.client.empty())
        return start.server.empty() || starts_with_settings(start.server) ? Match::more : Match::no;
    const std::string_view text = text_of(start.client).substr(0, kPreface.size());
    if (text == kPreface) return Match::yes;
    return kPreface.starts_with(text) && !start.middle ? Match::more : Match::no;
}

class Http2 final : public Parser {
public:
    explicit Http2(Context& context) : context_(context) {}
    ~Http2() override {
        for (const auto& [id, stream] : streams_)
            context_.stats.unanswered += stream.asked ? 1 : 0;
    }

    Step read(const In& in) override {
        Half& half = halves_[static_cast<std::size_t>(in.side)];
        if (!half.begun) {
            half.begun = true;
            if (in.side == Side::client) return Step::take(kPreface.size()); // seen by detect()
        }
        if (in.data.size() < kFrameHead) return Step::more();
        Reader reader(in.data);
        Head head;
        head.length = reader.u16() << 8U | reader.u8();
        head.type = reader.u8();
        head.flags = reader.u8();
        head.stream = reader.u32() & 0x7fffffffU;
        const Step whole = Step::take(kFrameHead + head.length);
        if (!half.settled) {
            if (head.type != kSettings) return Step::give_up(GiveUp::malformed);
            half.settled = true;
        }
        if ((half.block != 0) != (head.type == kContinuation) ||
            (half.block != 0 && head.stream != half.block))
            return Step::give_up(GiveUp::malformed);
        switch (head.type) {
        case kData: {
            if (head.stream == 0) return Step::give_up(GiveUp::malformed);
            std::uint32_t size = head.length;
            if ((head.flags & kPadded) != 0) {
                if (in.data.size() <= kFrameHead) return Step::more();
                size -= std::min(size, 1U + reader.u8());
            }
            data(in, head, size);
            return whole;
        }
        case kHeaders:
        case kContinuation:
        case kPush:
        case kSettings:
        case kReset:
            if (reader.left() < head.length) return Step::more();
            return frame(in, half, head, reader.take(head.length)) ? whole
                                                                   : Step::give_up(failure_);
        default: return whole;
        }
    }

    void end() override {
        for (auto& [id, stream] : streams_)
            // The status of a gRPC call comes last: without it nothing is known.
            if (stream.answer && stream.http_status != 0 && stream.asked &&
                stream.asked->protocol != L7::Protocol::grpc)
                send_answer(stream);
    }

private:
    struct Head {
        std::uint32_t length = 0;
        std::uint8_t type = 0;
        std::uint8_t flags = 0;
        std::uint32_t stream = 0;
    };
    struct Half {
        bool begun = false;
        bool settled = false;    // its first frame, SETTINGS, was seen
        std::uint32_t block = 0; // stream whose header block goes on in CONTINUATION
        bool block_ends = false; // ... and END_STREAM of its HEADERS
        bool ignored = false;    // ... of a pushed request
        Inflater inflater;       // of what this side sends
        std::deque<std::optional<std::uint32_t>>
            settings; // table sizes that it asked for, until they are agreed to
    };
    struct Stream {
        std::optional<L7> request; // until it is told
        std::shared_ptr<const L7> asked;
        std::uint64_t request_ns = 0;
        std::uint64_t request_bytes = 0;
        std::optional<L7> answer;
        std::uint64_t answer_ns = 0;
        std::uint64_t answer_bytes = 0;
        std::uint32_t http_status = 0;
        std::optional<std::uint32_t> grpc_status;
        std::string grpc_message;
    };

    bool fail(GiveUp reason) {
        failure_ = reason;
        return false;
    }

    bool frame(const In& in, Half& half, const Head& head, Bytes payload) {
        failure_ = GiveUp::malformed;
        if (head.type == kSettings) return settings(in.side, half, head, payload);
        if (head.stream == 0) return false;
        Reader reader(payload);
        if (head.type == kReset) {
            reset(in, head.stream, reader.u32());
            return payload.size() == 4;
        }
        std::size_t padding = 0;
        if (head.type != kContinuation) {
            if ((head.flags & kPadded) != 0) padding = reader.u8();
            if (head.type == kHeaders && (head.flags & kHasPriority) != 0) reader.skip(5);
            if (head.type == kPush) reader.skip(4);
            if (!reader.ok() || padding > reader.left()) return false;
            half.block_ends = head.type == kHeaders && (head.flags & kEndStream) != 0;
            half.ignored = head.type == kPush;
        }
        const bool last = (head.flags & kEndHeaders) != 0;
        half.block = last ? 0 : head.stream;
        return headers(in, half, head, reader.take(reader.left() - padding), last);
    }

    bool settings(Side side, Half& half, const Head& head, Bytes payload) {
        if ((head.flags & kAck) != 0) {
            auto& asked = halves_[static_cast<std::size_t>(other(side))].settings;
            if (asked.empty()) return true;
            const auto size = asked.front();
            asked.pop_front();
            return !size || half.inflater.resize(*size);
        }
        if (payload.size() % 6 != 0 || half.settings.size() >= 16) return false;
        std::optional<std::uint32_t> table;
        for (Reader reader(payload); reader.left() != 0;) {
            const std::uint16_t id = reader.u16();
            const std::uint32_t value = reader.u32();
            if (id == 1) table = value;
        }
        if (table && *table > kMaxTable) return fail(GiveUp::unsupported);
        half.settings.push_back(table);
        return true;
    }

    bool headers(const In& in, Half& half, const Head& head, Bytes block, bool last) {
        Stream* stream = nullptr;
        if (!half.ignored) {
            const auto it = streams_.find(head.stream);
            if (it != streams_.end()) {
                stream = &it->second;
            } else if (in.side == Side::client && head.stream % 2 == 1 &&
                       head.stream > last_stream_) {
                if (streams_.size() >= context_.options.max_outstanding)
                    return fail(GiveUp::outstanding);
                last_stream_ = head.stream;
                stream = &streams_[head.stream];
                stream->request_ns = in.time_ns;
                L7& request = stream->request.emplace();
                request.protocol = L7::Protocol::http2;
                request.version = "HTTP/2";
            }
            if (stream != nullptr && in.side == Side::server && !stream->answer) {
                stream->answer.emplace();
                stream->answer->type = L7::Type::response;
                stream->answer_ns = in.time_ns;
            }
        }
        const bool sane =
            half.inflater.inflate(block, last, [&](std::string_view name, std::string_view value) {
                if (stream == nullptr) return;
                if (in.side == Side::client)
                    request_field(*stream, name, value);
                else
                    answer_field(*stream, name, value);
            });
        if (!sane) return false;
        if (!last || stream == nullptr) return true;
        if (in.side == Side::server) {
            if (stream->http_status >= 100 && stream->http_status < 200) {
                stream->answer.reset();
                stream->http_status = 0;
                return true;
            }
            send_request(*stream);
        }
        if (half.block_ends) end_of(in.side, head.stream, *stream);
        return true;
    }

    void request_field(Stream& stream, std::string_view name, std::string_view value) {
        if (!stream.request) return; // trailers
        L7& request = *stream.request;
        if (name == ":method") {
            request.method = context_.text(value);
        } else if (name == ":path") {
            set_target(request, value, context_);
        } else if (name == ":authority") {
            request.host = context_.text(value);
        } else {
            if (name == "content-type" && value.starts_with("application/grpc"))
                request.protocol = L7::Protocol::grpc;
            add_header(request, name, value, context_);
        }
    }

    void answer_field(Stream& stream, std::string_view name, std::string_view value) {
        const auto number = [value](std::uint32_t& out) {
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), out);
            return error == std::errc{} && end == value.data() + value.size();
        };
        if (name == ":status") {
            number(stream.http_status);
        } else if (name == "grpc-status") {
            std::uint32_t status = 0;
            if (number(status)) stream.grpc_status = status;
        } else if (name == "grpc-message") {
            stream.grpc_message = context_.text(redact_text(value, context_.options));
        } else {
            add_header(*stream.answer, name, value, context_);
        }
    }

    void data(const In& in, const Head& head, std::uint32_t size) {
        const auto it = streams_.find(head.stream);
        if (it == streams_.end()) return;
        (in.side == Side::client ? it->second.request_bytes : it->second.answer_bytes) += size;
        if ((head.flags & kEndStream) != 0) end_of(in.side, head.stream, it->second);
    }

    void end_of(Side side, std::uint32_t id, Stream& stream) {
        send_request(stream);
        if (side == Side::client) return;
        if (stream.answer) send_answer(stream);
        streams_.erase(id);
    }

    void reset(const In& in, std::uint32_t id, std::uint32_t code) {
        const auto it = streams_.find(id);
        if (it == streams_.end()) return;
        Stream& stream = it->second;
        send_request(stream);
        if (!stream.answer) {
            stream.answer.emplace();
            stream.answer_ns = in.time_ns;
        }
        std::string error =
            in.side == Side::client ? "reset by the client: " : "reset by the server: ";
        send_answer(stream, error += reset_name(code));
        streams_.erase(it);
    }

    void send_request(Stream& stream) {
        if (!stream.request) return;
        stream.request->request_bytes = stream.request_bytes;
        stream.asked = context_.emit(stream.request_ns, std::move(*stream.request));
        stream.request.reset();
    }

    // `error`: why the stream ended early.
    void send_answer(Stream& stream, std::string error = {}) {
        if (!stream.asked) return;
        auto headers = std::move(stream.answer->headers);
        L7 answer =
            Outstanding::answer({stream.asked, stream.request_ns, 0, 0, 0}, stream.answer_ns);
        answer.headers = std::move(headers);
        answer.request_bytes = stream.request_bytes;
        answer.response_bytes = stream.answer_bytes;
        const bool early = !error.empty();
        answer.error = std::move(error);
        if (answer.protocol == L7::Protocol::grpc && stream.grpc_status) {
            answer.code = *stream.grpc_status;
            answer.status = answer.code == 0 ? L7::Status::ok : L7::Status::error;
            if (answer.code != 0) {
                answer.error = grpc_status_name(answer.code);
                if (!stream.grpc_message.empty()) (answer.error += ": ") += stream.grpc_message;
            }
        } else {
            // A gRPC answer without its status did not come from the service.
            const bool grpc = answer.protocol == L7::Protocol::grpc;
            answer.code = grpc ? 2 : stream.http_status;
            answer.status =
                grpc || stream.http_status >= 400 || early ? L7::Status::error : L7::Status::ok;
        }
        context_.emit(stream.answer_ns, std::move(answer));
        stream.asked.reset();
        stream.answer.reset();
    }

    Context& context_;
    std::array<Half, 2> halves_;
    std::unordered_map<std::uint32_t, Stream> streams_;
    std::uint32_t last_stream_ = 0;
    GiveUp failure_ = GiveUp::malformed;
};

} // namespace

const ProtocolEntry kHttp2 = {
    L7::Protocol::http2,
    {80, 8080, 50051, 0},
    ProtocolEntry::Middle::never,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Http2>(context); }};

} // namespace beeline::observe::l7
