#include "security/rules/source_text.h"

#include <algorithm>
#include <utility>

namespace beeline::security::rules {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Reads the bytes of a scalar as its file writes them. Folding changes only spaces and line breaks, so that the place of
// a byte is found by counting the others.
class Walker {
public:
    explicit Walker(const Scalar& scalar)
        : text_(scalar.file->text),
          place_(std::min<std::size_t>(scalar.position.offset, text_.size())) {
        skip_properties();
        style_ = at(place_);
        if (style_ == '|' || style_ == '>') {
            place_ = std::min(text_.find('\n', place_), text_.size());
        } else if (style_ == '"' || style_ == '\'') {
            ++place_;
        } else {
            style_ = 0;
        }
    }

    // The place of the next byte that is no space.
    std::size_t next() {
        while (place_ < text_.size()) {
            if (style_ == '"' && at(place_) == '\\') {
                const std::size_t start = place_;
                if (escape() > 0) return start;
                continue;
            }
            if (is_space(at(place_))) {
                ++place_;
                continue;
            }
            if (style_ == '\'' && at(place_) == '\'') ++place_;
            return place_++;
        }
        return text_.size();
    }
    // Bytes that the last escape stood for beyond the first.
    std::size_t more() { return std::exchange(more_, 0); }
    [[nodiscard]] std::size_t behind() const { return std::min(place_, text_.size()); }

private:
    [[nodiscard]] char at(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }

    // An anchor or a tag.
    void skip_properties() {
        while (at(place_) == '&' || at(place_) == '!') {
            while (place_ < text_.size() && !is_space(at(place_)))
                ++place_;
            while (place_ < text_.size() && is_space(at(place_)))
                ++place_;
        }
    }

    // Bytes that are no spaces; steps over the escape.
    std::size_t escape() {
        const char kind = at(place_ + 1);
        place_ += 2;
        std::size_t digits = 0;
        switch (kind) {
        case 'x': digits = 2; break;
        case 'u': digits = 4; break;
        case 'U': digits = 8; break;
        case ' ':
        case '\t':
        case '\n':
        case '\r':
        case 'n':
        case 'r':
        case 't': return 0;
        case 'N':
        case '_': more_ = 1; return 2;
        case 'L':
        case 'P': more_ = 2; return 3;
        default: return 1;
        }
        unsigned long code = 0;
        for (; digits > 0 && place_ < text_.size(); --digits, ++place_) {
            const char c = at(place_);
            code =
                code * 16 + static_cast<unsigned long>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        }
        if (code < 0x80 && is_space(static_cast<char>(code))) return 0;
        more_ = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        return 1 + more_;
    }

    std::string_view text_;
    std::size_t place_;
    char style_ = 0;
    std::size_t more_ = 0;
};

} // namespace

std::size_t utf8_size(std::string_view text, std::size_t offset) {
    const auto byte = [&](std::size_t i) {
        return offset + i < text.size() ? static_cast<unsigned char>(text[offset + i]) : 0U;
    };
    const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80; };
    const unsigned first = byte(0);
    const unsigned second = byte(1);
    if (first < 0x80) return offset < text.size() ? 1 : 0;
    if (first >= 0xc2 && first < 0xe0 && follows(1)) return 2;
    // No longer forms than needed, no surrogates, nothing above U+10FFFF.
    if ((first & 0xf0U) == 0xe0 && follows(1) && follows(2) && (first != 0xe0 || second >= 0xa0) &&
        (first != 0xed || second < 0xa0))
        return 3;
    if (first >= 0xf0 && first < 0xf5 && follows(1) && follows(2) && follows(3) &&
        (first != 0xf0 || second >= 0x90) && (first != 0xf4 || second < 0x90))
        return 4;
    return 0;
}

SourceFile::SourceFile(std::string file_name, std::string file_text)
    : name(std::move(file_name)), text(std::move(file_text)) {
    lines.push_back(0);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\n') lines.push_back(i + 1);
    }
}

Position SourceFile::position(std::size_t offset) const {
    offset = std::min(offset, text.size());
    const auto after = std::upper_bound(lines.begin(), lines.end(), offset);
    const auto line = static_cast<std::size_t>(after - lines.begin());
    return {static_cast<std::uint32_t>(line),
            static_cast<std::uint32_t>(offset - lines[line - 1] + 1),
            static_cast<std::uint32_t>(offset)};
}

Position Place::position() const {
    const std::string& text = scalar->text;
    const std::size_t end = std::min(offset, text.size());
    Walker walker(*scalar);
    std::size_t found = walker.behind();
    for (std::size_t i = 0; i < end; ++i) {
        if (is_space(text[i])) continue;
        found = walker.next();
        i += walker.more();
    }
    const bool on_byte = offset < text.size() && !is_space(text[offset]);
    return scalar->file->position(on_byte ? walker.next() : end == 0 ? found : walker.behind());
}

void MappedText::append(const Scalar& scalar) {
    if (scalar.text.empty()) return;
    runs_.push_back({text_.size(), {&scalar, 0}, true});
    text_ += scalar.text;
}

void MappedText::append(std::string_view text, Place place) {
    if (text.empty()) return;
    runs_.push_back({text_.size(), place, false});
    text_ += text;
}

void MappedText::append(const MappedText& from, std::size_t begin, std::size_t size) {
    if (size == 0) return;
    const auto first =
        std::upper_bound(from.runs_.begin(), from.runs_.end(), begin,
                         [](std::size_t offset, const Run& run) { return offset < run.begin; });
    for (auto run = first - 1; run != from.runs_.end() && run->begin < begin + size; ++run) {
        const std::size_t start = std::max(run->begin, begin);
        Place place = run->place;
        if (run->exact) place.offset += start - run->begin;
        runs_.push_back({text_.size() + start - begin, place, run->exact});
    }
    text_.append(from.text_, begin, size);
}

Place MappedText::place(std::size_t offset) const {
    if (runs_.empty()) return {};
    const auto after =
        std::upper_bound(runs_.begin(), runs_.end(), offset,
                         [](std::size_t value, const Run& run) { return value < run.begin; });
    const Run& run = after == runs_.begin() ? runs_.front() : *(after - 1);
    Place place = run.place;
    if (run.exact) place.offset += std::min(offset, text_.size()) - run.begin;
    return place;
}

} // namespace beeline::security::rules
