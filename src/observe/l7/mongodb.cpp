// MongoDB: OP_MSG, and OP_QUERY of the first hello. Of documents only the command, its collection and database, and the
// outcome are read.
#include "observe/l7/lines.h"
#include "observe/l7/parser.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

using model::L7;

constexpr std::size_t kHeader = 16;
constexpr std::uint32_t kLongest = 48U << 20U;
constexpr std::size_t kWanted = 4096;

enum OpCode : std::uint32_t { kReply = 1, kQuery = 2004, kCompressed = 2012, kMessage = 2013 };
enum Flag : std::uint32_t { kMoreToCome = 0x2 };

struct Head {
    std::uint32_t length = 0;
    std::uint32_t id = 0;
    std::uint32_t reply_to = 0;
    std::uint32_t code = 0;
};

Head read_head(Reader& in) {
    Head out;
    out.length = in.le32();
    out.id = in.le32();
    out.reply_to = in.le32();
    out.code = in.le32();
    return out;
}

bool is_sane(const Head& head) {
    return head.length > kHeader && head.length <= kLongest &&
           (head.code == kReply || head.code == kQuery || head.code == kCompressed ||
            head.code == kMessage);
}

struct Element {
    std::uint8_t type = 0; // 0: no more
    std::string_view name;
    Bytes value;
    [[nodiscard]] std::string_view text() const { // of a string
        if (type != 0x02 || value.size() < 5) return {};
        return text_of(value.subspan(4, value.size() - 5));
    }
    [[nodiscard]] std::int64_t number() const {
        Reader in(value);
        if (type == 0x01) {
            const std::uint64_t bits = in.le64();
            double out = 0;
            std::memcpy(&out, &bits, sizeof out);
            return out > -1e15 && out < 1e15 ? static_cast<std::int64_t>(out) : 0;
        }
        if (type == 0x10) return static_cast<std::int32_t>(in.le32());
        if (type == 0x12) return static_cast<std::int64_t>(in.le64());
        return type == 0x08 ? in.u8() : 0;
    }
};

// The next element of a document, if it is there whole.
Element next_element(Reader& in) {
    Element out;
    out.type = in.u8();
    if (!in.ok() || out.type == 0) return {};
    out.name = in.zero_terminated();
    const Bytes from = in.rest();
    const std::size_t start = in.at();
    switch (out.type) {
    case 0x01:
    case 0x09:
    case 0x11:
    case 0x12: in.skip(8); break;
    case 0x02:
    case 0x0d:
    case 0x0e: in.skip(in.le32()); break;
    case 0x03:
    case 0x04:
    case 0x0f: {
        const std::uint32_t size = in.le32();
        if (size < 4) in.fail();
        in.skip(size - 4);
        break;
    }
    case 0x05: in.skip(in.le32() + 1ULL); break;
    case 0x06:
    case 0x0a:
    case 0x7f:
    case 0xff: break;
    case 0x07: in.skip(12); break;
    case 0x08: in.skip(1); break;
    case 0x0b:
        in.zero_terminated();
        in.zero_terminated();
        break;
    case 0x0c: in.skip(in.le32() + 12ULL); break;
    case 0x10: in.skip(4); break;
    case 0x13: in.skip(16); break;
    default: in.fail();
    }
    if (!in.ok()) return {};
    out.value = from.first(in.at() - start);
    return out;
}

Match detect(const Start& start) {
    if (start.datagram) return Match::no;
    if (start.client.empty()) return start.server.empty() ? Match::more : Match::no;
    Reader in(start.client);
    const Head head = read_head(in);
    if (!in.ok()) {
        // The length's highest byte is small.
        if (start.middle ||
            (start.client.size() >= 4 && (head.length <= kHeader || head.length > kLongest)))
            return Match::no;
        return Match::more;
    }
    if (!is_sane(head) || head.code == kReply || head.reply_to != 0) return Match::no;
    if (head.code == kCompressed) return Match::likely;
    const std::uint32_t flags = in.le32();
    if (!in.ok()) return start.middle ? Match::no : Match::more;
    return (flags & 0xfffcU) == 0 || head.code == kQuery ? Match::yes : Match::no;
}

class Mongodb final : public Parser {
public:
    explicit Mongodb(Context& context) : context_(context), outstanding_(context) {}

    bool enter(const In& in) override {
        if (in.side == Side::client)
            return detect({.client = in.data, .server = {}, .middle = true, .datagram = false}) ==
                   Match::yes;
        Reader reader(in.data);
        const Head head = read_head(reader);
        return reader.ok() && is_sane(head) && outstanding_.find(head.reply_to) != nullptr;
    }

