// memcached's text protocol with its meta commands. Commands and keys are read, values never.
#include <algorithm>

#include "observe/l7/lines.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::uint64_t kLongest = 1UL << 30; // value
constexpr std::size_t kLongestKey = 250;

enum class Kind : std::uint8_t { retrieve, store, line, statistics, meta, meta_store, none };

Kind kind_of(std::string_view command) {
    struct Row {
        std::string_view command;
        Kind kind;
    };
    static constexpr Row kRows[] = {
        {"get", Kind::retrieve},  {"gets", Kind::retrieve},  {"gat", Kind::retrieve},
        {"gats", Kind::retrieve}, {"set", Kind::store},      {"add", Kind::store},
        {"replace", Kind::store}, {"append", Kind::store},   {"prepend", Kind::store},
        {"cas", Kind::store},     {"delete", Kind::line},    {"incr", Kind::line},
        {"decr", Kind::line},     {"touch", Kind::line},     {"flush_all", Kind::line},
        {"version", Kind::line},  {"verbosity", Kind::line}, {"stats", Kind::statistics},
        {"mg", Kind::meta},       {"md", Kind::meta},        {"ma", Kind::meta},
        {"mn", Kind::meta},       {"me", Kind::meta},        {"ms", Kind::meta_store}};
    for (const Row& row : kRows)
        if (row.command == command) return row.kind;
    return Kind::none;
}

struct Command {
    std::string_view name, key;
    Kind kind = Kind::none;
    std::uint64_t size = 0; // of the value behind the line
    bool no_reply = false;
    bool quiet = false;
};

std::optional<Command> read_command(std::string_view line) {
    Command out;
    out.name = next_word(line);
    out.kind = kind_of(out.name);
    std::array<std::string_view, 8> words{};
    std::size_t count = 0;
    std::string_view last;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
        if (count < words.size()) words[count] = word;
        ++count;
        last = word;
        if ((out.kind == Kind::meta || out.kind == Kind::meta_store) && word == "q")
            out.quiet = true;
    }
    out.no_reply = last == "noreply";
    const bool has_key = out.kind != Kind::statistics && out.name != "version" &&
                         out.name != "verbosity" && out.name != "flush_all" && out.name != "mn" &&
                         out.kind != Kind::none;
    if (has_key) out.key = words[out.name.starts_with("gat") ? 1 : 0];
    if (has_key && (out.key.empty() || out.key.size() > kLongestKey)) return std::nullopt;
    if (out.kind == Kind::store || out.kind == Kind::meta_store) {
        const auto size = number_of<std::uint64_t>(words[out.kind == Kind::store ? 3 : 1]);
        if (!size || *size > kLongest) return std::nullopt;
        if (out.kind == Kind::store && (!number_of(words[1]) || !number_of(words[2])))
            return std::nullopt;
        out.size = *size + 2;
    }
    return out;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    const std::string_view text = text_of(start.client);
    if (!is_plain(text.substr(0, 1)) || text.front() < 'a') return Match::no;
    const std::string_view word = text.substr(0, text.find_first_of(" \r\n"));
    if (word.size() > 9) return Match::no;
    const Line line = first_line(start.client);
    if (line.size == 0) {
        if (start.middle || text.size() > 2048) return Match::no;
        return word.size() == text.size() || kind_of(word) != Kind::none ? Match::more : Match::no;
    }
    const auto command = read_command(line.text);
    if (!command || command->kind == Kind::none) return Match::no;
    return command->kind == Kind::store || command->kind == Kind::meta_store ? Match::yes
                                                                             : Match::likely;
}

class Memcached final : public Parser {
public:
    explicit Memcached(Context& context) : context_(context), outstanding_(context) {}

    Step read(const In& in) override {
        const Line line = first_line(in.data);
        if (line.size == 0) return Step::more();
        return in.side == Side::client ? command(in, line) : reply(in, line);
    }

    void middle() override { searching_ = true; }

