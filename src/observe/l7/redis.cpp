// Redis (RESP2 and RESP3): commands and their replies in order, pipelines, transactions, pub/sub. Names of commands,
// keys and channels are read; values never.
#include <algorithm>

#include "observe/l7/lines.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::int64_t kLongest = 1LL << 32; // of a value, and of an array
constexpr std::size_t kMaxDepth = 16;

template <std::size_t N>
bool among(std::string_view name, const std::string_view (&names)[N]) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Their first argument says what they do.
constexpr std::string_view kContainers[] = {
    "ACL",    "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "DEBUG",   "FUNCTION", "LATENCY",
    "MEMORY", "MODULE", "OBJECT",  "PUBSUB",  "SCRIPT", "SLOWLOG", "XGROUP",   "XINFO"};
// Their first argument is no key: a secret, a script, a value.
constexpr std::string_view kKeyless[] = {
    "AUTH",        "HELLO",      "PING",     "ECHO",      "SELECT",    "EVAL",    "EVALSHA",
    "EVAL_RO",     "EVALSHA_RO", "FCALL",    "FCALL_RO",  "INFO",      "MULTI",   "EXEC",
    "DISCARD",     "UNWATCH",    "KEYS",     "SCAN",      "FLUSHALL",  "FLUSHDB", "WAIT",
    "QUIT",        "RESET",      "SHUTDOWN", "REPLICAOF", "SLAVEOF",   "SAVE",    "BGSAVE",
    "TIME",        "ROLE",       "BITOP",    "MIGRATE",   "SWAPDB",    "XREAD",   "XREADGROUP",
    "LOLWUT",      "DBSIZE",     "FAILOVER", "READONLY",  "READWRITE", "ASKING",  "LASTSAVE",
    "BGREWRITEAOF"};
constexpr std::string_view kSubscribing[] = {"SUBSCRIBE",   "PSUBSCRIBE",   "SSUBSCRIBE",
                                             "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE"};
// From then on the connection is a stream without commands, or replies are left out.
constexpr std::string_view kStreams[] = {"MONITOR", "SYNC", "PSYNC", "CLIENT REPLY"};

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    std::string_view text = text_of(start.client);
    if (text.front() != '*') {
        const Line line = first_line(start.client);
        // A line that a person typed, which other protocols may begin with, too.
        const std::string_view word = text.substr(0, text.find_first_of(" \r\n"));
        if (start.middle || !is_plain(word, "._-") || word.size() > 64) return Match::no;
        if (line.size == 0) return text.size() > 1024 ? Match::no : Match::more;
        return Match::likely;
    }
    // *N CR LF $N CR LF letters
    for (const char type : {'*', '$'}) {
        if (text.empty()) return start.middle ? Match::no : Match::more;
        if (text.front() != type) return Match::no;
        text.remove_prefix(1);
        std::size_t digits = 0;
        while (digits < text.size() && digits < 7 && text[digits] >= '0' && text[digits] <= '9')
            ++digits;
        text.remove_prefix(digits);
        if (!std::string_view("\r\n").starts_with(text.substr(0, 2)) ||
            (digits == 0 && !text.empty()))
            return Match::no;
        if (text.size() < 2) return start.middle ? Match::no : Match::more;
        text.remove_prefix(2);
    }
    if (text.empty()) return start.middle ? Match::no : Match::more;
    return is_plain(text.substr(0, 1)) ? Match::yes : Match::no;
}

class Redis final : public Parser {
public:
    explicit Redis(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override { return in.side == Side::client ? command(in) : reply(in); }

    void middle() override { searching_ = true; }

    // A client that waits for each reply shows where the next one starts: behind its next command.
    bool lost(Side side) override {
        if (side == Side::client || searching_ || subscribed_ || outstanding_.size() != 1)
            return false;
        const bool begun = !depth_.empty() && !attribute_;
        const auto request = outstanding_.pop();
        if (begun) {
            L7 answer = Outstanding::answer(*request, reply_ns_);
            answer.status = L7::Status::ok; // an array, whatever is in it
            context_.emit(reply_ns_, std::move(answer));
        } else {
            ++context_.stats.unanswered;
        }
        depth_.clear();
        attribute_ = false;
        return searching_ = true;
    }

    bool enter(const In& in) override {
        if (in.side == Side::client)
            return detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) ==
                   Match::yes;
        const Line line = first_line(in.data);
        if (outstanding_.size() != 1 || line.size < 3 ||
            std::string_view("+-:$*_#,(=!~%|").find(line.text.front()) == std::string_view::npos)
            return false;
        searching_ = false;
        return true;
    }

private:
    // --- commands

