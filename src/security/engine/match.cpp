#include "security/engine/match.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <queue>

namespace beeline::security::engine {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool class_has(std::string_view name, unsigned char c) {
    struct Row {
        std::string_view name;
        int (*is)(int);
    };
    static constexpr Row kClasses[] = {
        {"alnum", std::isalnum}, {"alpha", std::isalpha}, {"blank", std::isblank},
        {"cntrl", std::iscntrl}, {"digit", std::isdigit}, {"graph", std::isgraph},
        {"lower", std::islower}, {"print", std::isprint}, {"punct", std::ispunct},
        {"space", std::isspace}, {"upper", std::isupper}, {"xdigit", std::isxdigit},
    };
    for (const Row& row : kClasses)
        if (row.name == name) return row.is(c) != 0;
    return false;
}

// `at` is behind the '['. Leaves it behind the ']'; false: no closing bracket, so '[' is a plain byte.
bool match_set(std::string_view pattern, std::size_t& at, char text, bool fold, bool& found) {
    std::size_t i = at;
    const bool negated = i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^');
    if (negated) ++i;
    found = false;
    bool first = true;
    const auto byte = static_cast<unsigned char>(fold ? lower(text) : text);
    for (; i < pattern.size(); first = false) {
        if (pattern[i] == ']' && !first) {
            at = i + 1;
            found = found != negated;
            return true;
        }
        if (pattern.substr(i, 2) == "[:") {
            const std::size_t end = pattern.find(":]", i + 2);
            if (end != std::string_view::npos) {
                if (class_has(pattern.substr(i + 2, end - i - 2), byte)) found = true;
                i = end + 2;
                continue;
            }
        }
        if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
        auto low = static_cast<unsigned char>(fold ? lower(pattern[i]) : pattern[i]);
        unsigned char high = low;
        ++i;
        if (i + 1 < pattern.size() && pattern[i] == '-' && pattern[i + 1] != ']') {
            ++i;
            if (pattern[i] == '\\' && i + 1 < pattern.size()) ++i;
            high = static_cast<unsigned char>(fold ? lower(pattern[i]) : pattern[i]);
            ++i;
        }
        if (byte >= low && byte <= high) found = true;
    }
    return false;
}

// One element of the pattern against one byte; moves `at` behind it.
bool match_one(std::string_view pattern, std::size_t& at, char text, bool fold) {
    const char c = pattern[at];
    if (c == '?') {
        ++at;
        return true;
    }
    if (c == '[') {
        std::size_t next = at + 1;
        bool found = false;
        if (match_set(pattern, next, text, fold, found)) {
            at = next;
            return found;
        }
    }
    std::size_t i = at;
    if (c == '\\' && i + 1 < pattern.size()) ++i;
    const bool same = fold ? lower(pattern[i]) == lower(text) : pattern[i] == text;
    at = i + 1;
    return same;
}

std::uint32_t hash_of(std::string_view text) {
    std::uint64_t first = 0, last = 0;
    const std::size_t size = text.size();
    if (size >= 8) {
        std::memcpy(&first, text.data(), 8);
        std::memcpy(&last, text.data() + size - 8, 8);
    } else if (size >= 4) {
        std::uint32_t a = 0, b = 0;
        std::memcpy(&a, text.data(), 4);
        std::memcpy(&b, text.data() + size - 4, 4);
        first = a;
        last = b;
    } else if (size != 0) {
        first = static_cast<unsigned char>(text[0]);
        last = static_cast<std::uint64_t>(static_cast<unsigned char>(text[size / 2])) << 8 |
               static_cast<unsigned char>(text[size - 1]);
    }
    std::uint64_t middle = 0;
    if (size > 16) std::memcpy(&middle, text.data() + size / 2 - 4, 8);
    std::uint64_t h = (first ^ size * 0x9e3779b97f4a7c15U) * 0xff51afd7ed558ccdU;
    h = (h ^ h >> 32 ^ last) * 0xc4ceb9fe1a85ec53U;
    h = (h ^ h >> 29 ^ middle) * 0x9e3779b97f4a7c15U;
    return static_cast<std::uint32_t>(h >> 32);
}

} // namespace

bool has_glob(std::string_view pattern) {
    return pattern.find_first_of("?*[") != std::string_view::npos;
}

bool glob_match(std::string_view pattern, std::string_view text, bool fold_case) {
    constexpr auto kNone = std::string_view::npos;
    std::size_t p = 0, t = 0, star = kNone, retry = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = ++p;
            retry = t;
            if (star == pattern.size()) return true;
            continue;
        }
        if (p < pattern.size() && match_one(pattern, p, text[t], fold_case)) {
            ++t;
            continue;
        }
        if (star == kNone) return false;
        p = star;
        t = ++retry;
        // On to where the plain byte behind the star occurs next.
        if (!fold_case && std::strchr("?[\\*", pattern[p]) == nullptr) {
            const void* next = t < text.size()
                                   ? std::memchr(text.data() + t, pattern[p], text.size() - t)
                                   : nullptr;
            if (next == nullptr) return false;
            t = retry = static_cast<std::size_t>(static_cast<const char*>(next) - text.data());
        }
    }
    while (p < pattern.size() && pattern[p] == '*')
        ++p;
    return p == pattern.size();
}

