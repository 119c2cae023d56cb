// yaml-cpp's events -> Tree. The only place that sees yaml-cpp and its exceptions.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>

#include "source/yaml.h"
#include "source/yaml_tree.h"

namespace beeline::source::yaml {
namespace {

// Where the quoted string that begins at `begin` ends, npos if it does not. A block, which has no quotes, ends at once.
std::size_t end_of_quoted(std::string_view text, std::size_t begin) {
    if (begin >= text.size()) return begin;
    const char quote = text[begin];
    if (quote != '"' && quote != '\'') return begin;
    for (std::size_t i = begin + 1; i < text.size(); ++i) {
        if (quote == '"' && text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            if (quote == '"' || i + 1 >= text.size() || text[i + 1] != quote) return i + 1;
            ++i;
        }
    }
    return std::string_view::npos;
}

class Builder : public YAML::EventHandler {
public:
    // `text` is what is parsed, `first_line` the line of the file (from 0) where it begins.
    Builder(Tree& tree, std::string_view text, unsigned first_line, const Limits& limits)
        : tree_(tree), text_(text), first_line_(first_line), limits_(limits) {}

    // The first thing that was wrong. yaml-cpp cannot be stopped by its handler, so what follows is
    // ignored.
    [[nodiscard]] const std::optional<Error>& error() const { return error_; }
    // Also wrong, but only a consequence if yaml-cpp finds an error further on.
    [[nodiscard]] const std::optional<Error>& late_error() const { return late_error_; }
    // Byte offset of the last scalar that was written in quotes or as a block.
    [[nodiscard]] std::optional<std::size_t> last_quoted() const { return last_quoted_; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ < 2 || error_) return;
        fail_at(mark, "unexpected content after the end of the document: check the indentation, or "
                      "separate documents "
                      "with a line '---'");
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        if (!error_ && !late_error_ && at_value()) check_colon();
        add(Value::Kind::null, place_of_null(mark), {}, anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
        if (!error_) fail_at(mark, kNoAnchors);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        const auto index = add(Value::Kind::scalar, mark, tag, anchor);
        if (error_) return;
        tree_.values[index].text = value;
        tree_.values[index].quoted = tag == "!";
        if (tag == "!") last_quoted_ = static_cast<std::size_t>(mark.pos);
        last_scalar_ = mark;
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(Value::Kind::list, mark, tag, anchor);
    }
    void OnSequenceEnd() override {
        if (!error_) open_.pop_back();
    }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(Value::Kind::map, mark, tag, anchor);
    }
    void OnMapEnd() override {
        if (error_) return;
        check_duplicates(tree_.values[open_.back()]);
        if (!error_) open_.pop_back();
    }

private:
    static constexpr std::string_view kNoAnchors =
        "anchors and aliases are not accepted: write the value out";

    // yaml-cpp gives an item that is empty the place of what comes next; better is that of its dash.
    [[nodiscard]] YAML::Mark place_of_null(YAML::Mark mark) const {
        const auto next = text_.substr(std::min<std::size_t>(mark.pos, text_.size()));
        if (next.starts_with('~') || next.starts_with("null")) return mark;
        const auto dash = text_.substr(0, mark.pos).find_last_not_of(" \t\r\n");
        if (dash == std::string_view::npos || text_[dash] != '-') return mark;
        const auto between = text_.substr(dash, mark.pos - dash);
        const auto line_start = text_.rfind('\n', dash);
        mark.line -= static_cast<int>(std::count(between.begin(), between.end(), '\n'));
        mark.column =
            static_cast<int>(line_start == std::string_view::npos ? dash : dash - line_start - 1);
        return mark;
    }

    // Whether the next value belongs to a key.
    [[nodiscard]] bool at_value() const {
        return !open_.empty() && tree_.values[open_.back()].kind == Value::Kind::map &&
               tree_.values[open_.back()].children.size() % 2 == 1;
    }