    Step command(const In& in) {
        if (arguments_ == 0) return begin(in);
        const Line line = first_line(in.data);
        if (line.size == 0)
            return in.data.size() > 32 ? Step::give_up(GiveUp::malformed) : Step::more();
        const auto size =
            line.text.starts_with('$') ? number_of(line.text.substr(1)) : std::nullopt;
        if (!size || *size < 0 || *size > kLongest) return Step::give_up(GiveUp::malformed);
        const auto length = static_cast<std::uint64_t>(*size);
        if (index_ < 2) {
            const std::size_t wanted =
                std::min<std::uint64_t>(length, index_ == 0 ? 64 : context_.options.max_text);
            Bytes value = in.data.subspan(line.size);
            const bool whole = value.size() >= wanted;
            if (!whole && (!in.cut || index_ == 0)) return Step::more();
            if (whole && !argument(text_of(value.first(wanted))))
                return Step::give_up(GiveUp::malformed);
        }
        ++index_;
        const std::uint64_t used = line.size + length + 2;
        bytes_ += used;
        if (--arguments_ == 0)
            if (const auto failure = send()) return Step::give_up(*failure);
        return Step::take(used);
    }

    Step begin(const In& in) {
        const Line line = first_line(in.data);
        if (line.size == 0) return Step::more();
        if (line.text.empty()) return Step::take(line.size);
        request_ = {};
        request_.protocol = L7::Protocol::redis;
        command_ns_ = in.time_ns;
        index_ = 0;
        bytes_ = line.size;
        if (line.text.front() == '*') {
            const auto count = number_of(line.text.substr(1));
            if (!count || *count > kLongest) return Step::give_up(GiveUp::malformed);
            arguments_ = static_cast<std::uint64_t>(
                std::max<std::int64_t>(*count, 0)); // none: ignored by the server, too
            total_ = arguments_;
            return Step::take(line.size);
        }
        std::string_view rest = line.text; // as typed by a person
        total_ = 0;
        for (std::string_view word = next_word(rest); !word.empty();
             word = next_word(rest), ++index_, ++total_)
            if (index_ < 2 && !argument(word)) return Step::give_up(GiveUp::malformed);
        if (const auto failure = send()) return Step::give_up(*failure);
        return Step::take(line.size);
    }

    bool argument(std::string_view value) {
        if (index_ == 0) {
            if (!is_plain(value, "._-|")) return false;
            request_.method = upper(value);
            return true;
        }
        if (among(request_.method, kContainers)) {
            if (is_plain(value, "-")) (request_.method += ' ') += upper(value.substr(0, 32));
        } else if (!among(request_.method, kKeyless)) {
            request_.resource = context_.text(value);
        }
        return true;
    }

    std::optional<GiveUp> send() {
        if (among(request_.method, kStreams)) return GiveUp::unsupported;
        request_.request_bytes = bytes_;
        std::uint64_t confirmations = 0;
        if (among(request_.method, kSubscribing)) {
            subscribed_ = true;
            confirmations = std::max<std::uint64_t>(total_, 2) - 1;
        }
        if (!outstanding_.add(command_ns_, std::move(request_), 0, confirmations))
            return GiveUp::outstanding;
        // A command before the reply to the last one was found: which reply comes next cannot be known.
        if (searching_ && outstanding_.size() > 1) return GiveUp::lost;
        return std::nullopt;
    }

    // --- replies

