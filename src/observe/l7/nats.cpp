// NATS: what is published and subscribed to, and how long a request takes, whose answer comes on the subject that it named.
// Payloads are passed over.
#include <functional>

#include "observe/l7/http.h"
#include "observe/l7/lines.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::uint64_t kLongest = 64UL << 20; // payload; servers allow 1 MiB unless told otherwise

// An operation with a payload: SUBJECT [REPLY] [HEADERS] SIZE, of the server with an id behind the subject.
struct Publication {
    std::string_view subject, reply;
    std::uint64_t headers = 0;
    std::uint64_t size = 0;
};

std::optional<Publication> publication(std::string_view line, bool headers, bool delivered) {
    std::array<std::string_view, 6> words;
    std::size_t count = 0;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
        if (count == words.size()) return std::nullopt;
        words[count++] = word;
    }
    const std::size_t fixed = 2U + (headers ? 1U : 0U) + (delivered ? 1U : 0U);
    if (count != fixed && count != fixed + 1) return std::nullopt;
    Publication out;
    out.subject = words[0];
    if (count == fixed + 1) out.reply = words[delivered ? 2 : 1];
    const auto size = number_of<std::uint64_t>(words[count - 1]);
    const auto head = headers ? number_of<std::uint64_t>(words[count - 2]) : 0;
    if (!size || *size > kLongest || !head || *head > *size) return std::nullopt;
    out.size = *size;
    out.headers = *head;
    return out;
}

bool is_operation(std::string_view line, Side side) {
    const std::string_view word = next_word(line);
    const bool server = side == Side::server;
    if (iequals(word, server ? "MSG" : "PUB")) return publication(line, false, server).has_value();
    if (iequals(word, server ? "HMSG" : "HPUB")) return publication(line, true, server).has_value();
    return server && (word == "+OK" || word == "-ERR" || word == "PING" || word == "PONG");
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.middle) {
        const Line line = first_line(start.client);
        return line.size != 0 && is_operation(line.text, Side::client) ? Match::yes : Match::no;
    }
    if (start.server.empty()) return start.client.empty() ? Match::more : Match::no;
    constexpr std::string_view kHello = "INFO {";
    const std::string_view text = text_of(start.server).substr(0, kHello.size());
    return text == kHello ? Match::yes : kHello.starts_with(text) ? Match::more : Match::no;
}

class Nats final : public Parser {
public:
    explicit Nats(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override {
        if (in.side == Side::client && static_cast<std::uint8_t>(in.data[0]) == 0x16)
            return Step::give_up(GiveUp::encrypted);
        const Line line = first_line(in.data);
        if (line.size == 0) return Step::more();
        std::string_view rest = line.text;
        const std::string_view word = next_word(rest);
        return in.side == Side::client ? sent(in, line, word, rest)
                                       : delivered(in, line, word, rest);
    }

    bool enter(const In& in) override {
        const Line line = first_line(in.data);
        return line.size != 0 && is_operation(line.text, in.side);
    }

private:
    static std::uint64_t key_of(std::string_view subject) {
        return std::hash<std::string_view>{}(subject);
    }

    L7 message(std::string_view method, std::string_view subject) const {
        L7 out;
        out.protocol = L7::Protocol::nats;
        out.method = method;
        out.resource = context_.text(subject);
        return out;
    }

    Step sent(const In& in, const Line& line, std::string_view word, std::string_view rest) {
        const bool headers = iequals(word, "HPUB");
        if (headers || iequals(word, "PUB")) {
            const auto what = publication(rest, headers, false);
            if (!what) return Step::give_up(GiveUp::malformed);
            L7 request = message("PUB", what->subject);
            request.request_bytes = what->size;
            if (what->reply.empty()) {
                context_.emit(in.time_ns, std::move(request));
            } else {
                // Many a message names a subject for answers that never come.
                if (outstanding_.size() >= context_.options.max_outstanding) outstanding_.pop();
                outstanding_.add(in.time_ns, std::move(request), key_of(what->reply));
            }
            return Step::take(line.size + what->size + 2);
        }
        if (iequals(word, "SUB")) {
            const std::string_view subject = next_word(rest);
            if (subject.empty()) return Step::give_up(GiveUp::malformed);
            context_.emit(in.time_ns, message("SUB", subject));
        } else if (iequals(word, "CONNECT")) {
            context_.emit(in.time_ns, message("CONNECT", {})); // its JSON has the password
        }
        return Step::take(line.size);
    }

    Step delivered(const In& in, const Line& line, std::string_view word, std::string_view rest) {
        const bool headers = iequals(word, "HMSG");
        if (headers || iequals(word, "MSG")) {
            const auto what = publication(rest, headers, true);
            if (!what) return Step::give_up(GiveUp::malformed);
            // The first header line has a status where the server itself answers.
            constexpr std::string_view kHead = "NATS/1.0 ";
            const std::size_t wanted = std::min<std::uint64_t>(what->headers, kHead.size() + 3);
            const std::string_view payload = text_of(in.data.subspan(line.size));
            if (payload.size() < wanted && !in.cut) return Step::more();
            std::uint32_t status = 0;
            if (wanted == kHead.size() + 3 && payload.starts_with(kHead))
                status = number_of<std::uint32_t>(payload.substr(kHead.size(), 3)).value_or(0);
            if (payload.size() < wanted) return Step::give_up(GiveUp::lost);
            message_arrived(in, *what, status);
            return Step::take(line.size + what->size + 2);
        }
        if (word == "-ERR") {
            L7 answer = message({}, {});
            answer.type = L7::Type::response;
            answer.status = L7::Status::error;
            std::string_view text = trim(rest);
            if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'')
                text = text.substr(1, text.size() - 2);
            answer.error = context_.text(redact_text(text, context_.options));
            context_.emit(in.time_ns, std::move(answer));
        } else if (word != "+OK" && !iequals(word, "PING") && !iequals(word, "PONG") &&
                   !iequals(word, "INFO")) {
            return Step::give_up(GiveUp::malformed);
        }
        return Step::take(line.size);
    }

    void message_arrived(const In& in, const Publication& what, std::uint32_t status) {
        L7 answer;
        if (const auto request = outstanding_.pop(key_of(what.subject))) {
            answer = Outstanding::answer(*request, in.time_ns);
        } else {
            answer = message("MSG", what.subject);
            answer.type = L7::Type::response;
        }
        answer.code = status;
        answer.status = status >= 400 ? L7::Status::error : L7::Status::ok;
        if (status == 503) answer.error = "no responders";
        answer.response_bytes = what.size;
        context_.emit(in.time_ns, std::move(answer));
    }

    Context& context_;
    Outstanding outstanding_;
};

} // namespace

const ProtocolEntry kNats = {
    L7::Protocol::nats,
    {4222, 0, 0, 0},
    ProtocolEntry::Middle::any,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Nats>(context); }};

} // namespace beeline::observe::l7