bool contains(std::string_view text, std::string_view part) {
    if (part.empty()) return true;
    if (part.size() > text.size()) return false;
    return memmem(text.data(), text.size(), part.data(), part.size()) != nullptr;
}

bool contains_fold(std::string_view text, std::string_view lower_part) {
    if (lower_part.empty()) return true;
    if (lower_part.size() > text.size()) return false;
    const std::size_t last = text.size() - lower_part.size();
    const char first = lower_part.front();
    for (std::size_t i = 0; i <= last; ++i) {
        if (lower(text[i]) != first) continue;
        std::size_t n = 1;
        while (n < lower_part.size() && lower(text[i + n]) == lower_part[n])
            ++n;
        if (n == lower_part.size()) return true;
    }
    return false;
}

void TextSet::add(std::string text) { texts_.push_back(std::move(text)); }

void TextSet::prepare() {
    std::sort(texts_.begin(), texts_.end());
    texts_.erase(std::unique(texts_.begin(), texts_.end()), texts_.end());
    std::size_t size = 4;
    while (size < texts_.size() * 2)
        size *= 2;
    mask_ = static_cast<std::uint32_t>(size - 1);
    buckets_.assign(size, 0);
    hashes_.assign(texts_.size(), 0);
    lengths_ = 0;
    for (std::uint32_t i = 0; i < texts_.size(); ++i) {
        lengths_ |= std::uint64_t{1} << std::min<std::size_t>(texts_[i].size(), 63);
        hashes_[i] = hash_of(texts_[i]);
        std::uint32_t at = hashes_[i] & mask_;
        while (buckets_[at] != 0)
            at = (at + 1) & mask_;
        buckets_[at] = i + 1;
    }
}

std::uint32_t TextSet::find(std::string_view text) const {
    if ((lengths_ >> std::min<std::size_t>(text.size(), 63) & 1) == 0) return kNone;
    const std::uint32_t hash = hash_of(text);
    for (std::uint32_t at = hash & mask_; buckets_[at] != 0; at = (at + 1) & mask_) {
        const std::uint32_t index = buckets_[at] - 1;
        if (hashes_[index] == hash && texts_[index] == text) return index;
    }
    return kNone;
}

void EdgeSet::prepare() {
    if (at_end_)
        for (std::string& text : texts_)
            std::reverse(text.begin(), text.end());
    std::sort(texts_.begin(), texts_.end());
    std::vector<std::string> kept;
    for (std::string& text : texts_)
        if (kept.empty() || !text.starts_with(kept.back())) kept.push_back(std::move(text));
    texts_ = std::move(kept);
}

bool EdgeSet::matches(std::string_view text) const {
    if (!at_end_) {
        // The only candidate is the greatest that is not greater than the text.
        const auto after = std::upper_bound(
            texts_.begin(), texts_.end(), text,
            [](std::string_view a, const std::string& b) { return a < std::string_view(b); });
        return after != texts_.begin() && text.starts_with(*(after - 1));
    }
    const auto less = [](std::string_view a, const std::string& b) {
        for (std::size_t i = 0; i < b.size(); ++i) {
            if (i == a.size()) return true;
            const auto x = static_cast<unsigned char>(a[a.size() - 1 - i]);
            const auto y = static_cast<unsigned char>(b[i]);
            if (x != y) return x < y;
        }
        return false;
    };
    const auto after = std::upper_bound(texts_.begin(), texts_.end(), text, less);
    if (after == texts_.begin()) return false;
    const std::string& end = *(after - 1);
    if (end.size() > text.size()) return false;
    for (std::size_t i = 0; i < end.size(); ++i)
        if (end[i] != text[text.size() - 1 - i]) return false;
    return true;
}

void ContainsSet::prepare() {
    std::size_t states = 1;
    for (const std::string& text : texts_)
        states += text.size();
    automaton_ = texts_.size() > 3 && states < 2000;
    if (!automaton_) return;
    constexpr std::uint16_t kFound = 0x8000, kUnset = 0x7fff;
    next_.assign(states * 256, kUnset);
    std::vector<bool> found(states, false);
    std::uint16_t used = 1;
    for (const std::string& text : texts_) {
        std::uint16_t at = 0;
        for (const char c : text) {
            std::uint16_t& next = next_[std::size_t{at} * 256 + static_cast<unsigned char>(c)];
            if (next == kUnset) next = used++;
            at = next;
        }
        found[at] = true;
    }
    std::vector<std::uint16_t> back(states, 0);
    std::queue<std::uint16_t> queue;
    for (std::size_t c = 0; c < 256; ++c) {
        if (next_[c] == kUnset) {
            next_[c] = 0;
        } else {
            queue.push(next_[c]);
        }
    }
    while (!queue.empty()) {
        const std::uint16_t at = queue.front();
        queue.pop();
        if (found[back[at]]) found[at] = true;
        for (std::size_t c = 0; c < 256; ++c) {
            std::uint16_t& next = next_[std::size_t{at} * 256 + c];
            const std::uint16_t other = next_[std::size_t{back[at]} * 256 + c];
            if (next == kUnset) {
                next = other;
            } else {
                back[next] = other;
                queue.push(next);
            }
        }
    }
    next_.resize(std::size_t{used} * 256); // texts share beginnings
    for (std::uint16_t& next : next_)
        if (found[next]) next |= kFound;
    if (found[0]) automaton_ = false; // an empty text is in everything
}

