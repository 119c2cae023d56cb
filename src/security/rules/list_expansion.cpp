#include "security/rules/list_expansion.h"

#include <algorithm>

#include "security/rules/words.h"

namespace beeline::security::rules {
namespace {

bool is_delimiter(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '(' || c == ')' || c == ',' ||
           c == '=';
}
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

// Behind the quoted text that begins at `begin`.
std::size_t end_of_quoted(std::string_view text, std::size_t begin) {
    const char quote = text[begin];
    for (std::size_t i = begin + 1; i < text.size(); ++i) {
        if (text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            return i + 1;
        }
    }
    return text.size();
}

struct Token {
    std::size_t begin = 0;
    std::size_t end = 0;
    [[nodiscard]] std::string_view of(std::string_view text) const {
        return text.substr(begin, end - begin);
    }
};

// The next run of bytes between delimiters; text in quotes is part of the run that it stands in.
Token next_token(std::string_view text, std::size_t begin) {
    while (begin < text.size() && is_delimiter(text[begin]))
        ++begin;
    std::size_t end = begin;
    while (end < text.size() && !is_delimiter(text[end]))
        end = text[end] == '"' || text[end] == '\'' ? end_of_quoted(text, end) : end + 1;
    return {begin, end};
}

// `in names` without parentheses: then the items need them.
bool takes_list(std::string_view word) {
    const auto op = parse_operator(word);
    return (op && takes_set(*op)) || parse_modifier(word);
}

} // namespace

std::string condition_value(std::string_view item) {
    if (item.empty()) return "\"\"";
    if (std::all_of(item.begin(), item.end(), is_bare)) return std::string(item);
    const char quote = item.front();
    if ((quote == '"' || quote == '\'') && end_of_quoted(item, 0) == item.size() &&
        item.size() > 1 && item.back() == quote)
        return std::string(item);
    // With a blank in it the reference wraps it as it is, so that escapes in it count.
    if (item.find(' ') != std::string_view::npos && item.find('"') == std::string_view::npos) {
        std::string wrapped = "\"" + std::string(item) + "\"";
        if (end_of_quoted(wrapped, 0) == wrapped.size() && item.back() != '\\') return wrapped;
    }
    return in_quotes(item);
}

std::uint32_t ListExpander::add(std::string_view name, std::vector<std::string_view> items) {
    const auto number = static_cast<std::uint32_t>(lists_.size());
    lists_.emplace_back().items = std::move(items);
    names_.emplace(name, number);
    return number;
}

const ListExpander::List& ListExpander::resolve(std::uint32_t number, std::size_t depth) {
    List& list = lists_[number];
    if (list.state == List::State::done) return list;
    list.state = List::State::working;
    for (const std::string_view item : list.items) {
        std::string value;
        const auto found = names_.find(item);
        // A list in which its own name stands means the word.
        if (found != names_.end() && lists_[found->second].state != List::State::working) {
            if (depth == kMostDepth) {
                list.too_big = true;
                break;
            }
            const List& inner = resolve(found->second, depth + 1);
            lists_[found->second].used = true;
            list.too_big = list.too_big || inner.too_big;
            if (inner.joined.empty()) continue;
            if (list.joined.size() + inner.joined.size() > kMostBytes) list.too_big = true;
            if (list.too_big) break;
            value = inner.joined;
        } else {
            value = condition_value(item);
        }
        if (!list.joined.empty()) list.joined += ", ";
        list.joined += value;
    }
    list.state = List::State::done;
    return list;
}

MappedText ListExpander::expand(const MappedText& condition, bool& too_big) {
    const std::string_view text = condition.text();
    MappedText out;
    std::size_t copied = 0;
    std::string_view before;
    for (Token token = next_token(text, 0); token.begin < text.size();
         token = next_token(text, token.end)) {
        const auto found = names_.find(token.of(text));
        if (found == names_.end()) {
            before = token.of(text);
            continue;
        }
        lists_[found->second].used = true;
        const List& list = resolve(found->second, 0);
        too_big = too_big || list.too_big || out.text().size() > 4 * kMostBytes;
        if (too_big) return out;
        std::size_t begin = token.begin;
        std::size_t end = token.end;
        while (begin > copied && is_space(text[begin - 1]))
            --begin;
        while (end < text.size() && is_space(text[end]))
            ++end;
        const bool bare = begin < token.begin && begin > 0 && takes_list(before) &&
                          begin >= before.size() &&
                          text.substr(begin - before.size(), before.size()) == before;
        if (list.joined.empty() && !bare) {
            if (begin > copied && text[begin - 1] == ',') {
                --begin;
            } else if (end < text.size() && text[end] == ',') {
                ++end;
            }
        }
        const Place place = condition.place(token.begin);
        out.append(condition, copied, begin - copied);
        out.append(bare ? " (" + list.joined + ") " : " " + list.joined + " ", place);
        copied = end;
        before = {};
        token.end = end;
    }
    out.append(condition, copied, text.size() - copied);
    return out;
}

} // namespace beeline::security::rules