    // A client that waits for each reply shows where the next one starts: behind its next command.
    bool lost(Side side) override {
        if (side == Side::client || searching_ || outstanding_.size() != 1) return false;
        if (reply_ns_ != 0) { // values came
            bytes_ = 0;
            tell({});
        } else {
            outstanding_.pop();
            ++context_.stats.unanswered;
        }
        return searching_ = true;
    }

    bool enter(const In& in) override {
        if (in.side == Side::client)
            return detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) !=
                   Match::no;
        const Line line = first_line(in.data);
        if (outstanding_.size() != 1 || line.size < 3 || !is_plain(line.text.substr(0, 2)))
            return false;
        searching_ = false;
        return true;
    }

private:
    Step command(const In& in, const Line& line) {
        const auto command = read_command(line.text);
        if (!command) return Step::give_up(GiveUp::malformed);
        if (command->name == "quit") return Step::take(line.size);
        // Whether a quiet command is answered depends on how it went.
        if (command->quiet) return Step::give_up(GiveUp::unsupported);
        L7 request;
        request.protocol = L7::Protocol::memcached;
        request.method = command->kind == Kind::none ? "" : std::string(command->name);
        request.resource = context_.text(command->key);
        request.request_bytes = command->size == 0 ? 0 : command->size - 2;
        if (command->no_reply)
            context_.emit(in.time_ns, std::move(request));
        else if (!outstanding_.add(in.time_ns, std::move(request), 0,
                                   static_cast<std::uint64_t>(command->kind)))
            return Step::give_up(GiveUp::outstanding);
        if (searching_ && outstanding_.size() > 1) return Step::give_up(GiveUp::lost);
        return Step::take(line.size + command->size);
    }

    Step reply(const In& in, const Line& line) {
        if (outstanding_.empty()) return Step::give_up(GiveUp::malformed);
        if (reply_ns_ == 0) reply_ns_ = in.time_ns;
        std::string_view rest = line.text;
        const std::string_view word = next_word(rest);
        const Kind kind = static_cast<Kind>(outstanding_.front().note);
        if (word == "ERROR" || word == "CLIENT_ERROR" || word == "SERVER_ERROR") {
            tell(redact_text(line.text, context_.options));
            return Step::take(line.size);
        }
        if (kind == Kind::retrieve) {
            if (word == "END") {
                tell({});
                return Step::take(line.size);
            }
            next_word(rest); // key
            next_word(rest); // flags
            const auto size = number_of<std::uint64_t>(next_word(rest));
            if (word != "VALUE" || !size || *size > kLongest)
                return Step::give_up(GiveUp::malformed);
            bytes_ += *size;
            return Step::take(line.size + *size + 2);
        }
        if (kind == Kind::statistics && word == "STAT") return Step::take(line.size);
        if ((kind == Kind::meta || kind == Kind::meta_store) && word == "VA") {
            const auto size = number_of<std::uint64_t>(next_word(rest));
            if (!size || *size > kLongest) return Step::give_up(GiveUp::malformed);
            bytes_ += *size;
            tell({});
            return Step::take(line.size + *size + 2);
        }
        tell({}); // STORED, NOT_FOUND, a number, HD ...
        return Step::take(line.size);
    }

    void tell(std::string_view error) {
        const auto request = outstanding_.pop();
        L7 answer = Outstanding::answer(*request, reply_ns_);
        answer.status = error.empty() ? L7::Status::ok : L7::Status::error;
        answer.error = context_.text(error);
        answer.response_bytes = bytes_;
        context_.emit(reply_ns_, std::move(answer));
        reply_ns_ = 0;
        bytes_ = 0;
    }

    Context& context_;
    Outstanding outstanding_;
    std::uint64_t reply_ns_ = 0;
    std::uint64_t bytes_ = 0;
    bool searching_ = false; // lost(), and not found again
};

} // namespace

const ProtocolEntry kMemcached = {L7::Protocol::memcached,
                                  {11211, 0, 0, 0},
                                  ProtocolEntry::Middle::quiet,
                                  detect,
                                  [](Context& context) -> std::unique_ptr<Parser> {
                                      return std::make_unique<Memcached>(context);
                                  }};

} // namespace beeline::observe::l7
