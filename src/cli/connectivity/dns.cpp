#include "cli/connectivity/dns.h"

#include <algorithm>

namespace beeline::cli {
namespace {

constexpr std::size_t kHeader = 12;
constexpr std::uint16_t kIsAnswer = 0x8000;
constexpr std::uint16_t kAuthoritative = 0x0400;
constexpr std::uint16_t kTruncated = 0x0200;
constexpr std::uint16_t kRecursionWanted = 0x0100;
constexpr std::uint16_t kNameAtQuestion = 0xc000 | kHeader;

void put16(std::string& out, std::size_t value) {
    out += static_cast<char>(value >> 8 & 0xff);
    out += static_cast<char>(value & 0xff);
}

// Reads with bounds; after the first failure everything reads as zero.
class Reader {
public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    std::uint8_t byte() {
        if (at_ >= bytes_.size()) {
            ok_ = false;
            return 0;
        }
        return static_cast<std::uint8_t>(bytes_[at_++]);
    }
    std::uint16_t word() {
        const unsigned high = byte();
        return static_cast<std::uint16_t>(high << 8 | byte());
    }
    std::string_view take(std::size_t count) {
        if (bytes_.size() - at_ < count) {
            ok_ = false;
            at_ = bytes_.size();
            return {};
        }
        const auto result = bytes_.substr(at_, count);
        at_ += count;
        return result;
    }
    // Names in questions are never compressed by those who write them here.
    std::string name() {
        std::string result;
        for (std::uint8_t length = byte(); ok_ && length != 0; length = byte()) {
            if (length > 63 || result.size() + length > 253) {
                ok_ = false;
                return {};
            }
            if (!result.empty()) result += '.';
            for (const char c : take(length))
                result += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        }
        return result;
    }
    void skip_name() {
        for (std::uint8_t length = byte(); ok_ && length != 0; length = byte()) {
            if ((length & 0xc0) == 0xc0) { // a pointer ends the name
                byte();
                return;
            }
            take(length);
        }
    }
    [[nodiscard]] bool ok() const { return ok_; }

private:
    std::string_view bytes_;
    std::size_t at_ = 0;
    bool ok_ = true;
};

void put_question(std::string& out, const DnsQuestion& question) {
    std::string_view rest = question.name;
    while (!rest.empty()) {
        const auto label = rest.substr(0, rest.find('.'));
        out += static_cast<char>(label.size());
        out += label;
        rest.remove_prefix(std::min(rest.size(), label.size() + 1));
    }
    out += '\0';
    put16(out, question.type);
    put16(out, 1); // class IN
}

} // namespace

std::string write_dns_question(const DnsQuestion& question) {
    std::string out;
    put16(out, question.id);
    put16(out, kRecursionWanted);
    put16(out, 1);
    out.append(6, '\0');
    put_question(out, question);
    return out;
}

Result<DnsQuestion> parse_dns_question(std::string_view message) {
    Reader reader(message);
    DnsQuestion question;
    question.id = reader.word();
    const auto flags = reader.word();
    const auto questions = reader.word();
    reader.take(6);
    question.name = reader.name();
    question.type = reader.word();
    reader.word(); // class
    if (!reader.ok() || questions != 1 || (flags & kIsAnswer) != 0)
        return fail(Code::invalid, "not a DNS question");
    return question;
}

std::string write_dns_answer(const DnsQuestion& question, int code,
                             const std::vector<net::Ip>& addresses, std::size_t limit) {
    std::string body;
    put_question(body, question);
    std::size_t count = 0;
    bool truncated = false;
    for (const auto& address : addresses) {
        if (address.is_v4() != (question.type == kDnsA)) continue;
        const std::size_t length = address.is_v4() ? 4 : 16;
        if (kHeader + body.size() + 12 + length > limit) {
            truncated = true;
            break;
        }
        put16(body, kNameAtQuestion);
        put16(body, question.type);
        put16(body, 1);
        body.append("\0\0\0\x05", 4); // seconds to live
        put16(body, length);
        body.append(reinterpret_cast<const char*>(address.bytes.data()) + 16 - length, length);
        ++count;
    }
    std::string out;
    put16(out, question.id);
    put16(out, kIsAnswer | kAuthoritative | kRecursionWanted | (truncated ? kTruncated : 0U) |
                   static_cast<unsigned>(code & 0xf));
    put16(out, 1);
    put16(out, count);
    out.append(4, '\0');
    return out + body;
}

Result<DnsAnswer> parse_dns_answer(std::string_view message) {
    Reader reader(message);
    DnsAnswer answer;
    answer.id = reader.word();
    const auto flags = reader.word();
    answer.code = flags & 0xf;
    answer.truncated = (flags & kTruncated) != 0;
    const auto questions = reader.word();
    const auto answers = reader.word();
    reader.take(4);
    for (int i = 0; i < questions && reader.ok(); ++i) {
        reader.skip_name();
        reader.take(4);
    }
    for (int i = 0; i < answers && reader.ok(); ++i) {
        reader.skip_name();
        const auto type = reader.word();
        reader.take(6); // class, time to live
        const auto data = reader.take(reader.word());
        net::Ip address;
        if (type == kDnsA && data.size() == 4) {
            std::uint32_t value = 0;
            for (const char c : data)
                value = value << 8 | static_cast<std::uint8_t>(c);
            answer.addresses.push_back(net::Ip::v4(value));
        } else if (type == kDnsAaaa && data.size() == 16) {
            std::copy(data.begin(), data.end(), address.bytes.begin());
            answer.addresses.push_back(address);
        }
    }
    if (!reader.ok() || (flags & kIsAnswer) == 0) return fail(Code::invalid, "not a DNS answer");
    return answer;
}

} // namespace beeline::cli
