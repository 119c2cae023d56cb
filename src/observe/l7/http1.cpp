// HTTP/1.0 and 1.1 (RFC 9112): pipelined requests, every kind of body; stops where the connection stops being HTTP.
#include <charconv>

#include "observe/l7/http.h"
#include "observe/l7/lines.h"
#include "observe/l7/parser.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::string_view kMethods[] = {"GET",       "POST",   "PUT",    "DELETE",  "HEAD",
                                         "OPTIONS",   "PATCH",  "TRACE",  "CONNECT", "PROPFIND",
                                         "MKCOL",     "COPY",   "MOVE",   "LOCK",    "UNLOCK",
                                         "PROPPATCH", "REPORT", "SEARCH", "PURGE"};

bool is_token(std::string_view text) {
    if (text.empty() || text.size() > 64) return false;
    for (const char c : text)
        if (c <= ' ' || static_cast<unsigned char>(c) >= 0x7f ||
            std::string_view("\"(),/:;<=>?@[\\]{}").find(c) != std::string_view::npos)
            return false;
    return true;
}

struct RequestLine {
    std::string_view method, target, version;
};

std::optional<RequestLine> request_line(std::string_view line) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || last <= first + 1) return std::nullopt;
    const RequestLine result{line.substr(0, first), line.substr(first + 1, last - first - 1),
                             line.substr(last + 1)};
    if (!is_token(result.method) || (result.version != "HTTP/1.1" && result.version != "HTTP/1.0"))
        return std::nullopt;
    if (result.target.find(' ') != std::string_view::npos) return std::nullopt;
    return result;
}

struct StatusLine {
    std::string_view version;
    std::uint32_t code = 0;
};

std::optional<StatusLine> status_line(std::string_view line) {
    if (line.size() < 12 || (!line.starts_with("HTTP/1.1 ") && !line.starts_with("HTTP/1.0 ")))
        return std::nullopt;
    StatusLine result{line.substr(0, 8)};
    const auto [end, error] = std::from_chars(line.data() + 9, line.data() + 12, result.code);
    if (error != std::errc{} || end != line.data() + 12 || result.code < 100 ||
        (line.size() > 12 && line[12] != ' '))
        return std::nullopt;
    return result;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    const std::string_view text = text_of(start.client);
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, std::min<std::size_t>(space, 16));
    bool method = false;
    for (const std::string_view known : kMethods)
        method |= space == std::string_view::npos ? known.starts_with(word) : known == word;
    if (!method) return Match::no;
    const Line line = first_line(start.client);
    if (line.size == 0) return start.middle ? Match::no : Match::more;
    return request_line(line.text) ? Match::yes : Match::no;
}