    // yaml-cpp takes a line without a colon for a key without a value.
    void check_colon() {
        const Value& key = tree_.values.back();
        const auto begin = static_cast<std::size_t>(last_scalar_.pos);
        const auto end = key.quoted ? end_of_quoted(text_, begin) : begin + key.text.size();
        const auto next = text_.find_first_not_of(" \t", end);
        if (next != std::string_view::npos && text_[next] == ':') return;
        fail_at(last_scalar_, fmt::format("expected ':' after '{}'", shown(key.text)));
        late_error_ = std::exchange(error_, std::nullopt);
    }

    void fail_at(const YAML::Mark& mark, std::string_view message) {
        error_ = beeline::fail(Code::invalid, "{}:{}:{}: {}", tree_.file,
                               first_line_ + mark.line + 1, mark.column + 1, message)
                     .value();
    }

    std::uint32_t add(Value::Kind kind, const YAML::Mark& mark, const std::string& tag,
                      YAML::anchor_t anchor) {
        if (error_) return 0;
        const auto index = static_cast<std::uint32_t>(tree_.values.size());
        if (index >= limits_.values) {
            fail_at(mark, fmt::format("more than {} values in one document", limits_.values));
            return 0;
        }
        if (anchor != 0) {
            fail_at(mark, kNoAnchors);
            return 0;
        }
        if (!tag.empty() && tag != "?" && tag != "!") {
            fail_at(mark, "tags are not accepted: use quotes to make a string");
            return 0;
        }
        Value value;
        value.kind = kind;
        value.line = first_line_ + static_cast<std::uint32_t>(mark.line) + 1;
        value.column = static_cast<std::uint32_t>(mark.column) + 1;
        if (!open_.empty()) {
            Value& parent = tree_.values[open_.back()];
            const bool key = parent.kind == Value::Kind::map && parent.children.size() % 2 == 0;
            if (key && kind != Value::Kind::scalar) {
                fail_at(mark, "expected a key that is a plain string");
                return 0;
            }
            value.parent = open_.back();
            value.position = static_cast<std::uint32_t>(parent.children.size());
            parent.children.push_back(index);
        }
        tree_.values.push_back(std::move(value));
        return index;
    }

    void open(Value::Kind kind, const YAML::Mark& mark, const std::string& tag,
              YAML::anchor_t anchor) {
        const auto index = add(kind, mark, tag, anchor);
        if (error_) return;
        open_.push_back(index);
        if (open_.size() > limits_.depth) {
            fail_at(mark, fmt::format("nested deeper than {} levels", limits_.depth));
        }
    }

    void check_duplicates(const Value& map) {
        std::unordered_map<std::string_view, std::uint32_t> seen;
        for (std::size_t i = 0; i < map.children.size(); i += 2) {
            const Value& key = tree_.values[map.children[i]];
            const auto [first, added] = seen.emplace(key.text, key.line);
            if (added) continue;
            const Node node(tree_, map.children[i]);
            error_ = node.fail("duplicate key, it is already on line {}", first->second).value();
            return;
        }
    }

