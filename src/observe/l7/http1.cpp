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
            if (outstanding_.size() != 1 || half.message->code < 200) return false;
            half.message->response_bytes = 0;
            send_answer(half);
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
        if (half.state == State::start || !half.message || outstanding_.empty()) return;
        half.message->response_bytes = half.body;
        send_answer(half);
    }

private:
    enum class State : std::uint8_t { start, headers, chunk_size, trailers, until_close };
    struct Half {
        State state = State::start;
        std::optional<L7> message; // being read
        std::uint64_t time_ns = 0; // of its first byte
        std::uint64_t body = 0;
        std::optional<std::uint64_t> length;
        bool chunked = false;
        bool other_coding = false;
    };

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
        const std::uint32_t code = half.message->code;
        if (code < 200 && code != 101) {
            half = {}; // the answer proper follows
            return Step::take(size);
        }
        const std::string_view method = half.message->method;
        if (code == 101 || (method == "CONNECT" && code < 300)) {
            send_answer(half);
            return Step::give_up(GiveUp::tunnel);
        }
        if (method == "HEAD" || code == 204 || code == 304) {
            send_answer(half);
            return Step::take(size);
        }
        if (half.chunked) {
            half.state = State::chunk_size;
            return Step::take(size);
        }
        if (half.length && !half.other_coding) {
            if (*half.length > kLongestBody) return Step::give_up(GiveUp::malformed);
            half.message->response_bytes = *half.length;
            const std::uint64_t length = *half.length;
            send_answer(half);
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
        half.message->response_bytes = half.body;
        send_answer(half);
    }

    // What was read of a request, once. False: too many wait.
    bool send_request() {
        Half& half = halves_[0];
        if (half.state == State::start || !half.message) return true;
        half.message->request_bytes = half.body;
        const bool room = outstanding_.add(half.time_ns, std::move(*half.message));
        half.message.reset();
        if (half.state == State::headers) half = {};
        // A request before the answer to the last one was found: which answer comes next cannot be known.
        return room && !(searching_ == Side::server && outstanding_.size() > 1);
    }

    void send_answer(Half& half) {
        outstanding_.pop();
        context_.emit(half.time_ns, std::move(*half.message));
        half = {};
    }

    static constexpr std::uint64_t kLongestBody = 1ULL << 50; // a length beyond is a lie

    Context& context_;
    Outstanding outstanding_;
    std::array<Half, 2> halves_;
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
