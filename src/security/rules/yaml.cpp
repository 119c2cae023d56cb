// yaml-cpp's events -> Tree. The only place of this folder that sees yaml-cpp and its exceptions.
#include "security/rules/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

namespace beeline::security::rules::yaml {
namespace {

class Builder : public YAML::EventHandler {
public:
    Builder(Tree& tree, const SourceFile& file, const Limits& limits)
        : tree_(tree), file_(file), limits_(limits) {}

    [[nodiscard]] bool failed() const { return !tree_.problem.empty(); }
    // Byte offset of the last scalar that was written in quotes or as a block.
    [[nodiscard]] std::size_t last_quoted() const { return last_quoted_; }

    void OnDocumentStart(const YAML::Mark& mark) override {
        anchors_.clear();
        // At some signs yaml-cpp finds empty documents without end.
        if (mark.pos == last_start_) fail(mark, "not valid YAML: unexpected sign");
        last_start_ = mark.pos;
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        add(Value::Kind::null, mark, anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        if (failed()) return;
        const auto found = anchors_.find(anchor);
        if (found == anchors_.end()) return fail(mark, "this alias has no anchor");
        const Value& target = tree_.values[found->second];
        if (target.open) return fail(mark, "an alias stands inside the value that it stands for");
        if (!count(mark, target.size)) return;
        attach(found->second, target.size);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& value) override {
        const std::uint32_t index = add(Value::Kind::scalar, mark, anchor);
        if (failed()) return;
        tree_.values[index].text = value;
        if (tag == "!") last_quoted_ = tree_.values[index].position.offset;
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(Value::Kind::list, mark, anchor);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(Value::Kind::map, mark, anchor);
    }
    void OnMapEnd() override { close(); }

private:
    // yaml-cpp cannot be stopped by its handler; what follows the first problem is ignored.
    void fail(const YAML::Mark& mark, std::string_view message) {
        if (failed()) return;
        tree_.problem = message;
        tree_.position = file_.position(static_cast<std::size_t>(std::max(mark.pos, 0)));
    }

    bool count(const YAML::Mark& mark, std::size_t size) {
        count_ += size;
        if (count_ <= limits_.values) return true;
        fail(mark, fmt::format("more than {} values in one file", limits_.values));
        return false;
    }

    void attach(std::uint32_t index, std::size_t size) {
        if (open_.empty()) {
            tree_.documents.push_back(index);
            return;
        }
        Value& parent = tree_.values[open_.back()];
        parent.children.push_back(index);
        parent.size += size;
    }

    std::uint32_t add(Value::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
        if (failed() || !count(mark, 1)) return 0;
        const auto index = static_cast<std::uint32_t>(tree_.values.size());
        Value& value = tree_.values.emplace_back();
        value.kind = kind;
        value.position = file_.position(static_cast<std::size_t>(std::max(mark.pos, 0)));
        if (anchor != 0) anchors_[anchor] = index;
        // Lists and mappings are attached once their size is known.
        if (kind == Value::Kind::list || kind == Value::Kind::map) return index;
        if (kind == Value::Kind::scalar || !open_.empty()) attach(index, 1);
        return index;
    }

    void open(Value::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
        const std::uint32_t index = add(kind, mark, anchor);
        if (failed()) return;
        tree_.values[index].open = true;
        open_.push_back(index);
        if (open_.size() > limits_.depth)
            fail(mark, fmt::format("nested deeper than {} levels", limits_.depth));
    }

    void close() {
        if (failed()) return;
        const std::uint32_t index = open_.back();
        open_.pop_back();
        tree_.values[index].open = false;
        attach(index, tree_.values[index].size);
    }

    Tree& tree_;
    const SourceFile& file_;
    const Limits& limits_;
    std::vector<std::uint32_t> open_;
    std::unordered_map<YAML::anchor_t, std::uint32_t> anchors_;
    std::size_t count_ = 0;
    int last_start_ = -1;
    std::size_t last_quoted_ = std::string::npos;
};

// Offset of the first byte that is no text, npos if there is none.
std::size_t bad_byte(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const char c = text[i];
        const std::size_t size = utf8_size(text, i);
        if (size == 0 || (c >= 0 && c < ' ' && c != '\t' && c != '\n' && c != '\r')) return i;
        i += size;
    }
    return std::string_view::npos;
}

// yaml-cpp takes the end of the text for the end of a quoted string.
bool is_closed(std::string_view text, std::size_t begin) {
    if (begin >= text.size()) return true;
    while (begin < text.size() && (text[begin] == '&' || text[begin] == '!'))
        begin = text.find_first_not_of(" \t\r\n", text.find_first_of(" \t\r\n", begin));
    if (begin >= text.size()) return true;
    const char quote = text[begin];
    if (quote != '"' && quote != '\'') return true;
    for (std::size_t i = begin + 1; i < text.size(); ++i) {
        if (quote == '"' && text[i] == '\\') {
            ++i;
        } else if (text[i] == quote) {
            if (quote == '"' || i + 1 >= text.size() || text[i + 1] != quote) return true;
            ++i;
        }
    }
    return false;
}

void set_syntax_error(Tree& tree, const SourceFile& file, const YAML::Exception& error) {
    // What is missing at the end comes without a place, or with that of the start.
    const bool at_end = error.mark.pos <= 0 && error.msg.starts_with("end of");
    const std::size_t offset =
        at_end ? file.text.size() : static_cast<std::size_t>(std::max(error.mark.pos, 0));
    tree.position = file.position(offset);
    const std::string_view line =
        std::string_view(file.text).substr(file.lines[tree.position.line - 1]);
    const bool tab = line.substr(0, line.find_first_not_of(" \t")).find('\t') != std::string::npos;
    tree.problem = fmt::format("not valid YAML: {}{}", error.msg,
                               tab ? " (tabs cannot indent, use spaces)" : "");
}

} // namespace

Tree parse(const SourceFile& file, const Limits& limits) {
    Tree tree;
    if (file.text.size() > limits.bytes) {
        tree.problem = fmt::format("{} bytes are more than the {} that are accepted",
                                   file.text.size(), limits.bytes);
        return tree;
    }
    if (const std::size_t bad = bad_byte(file.text); bad != std::string_view::npos) {
        tree.problem = fmt::format("expected text in UTF-8, found the byte 0x{:02x}",
                                   static_cast<unsigned char>(file.text[bad]));
        tree.position = file.position(bad);
        return tree;
    }
    Builder builder(tree, file, limits);
    try {
        std::istringstream stream(file.text);
        YAML::Parser parser(stream);
        while (!builder.failed() && parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& error) {
        if (!builder.failed()) set_syntax_error(tree, file, error);
    }
    if (!builder.failed() && !is_closed(file.text, builder.last_quoted())) {
        tree.problem = "this string has no closing quote";
        tree.position = file.position(builder.last_quoted());
    }
    return tree;
}

} // namespace beeline::security::rules::yaml