    Step read(const In& in) override {
        if (in.data.size() < kHeader) return Step::more();
        Reader reader(in.data);
        const Head head = read_head(reader);
        if (!is_sane(head) || (in.side == Side::client) != (head.reply_to == 0))
            return Step::give_up(GiveUp::malformed);
        if (head.code == kCompressed) return Step::give_up(GiveUp::unsupported);
        const std::size_t length = head.length - kHeader;
        const std::size_t wanted = std::min(length, kWanted);
        if (reader.left() < wanted && !in.cut) return Step::more();
        Reader body(reader.rest().first(std::min(reader.left(), wanted)));
        const auto failure =
            in.side == Side::client ? sent(in, head, body) : answered(in, head, body);
        return failure ? Step::give_up(*failure) : Step::take(head.length);
    }

private:
    // The reader at the first document of a message: behind its size.
    static bool to_document(Reader& body, std::uint32_t code, std::uint32_t& flags) {
        flags = 0;
        if (code == kQuery) {
            body.le32();
            body.zero_terminated(); // admin.$cmd
            body.skip(8);
        } else if (code == kReply) {
            body.skip(20);
        } else {
            flags = body.le32();
            // Documents of a bulk stand in sections of kind 1, which may come first.
            while (body.ok() && body.u8() == 1) {
                const std::uint32_t size = body.le32();
                if (size < 4) return false;
                body.skip(size - 4);
            }
        }
        body.le32();
        return body.ok();
    }

    std::optional<GiveUp> sent(const In& in, const Head& head, Reader& body) {
        L7 request;
        request.protocol = L7::Protocol::mongodb;
        request.request_bytes = head.length;
        std::uint32_t flags = 0;
        if (body.left() < 4) return GiveUp::lost; // whether an answer comes is not known
        if (to_document(body, head.code, flags)) {
            const Element first = next_element(body);
            request.method = context_.text(first.name);
            request.resource = context_.text(first.text());
            // Commands without a collection have a number, or a secret, as their value.
            if (first.name == "saslStart" || first.name == "saslContinue" ||
                first.name == "authenticate")
                request.resource.clear();
            for (Element element = next_element(body); element.type != 0;
                 element = next_element(body)) {
                if (element.name == "$db") request.host = context_.text(element.text());
                if (element.name == "collection" && request.resource.empty())
                    request.resource = context_.text(element.text());
            }
        }
        if ((flags & kMoreToCome) != 0) {
            context_.emit(in.time_ns, std::move(request)); // nobody answers
            return std::nullopt;
        }
        if (!outstanding_.add(in.time_ns, std::move(request), head.id)) return GiveUp::outstanding;
        return std::nullopt;
    }

    std::optional<GiveUp> answered(const In& in, const Head& head, Reader& body) {
        const auto request = outstanding_.pop(head.reply_to);
        if (!request) return std::nullopt; // of a request from before, or one more of a stream
        L7 answer = Outstanding::answer(*request, in.time_ns);
        answer.response_bytes = head.length;
        std::uint32_t flags = 0;
        if (to_document(body, head.code, flags)) {
            bool failed = false;
            bool whole = false;
            std::string_view text;
            std::string_view name;
            std::int64_t code = 0;
            for (Element element = next_element(body); element.type != 0;
                 element = next_element(body)) {
                if (element.name == "ok") {
                    whole = true;
                    failed |= element.number() == 0;
                }
                if (element.name == "errmsg") text = element.text();
                if (element.name == "codeName") name = element.text();
                if (element.name == "code") code = element.number();
                if (element.name == "writeErrors") failed |= first_error(element, code, text);
            }
            if (whole || failed) answer.status = failed ? L7::Status::error : L7::Status::ok;
            if (failed) {
                answer.code = static_cast<std::uint32_t>(code);
                answer.error = context_.text(text.empty() ? std::string(name)
                                                          : redact_text(text, context_.options));
            }
        }
        context_.emit(in.time_ns, std::move(answer));
        return std::nullopt;
    }

    // Of a bulk that went wrong in part.
    static bool first_error(const Element& list, std::int64_t& code, std::string_view& text) {
        Reader in(list.value);
        in.skip(4);
        const Element first = next_element(in);
        if (first.type != 0x03) return false;
        Reader error(first.value);
        error.skip(4);
        for (Element element = next_element(error); element.type != 0;
             element = next_element(error)) {
            if (element.name == "code") code = element.number();
            if (element.name == "errmsg") text = element.text();
        }
        return true;
    }

    Context& context_;
    Outstanding outstanding_;
};

} // namespace

const ProtocolEntry kMongodb = {
    L7::Protocol::mongodb,
    {27017, 27018, 27019, 0},
    ProtocolEntry::Middle::any,
    detect,
    [](Context& context) -> std::unique_ptr<Parser> { return std::make_unique<Mongodb>(context); }};

} // namespace beeline::observe::l7