    Tree& tree_;
    std::string_view text_;
    unsigned first_line_;
    const Limits& limits_;
    std::vector<std::uint32_t> open_; // lists and mappings around the next value
    unsigned documents_ = 0;
    std::optional<Error> error_;
    std::optional<Error> late_error_;
    std::optional<std::size_t> last_quoted_;
    YAML::Mark last_scalar_;
};

struct Line {
    std::size_t begin = 0;
    std::size_t end = 0; // of its content, before the line break
    std::size_t next = 0;
};

Line line_at(std::string_view text, std::size_t begin) {
    const auto newline = text.find('\n', begin);
    Line line{begin, newline, newline + 1};
    if (newline == std::string_view::npos) line.end = line.next = text.size();
    if (line.end > begin && text[line.end - 1] == '\r') --line.end;
    return line;
}

bool is_blank(std::string_view line) {
    return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

bool is_blank_or_comment(std::string_view line) {
    const auto first = line.find_first_not_of(" \t");
    return first == std::string_view::npos || line[first] == '#';
}

// "---" or "..." at the start of a line is a document marker wherever it stands, also inside a
// block or quotes.
bool is_marker(std::string_view line, std::string_view marker) {
    return line.starts_with(marker) && (line.size() == 3 || line[3] == ' ' || line[3] == '\t');
}

// One document as it was written.
struct Part {
    std::string_view text; // with its "---" line
    unsigned first_line = 0;
    bool marked = false; // begins with "---"
};

Result<std::vector<Part>> split(std::string_view text, std::string_view file) {
    std::vector<Part> parts(1);
    std::size_t begin = 0;
    unsigned number = 0;
    for (std::size_t at = 0; at < text.size(); ++number) {
        const Line line = line_at(text, at);
        const auto content = text.substr(line.begin, line.end - line.begin);
        at = line.next;
        const bool start = is_marker(content, "---");
        if (!start && !is_marker(content, "...")) continue;
        if (!start && !is_blank_or_comment(content.substr(3))) {
            return fail(Code::invalid, "{}:{}:4: expected nothing but a comment after '...'", file,
                        number + 1);
        }
        parts.back().text = text.substr(begin, line.begin - begin);
        parts.push_back({{}, start ? number : number + 1, start});
        begin = start ? line.begin : line.next;
    }
    parts.back().text = text.substr(begin);
    return parts;
}

// "file:line:column" of a byte of `text`, which begins at `first_line` (from 0) of the file.
std::string position_text(std::string_view file, std::string_view text, std::size_t offset,
                          unsigned first_line = 0) {
    const auto before = text.substr(0, offset);
    const auto line = first_line + 1 + std::count(before.begin(), before.end(), '\n');
    const auto newline = before.rfind('\n');
    return fmt::format("{}:{}:{}", file, line,
                       newline == std::string_view::npos ? offset + 1 : offset - newline);
}

Result<> check_characters(std::string_view text, std::string_view file) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte >= ' ' && byte != 0x7f) continue;
        if (byte == '\t' || byte == '\n') continue;
        if (byte == '\r' && i + 1 < text.size() && text[i + 1] == '\n') continue;
        return fail(Code::invalid, "{}: control character 0x{:02x} is not accepted",
                    position_text(file, text, i), byte);
    }
    if (const auto bad = invalid_utf8(text); bad != std::string_view::npos) {
        return fail(Code::invalid, "{}: expected UTF-8 text, found the byte 0x{:02x}",
                    position_text(file, text, bad), static_cast<unsigned char>(text[bad]));
    }
    return {};
}

// yaml-cpp takes the end of the text for the end of a quoted string.
Result<> check_closed(const Part& part, std::size_t offset, std::string_view file) {
    if (end_of_quoted(part.text, offset) != std::string_view::npos) return {};
    return fail(Code::invalid, "{}: this string has no closing quote",
                position_text(file, part.text, offset, part.first_line));
}

// The text of one document for storage: no marker, no blank lines around it.
std::string stored_text(const Part& part) {
    std::string_view text = part.text;
    if (part.marked) {
        const Line line = line_at(text, 0);
        if (is_blank_or_comment(text.substr(3, line.end - 3))) text.remove_prefix(line.next);
    }
    while (!text.empty()) {
        const Line line = line_at(text, 0);
        if (!is_blank(text.substr(0, line.end))) break;
        text.remove_prefix(line.next);
    }
    while (!text.empty() && is_blank(text.substr(text.size() - 1)))
        text.remove_suffix(1);
    return std::string(text) + "\n";
}

bool has_content(const Part& part) {
    for (std::size_t at = part.marked ? 3 : 0; at < part.text.size();) {
        const Line line = line_at(part.text, at);
        if (!is_blank_or_comment(part.text.substr(line.begin, line.end - line.begin))) return true;
        at = line.next;
    }
    return false;
}