class Http1 final : public Parser {
public:
    explicit Http1(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override {
        Half& half = halves_[static_cast<std::size_t>(in.side)];
        if (half.state == State::until_close) {
            half.body += in.data.size();
            return Step::take(in.data.size());
        }
        if (half.state == State::start) {
            if (auto step = whole_head(in, half)) return *step;
        }
        const Line line = first_line(in.data);
        if (line.size == 0) return Step::more();
        switch (half.state) {
        case State::start:
            if (line.text.empty())
                return Step::take(line.size); // some send an empty line behind a body
            if (!start(in, half, line.text)) return Step::give_up(GiveUp::malformed);
            half.state = State::headers;
            return Step::take(line.size);
        case State::headers:
            if (line.text.empty()) return head_end(in.side, half, line.size);
            if (!header(half, line.text)) return Step::give_up(GiveUp::malformed);
            return Step::take(line.size);
        case State::chunk_size: return chunk(half, line);
        case State::trailers:
            if (line.text.empty()) finish(in.side, half);
            return Step::take(line.size);
        case State::until_close: break;
        }
        return Step::give_up(GiveUp::malformed);
    }

    // A client that waits for each answer shows where messages start: a request follows a whole answer, an answer a
    // new request. One that does not wait cannot be followed.
    bool lost(Side side) override {
        Half& half = halves_[static_cast<std::size_t>(side)];
        const std::size_t begun = half.state == State::start ? 0 : 1;
        if (begun == 0 || searching_)
            return false; // with both sides lost nothing can be told apart
        if (side == Side::client) {
            if (!send_request()) return false;
        } else {
            send_request();
            if (outstanding_.size() != 1 || said(half).code < 200) return false;
            send_answer(half, 0);
        }
        half = {};
        searching_ = side;
        return outstanding_.size() <= 1;
    }

    bool enter(const In& in) override {
        const Line line = first_line(in.data);
        if (line.size == 0) return false;
        const bool found = in.side == Side::server
                               ? outstanding_.size() == 1 && status_line(line.text)
                               : outstanding_.empty() && request_line(line.text);
        if (found && searching_ == in.side) searching_.reset();
        return found;
    }

    void middle() override { searching_ = Side::server; }

    void end() override {
        Half& half = halves_[1];
        if (half.state == State::start || !has_message(half) || outstanding_.empty()) return;
        send_answer(half, half.body);
    }

private:
    enum class State : std::uint8_t { start, headers, chunk_size, trailers, until_close };
    struct Half {
        State state = State::start;
        std::optional<L7> message;        // being read
        std::shared_ptr<const L7> shared; // or whole, and had by others too
        std::uint64_t time_ns = 0;        // of its first byte
        std::uint64_t body = 0;
        std::optional<std::uint64_t> length;
        bool chunked = false;
        bool other_coding = false;
    };

    // A head that is there whole; nothing: it is to be read line by line.
    std::optional<Step> whole_head(const In& in, Half& half) {
        const std::string_view data = text_of(in.data);
        const model::L7* request = nullptr;
        if (in.side == Side::server) {
            // An answer may come before the end of the request's body.
            if (has_message(halves_[0]) || outstanding_.empty()) return std::nullopt;
            // To a request that nobody shares no known answer fits.
            if (outstanding_.front().note != kShared) return std::nullopt;
            request = outstanding_.front().message.get();
        }
        Heads::Found& last = last_[static_cast<std::size_t>(in.side)];
        if (last && Heads::is(*last, data, request)) return known_head(in, half, *last);
        const std::size_t end = data.find("\n\r\n");
        if (end == std::string_view::npos) return std::nullopt;
        const std::string_view head = data.substr(0, end + 3);
        if (auto found = context_.heads.find(head, request)) {
            last = std::move(found);
            return known_head(in, half, *last);
        }
        // Empty lines in other places are looked at where lines are read.
        if (first_line(in.data).text.empty() || head.find("\n\n") != std::string_view::npos ||
            !context_.heads.wanted(head))
            return std::nullopt;
        return new_head(in, half, head, last);
    }

    Step known_head(const In& in, Half& half, const Head& head) {
        half = {};
        half.state = State::headers;
        half.time_ns = in.time_ns;
        half.shared = head.message;
        half.length = head.length;
        half.chunked = head.chunked;
        half.other_coding = head.other_coding;
        return head_end(in.side, half, head.bytes.size());
    }

    Step new_head(const In& in, Half& half, std::string_view bytes, Heads::Found& last) {
        bool first = true;
        for (std::string_view rest = bytes; rest.size() > 2;) {
            const Line line = first_line(bytes_of(rest));
            rest.remove_prefix(line.size);
            const bool sane = first ? start(in, half, line.text) : header(half, line.text);
            if (!sane) return Step::give_up(GiveUp::malformed);
            first = false;
        }
        Head head;
        head.bytes = bytes;
        if (in.side == Side::server) head.request = outstanding_.front().message;
        half.message->latency_ns = 0;
        half.message->request_bytes = 0;
        half.message->tls = context_.tls;
        head.message = std::make_shared<const L7>(std::move(*half.message));
        half.message.reset();
        head.length = half.length;
        head.chunked = half.chunked;
        head.other_coding = half.other_coding;
        last = context_.heads.add(std::move(head));
        return known_head(in, half, *last);
    }

    bool start(const In& in, Half& half, std::string_view line) {
        half = {};
        half.time_ns = in.time_ns;
        if (in.side == Side::client) {
            const auto request = request_line(line);
            if (!request) return false;
            L7& message = half.message.emplace();
            message.method = request->method;
            message.version = request->version;
            set_target(message, request->target, context_);
            return true;
        }
        const auto status = status_line(line);
        send_request(); // an answer may come before the end of the request's body
        if (!status || outstanding_.empty()) return false;
        half.message = Outstanding::answer(outstanding_.front(), half.time_ns);
        half.message->code = status->code;
        half.message->status = status->code >= 400 ? L7::Status::error : L7::Status::ok;
        half.message->version = status->version;
        return true;
    }

    bool header(Half& half, std::string_view line) {
        if (line.front() == ' ' || line.front() == '\t')
            return true; // the rest of the line above, as of old
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_token(trim(line.substr(0, colon)).substr(0, 64)))
            return false;
        const std::string_view name = trim(line.substr(0, colon));
        const std::string_view value = trim(line.substr(colon + 1));
        if (iequals(name, "content-length")) {
            std::uint64_t length = 0;
            const auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), length);
            if (error != std::errc{} || end != value.data() + value.size()) return false;
            if (half.length && *half.length != length) return false;
            half.length = length;
        } else if (iequals(name, "transfer-encoding")) {
            const std::size_t comma = value.rfind(',');
            half.chunked = iequals(
                trim(value.substr(comma == std::string_view::npos ? 0 : comma + 1)), "chunked");
            half.other_coding = !half.chunked;
        } else if (half.message) {
            add_header(*half.message, name, value, context_);
        }
        return true;
    }

    Step head_end(Side side, Half& half, std::size_t size) {
        if (side == Side::client) {
            if (half.chunked) {
                half.state = State::chunk_size;
                return Step::take(size);
            }
            if (half.other_coding) return Step::give_up(GiveUp::malformed);
            const std::uint64_t length = half.length.value_or(0);
            if (length > kLongestBody) return Step::give_up(GiveUp::malformed);
            half.body = length;
            if (!send_request()) return Step::give_up(GiveUp::outstanding);
            return Step::take(size + length);
        }
        const std::uint32_t code = said(half).code;
        if (code < 200 && code != 101) {
            half = {}; // the answer proper follows
            return Step::take(size);
        }
        const std::string_view method = said(half).method;
        if (code == 101 || (method == "CONNECT" && code < 300)) {
            send_answer(half, 0);
            return Step::give_up(GiveUp::tunnel);
        }
        if (method == "HEAD" || code == 204 || code == 304) {
            send_answer(half, 0);
            return Step::take(size);
        }
        if (half.chunked) {
            half.state = State::chunk_size;
            return Step::take(size);
        }
        if (half.length && !half.other_coding) {
            if (*half.length > kLongestBody) return Step::give_up(GiveUp::malformed);
            const std::uint64_t length = *half.length;
            send_answer(half, length);
            return Step::take(size + length);
        }
        half.state = State::until_close;
        return Step::take(size);
    }

    Step chunk(Half& half, const Line& line) {
        const std::string_view digits = trim(line.text.substr(0, line.text.find(';')));
        std::uint64_t length = 0;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), length, 16);
        if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() ||
            length > kLongestBody)
            return Step::give_up(GiveUp::malformed);
        if (length == 0) {
            half.state = State::trailers;
            return Step::take(line.size);
        }
        half.body += length;
        return Step::take(line.size + length + 2);
    }

    void finish(Side side, Half& half) {
        if (side == Side::client) {
            send_request(); // false shows with the next one
            half = {};
            return;
        }
        send_answer(half, half.body);
    }

    // What was read of a request, once. False: too many wait.
    bool send_request() {
        Half& half = halves_[0];
        if (half.state == State::start || !has_message(half)) return true;
        bool room = false;
        if (half.shared) {
            room = outstanding_.add(half.time_ns, std::exchange(half.shared, nullptr), half.body,
                                    kShared);
        } else {
            half.message->request_bytes = half.body;
            room = outstanding_.add(half.time_ns, std::move(*half.message));
            half.message.reset();
        }
        if (half.state == State::headers) half = {};
        // A request before the answer to the last one was found: which answer comes next cannot be known.
        return room && !(searching_ == Side::server && outstanding_.size() > 1);
    }

    void send_answer(Half& half, std::uint64_t bytes) {
        if (half.shared) {
            const auto& request = outstanding_.front();
            context_.emit(half.time_ns, half.shared,
                          {.latency_ns = Outstanding::latency(request, half.time_ns),
                           .request_bytes = request.bytes,
                           .response_bytes = bytes});
        } else {
            half.message->response_bytes = bytes;
            context_.emit(half.time_ns, std::move(*half.message));
        }
        outstanding_.drop();
        half = {};
    }

    static bool has_message(const Half& half) { return half.message || half.shared; }
    // Precondition: has_message().
    static const L7& said(const Half& half) { return half.shared ? *half.shared : *half.message; }

    static constexpr std::uint64_t kShared = 1; // note of a request whose message is a head's
    static constexpr std::uint64_t kLongestBody = 1ULL << 50; // a length beyond is a lie

    Context& context_;
    Outstanding outstanding_;
    std::array<Half, 2> halves_;
    std::array<Heads::Found, 2> last_;
    std::optional<Side> searching_; // lost(), and not found again
};

} // namespace

const ProtocolEntry kHttp1 = {
    L7::Protocol::http,
    {80, 8080, 8000, 3000},
    ProtocolEntry::Middle::any,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Http1>(context); }};

} // namespace beeline::observe::l7