bool ContainsSet::matches(std::string_view text) const {
    if (!automaton_) {
        return std::any_of(texts_.begin(), texts_.end(),
                           [&](const std::string& part) { return contains(text, part); });
    }
    std::size_t at = 0;
    for (const char c : text) {
        const std::uint16_t next = next_[at * 256 + static_cast<unsigned char>(c)];
        if ((next & 0x8000) != 0) return true;
        at = next;
    }
    return false;
}

namespace {

// Components of a path, empty ones left out.
template <typename Visit>
void components(std::string_view path, Visit&& visit) {
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string_view part = path.substr(0, slash);
        path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
        if (!part.empty() && !visit(part)) return;
    }
}

} // namespace

void PathSet::add(std::string_view path) {
    std::string normal;
    std::vector<std::string> parts;
    components(path, [&](std::string_view part) {
        normal += '/';
        normal += part;
        parts.emplace_back(part);
        return true;
    });
    if (parts.empty()) {
        everything_ = true;
    } else if (has_glob(normal)) {
        globs_.push_back(std::move(parts));
    } else {
        exact_.add(std::move(normal));
    }
}

void PathSet::prepare() { exact_.prepare(); }

bool PathSet::matches(std::string_view path) const {
    if (everything_) return true;
    // Texts as listed have one slash before each component; the usual path has too.
    if (!exact_.empty() && !path.empty()) {
        const bool plain = path.front() == '/' && path.find("//") == std::string_view::npos;
        if (plain) {
            for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
                const std::string_view start = path.substr(0, end);
                if (start.size() > 1 && exact_.has(start)) return true;
                if (end == std::string_view::npos) break;
            }
        } else {
            for (const std::string& listed : exact_.texts()) {
                std::size_t at = 0;
                components(path, [&](std::string_view part) {
                    if (at >= listed.size() || listed.compare(at + 1, part.size(), part) != 0 ||
                        (at + 1 + part.size() < listed.size() &&
                         listed[at + 1 + part.size()] != '/')) {
                        at = at == listed.size() ? at : std::string::npos - 1;
                        return false;
                    }
                    at += 1 + part.size();
                    return at < listed.size();
                });
                if (at == listed.size()) return true;
            }
        }
    }
    for (const auto& parts : globs_) {
        std::size_t index = 0;
        components(path, [&](std::string_view part) {
            if (index == parts.size() || !glob_match(parts[index], part, false)) return false;
            ++index;
            return true;
        });
        if (index == parts.size()) return true;
    }
    return false;
}

bool decode_base64(std::string_view text, Writer& out) {
    while (!text.empty() && text.back() == '=')
        text.remove_suffix(1);
    if (text.size() % 4 == 1) return false;
    std::uint32_t bits = 0;
    unsigned count = 0;
    for (const char c : text) {
        unsigned value = 0;
        if (c >= 'A' && c <= 'Z') {
            value = static_cast<unsigned>(c - 'A');
        } else if (c >= 'a' && c <= 'z') {
            value = static_cast<unsigned>(c - 'a') + 26;
        } else if (c >= '0' && c <= '9') {
            value = static_cast<unsigned>(c - '0') + 52;
        } else if (c == '+') {
            value = 62;
        } else if (c == '/') {
            value = 63;
        } else {
            return false;
        }
        bits = bits << 6 | value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out.add(static_cast<char>(bits >> count & 0xff));
        }
    }
    return true;
}

namespace {

// Length of the UTF-8 sequence at the start of `text`, 0 if it is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = byte(0);
    if (first < 0x80) return 1;
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > text.size()) return 0;
    for (std::size_t i = 1; i < size; ++i)
        if ((byte(i) & 0xc0) != 0x80) return 0;
    if (first == 0xe0 && byte(1) < 0xa0) return 0;
    if (first == 0xed && byte(1) > 0x9f) return 0;
    if (first == 0xf0 && byte(1) < 0x90) return 0;
    if (first == 0xf4 && byte(1) > 0x8f) return 0;
    return size;
}

} // namespace

std::string_view valid_utf8(std::string_view text, Arena& arena) {
    std::size_t at = 0;
    while (at < text.size()) {
        const std::size_t size = utf8_length(text.substr(at));
        if (size == 0) break;
        at += size;
    }
    if (at == text.size()) return text;
    Writer out(arena);
    out.add(text.substr(0, at));
    while (at < text.size()) {
        const std::size_t size = utf8_length(text.substr(at));
        if (size == 0) {
            out.add("\xef\xbf\xbd");
            ++at;
        } else {
            out.add(text.substr(at, size));
            at += size;
        }
    }
    return out.finish();
}

} // namespace beeline::security::engine