Error syntax_error(const Part& part, std::string_view file, const YAML::Exception& error) {
    // What is missing at the end of the text comes without a position, or with that of its start.
    const bool at_end = error.mark.pos <= 0 && error.msg.starts_with("end of");
    const auto offset =
        at_end ? part.text.size() : static_cast<std::size_t>(std::max(error.mark.pos, 0));
    const auto newline = part.text.substr(0, offset).rfind('\n');
    const auto start = newline == std::string_view::npos ? 0 : newline + 1;
    const auto indent = part.text.substr(start, part.text.find_first_not_of(" \t", start) - start);
    const bool tab = indent.find('\t') != std::string_view::npos;
    return fail(Code::invalid, "{}: not valid YAML: {}{}",
                position_text(file, part.text, offset, part.first_line), shown(error.msg),
                tab ? " (tabs cannot indent, use spaces)" : "")
        .value();
}

// Null without content.
Result<std::unique_ptr<const Tree>> parse(const Part& part, std::string_view file,
                                          const Limits& limits) {
    for (std::size_t at = 0; !part.marked && at < part.text.size();) {
        const Line line = line_at(part.text, at);
        const auto content = part.text.substr(line.begin, line.end - line.begin);
        if (content.starts_with('%')) {
            return fail(Code::invalid, "{}: directives are not accepted",
                        position_text(file, part.text, at, part.first_line));
        }
        if (!is_blank_or_comment(content)) break;
        at = line.next;
    }
    auto tree = std::make_unique<Tree>();
    tree->file = file;
    Builder builder(*tree, part.text, part.first_line, limits);
    try {
        std::istringstream stream{std::string(part.text)};
        YAML::Parser parser(stream);
        while (!builder.error() && parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& error) {
        if (!builder.error()) return Failure(syntax_error(part, file, error));
    }
    if (const auto& error = builder.error()) return Failure(*error);
    if (const auto& error = builder.late_error()) return Failure(*error);
    if (const auto offset = builder.last_quoted()) TRY(check_closed(part, *offset, file));
    if (tree->values.empty() || tree->values.front().kind == Value::Kind::null) return nullptr;
    return tree;
}

} // namespace

Document::Document(std::unique_ptr<const Tree> tree, std::string text)
    : tree_(std::move(tree)), text_(std::move(text)) {}
Document::Document(Document&&) noexcept = default;
Document& Document::operator=(Document&&) noexcept = default;
Document::~Document() = default;

Result<std::vector<Document>> read(std::string_view text, std::string_view file,
                                   const Limits& limits) {
    if (text.size() > limits.bytes) {
        return fail(Code::invalid, "{}: {} bytes are more than the {} that are accepted", file,
                    text.size(), limits.bytes);
    }
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    TRY(check_characters(text, file));
    std::vector<Document> documents;
    for (const Part& part : TRY(split(text, file))) {
        if (!has_content(part)) continue;
        auto tree = TRY(parse(part, file, limits));
        if (tree) documents.emplace_back(std::move(tree), stored_text(part));
    }
    return documents;
}

std::size_t invalid_utf8(std::string_view text) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0U) == 0x80; };
    for (std::size_t i = 0; i < text.size();) {
        const unsigned first = byte(i);
        const unsigned second = byte(i + 1);
        if (first < 0x80) {
            i += 1;
        } else if (first >= 0xc2 && first < 0xe0 && follows(i + 1)) {
            i += 2;
        } else if ((first & 0xf0U) == 0xe0 && follows(i + 1) && follows(i + 2) &&
                   (first != 0xe0 || second >= 0xa0) && (first != 0xed || second < 0xa0)) {
            i += 3;
        } else if (first >= 0xf0 && first < 0xf5 && follows(i + 1) && follows(i + 2) &&
                   follows(i + 3) && (first != 0xf0 || second >= 0x90) &&
                   (first != 0xf4 || second < 0x90)) {
            i += 4;
        } else {
            return i;
        }
    }
    return std::string_view::npos;
}

} // namespace beeline::source::yaml