    Step reply(const In& in) {
        const Line line = first_line(in.data);
        if (line.size == 0 || line.text.empty())
            return line.size == 0 ? Step::more() : Step::give_up(GiveUp::malformed);
        const char type = line.text.front();
        const std::string_view rest = line.text.substr(1);
        const bool top = depth_.empty();
        if (top && !attribute_) {
            reply_ns_ = in.time_ns;
            reply_bytes_ = 0;
            error_.reset();
            kind_.clear();
            push_ = type == '>';
            listed_ = type == '*' || type == '>';
            element_ = 0;
        }
        std::uint64_t used = line.size;
        switch (type) {
        case '-':
            if (top) error_ = context_.text(redact_text(rest, context_.options));
            break;
        case '+':
        case ':':
        case '_':
        case '#':
        case ',':
        case '(': break;
        case '$':
        case '=':
        case '!': {
            const auto size = number_of(rest);
            if (!size || *size < -1 || *size > kLongest) return Step::give_up(GiveUp::malformed);
            if (*size == -1) break;
            const auto length = static_cast<std::uint64_t>(*size);
            // What an array of the server's own accord is about stands first.
            if (listed_ && depth_.size() == 1 && element_ == 0 && length <= 16 &&
                (push_ || subscribed_)) {
                if (in.data.size() < line.size + length) return Step::more();
                kind_ = text_of(in.data.subspan(line.size, length));
            } else if (top && type == '!') {
                const std::size_t wanted =
                    std::min<std::uint64_t>(length, context_.options.max_text);
                if (in.data.size() < line.size + wanted && !in.cut) return Step::more();
                const Bytes text = in.data.subspan(line.size);
                error_ = context_.text(redact_text(
                    text_of(text.first(std::min(text.size(), wanted))), context_.options));
            }
            used += length + 2;
            break;
        }
        case '*':
        case '~':
        case '>':
        case '%':
        case '|': {
            const auto size = number_of(rest);
            if (!size || *size < -1 || *size > kLongest) return Step::give_up(GiveUp::malformed);
            if (top && type == '%') resp3_ = true;
            if (top && type == '>') resp3_ = true;
            const auto count = static_cast<std::uint64_t>(std::max<std::int64_t>(*size, 0)) *
                               (type == '%' || type == '|' ? 2 : 1);
            reply_bytes_ += used;
            if (type == '|' && top) attribute_ = true;
            if (count != 0) {
                if (depth_.size() == kMaxDepth) return Step::give_up(GiveUp::unsupported);
                depth_.push_back({count, type == '|'});
                return Step::take(used);
            }
            if (type == '|') return Step::take(used); // what it is about follows
            return ended(used);
        }
        default: return Step::give_up(GiveUp::malformed);
        }
        reply_bytes_ += used;
        return ended(used);
    }

    // An element is read; so may be the arrays that it is the last of.
    Step ended(std::uint64_t used) {
        while (!depth_.empty()) {
            if (depth_.size() == 1) ++element_;
            if (--depth_.back().left != 0) return Step::take(used);
            const bool attribute = depth_.back().attribute;
            depth_.pop_back();
            if (attribute) return Step::take(used); // what it is about follows
        }
        attribute_ = false;
        return told() ? Step::take(used) : Step::give_up(GiveUp::malformed);
    }

    bool told() {
        if (push_ || (listed_ && subscribed_ && !resp3_ && !kind_.empty() && kind_ != "pong")) {
            // A message, or a confirmation: one for each channel.
            if (outstanding_.empty() || upper(kind_) != outstanding_.front().message->method)
                return true;
            if (--outstanding_.front().note != 0) return true;
        }
        const auto request = outstanding_.pop();
        if (!request) return false;
        L7 answer = Outstanding::answer(*request, reply_ns_);
        answer.status = error_ ? L7::Status::error : L7::Status::ok;
        answer.error = error_.value_or("");
        answer.response_bytes = reply_bytes_;
        context_.emit(reply_ns_, std::move(answer));
        return true;
    }

    struct Level {
        std::uint64_t left;
        bool attribute;
    };

    Context& context_;
    Outstanding outstanding_;
    // The command that is being read
    L7 request_;
    std::uint64_t command_ns_ = 0;
    std::uint64_t arguments_ = 0; // still to come
    std::uint64_t total_ = 0;
    std::uint64_t index_ = 0;
    std::uint64_t bytes_ = 0;
    // The reply
    std::vector<Level> depth_; // arrays that it is within
    std::uint64_t reply_ns_ = 0;
    std::uint64_t reply_bytes_ = 0;
    std::uint64_t element_ = 0; // of the outermost array
    std::optional<std::string> error_;
    std::string kind_; // first element where that names a push
    bool push_ = false;
    bool listed_ = false;
    bool attribute_ = false; // was read before the reply proper
    bool subscribed_ = false;
    bool searching_ = false; // lost(), and not found again
    bool resp3_ = false;
};

} // namespace

const ProtocolEntry kRedis = {
    L7::Protocol::redis,
    {6379, 6380, 0, 0},
    ProtocolEntry::Middle::quiet,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Redis>(context); }};

} // namespace beeline::observe::l7
