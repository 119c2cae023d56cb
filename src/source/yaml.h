// Strict YAML (and JSON) reading: every error says file:line:column, the path of the field and what
// was expected.
//   const auto documents = TRY(yaml::read(text, "beeline.yaml"));
//   const auto map = TRY(documents[0].root().map({"node", "ipv4"}));   // any other field is an
//   error const auto node = TRY(map.string_or("node", "local"));
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace beeline::source::yaml {

struct Limits {
    std::size_t bytes = 8U << 20;   // of the whole text
    unsigned depth = 64;            // of lists and mappings in each other
    std::size_t values = 1'000'000; // of one document
};

class Map;
struct Tree;

// A value of a document. Cheap to copy, valid while its Document lives.
class Node {
public:
    Node(const Tree& tree, std::uint32_t index) : tree_(&tree), index_(index) {}

    [[nodiscard]] bool is_null() const;
    [[nodiscard]] bool is_map() const;
    [[nodiscard]] bool is_integer() const;  // what integer() takes, of any size
    [[nodiscard]] unsigned line() const;    // from 1
    [[nodiscard]] unsigned column() const;  // from 1, in bytes
    [[nodiscard]] std::string path() const; // "spec.ingress[0].from"; empty at the root
    [[nodiscard]] std::string file() const;
    [[nodiscard]] std::string what() const; // for "found ...": "the number 8080", "a list"

    // Plain words that YAML takes for numbers or booleans must be quoted to be strings.
    [[nodiscard]] Result<std::string> string() const;
    [[nodiscard]] Result<bool> boolean() const; // true, false
    [[nodiscard]] Result<std::int64_t> integer(std::int64_t least, std::int64_t most) const;
    [[nodiscard]] Result<std::vector<Node>> list() const; // null items are errors
    [[nodiscard]] Result<std::vector<std::string>> strings() const;
    // One of a few words; the error lists them.
    [[nodiscard]] Result<std::string> choice(std::initializer_list<std::string_view> words) const;
    // A mapping with a fixed set of fields: any other field is an error.
    [[nodiscard]] Result<Map> map(std::vector<std::string_view> fields) const;
    // A mapping with free keys, in their order. Null values are errors.
    [[nodiscard]] Result<std::vector<std::pair<std::string, Node>>> entries() const;

    // A field of a mapping that is not read as a whole: none if this is no mapping, or the field
    // absent or null.
    [[nodiscard]] std::optional<Node> get(std::string_view key) const;

    // "file:line:column: path: " before the message.
    template <typename... Args>
    [[nodiscard]] Failure fail(fmt::format_string<Args...> format, Args&&... args) const {
        return failure(fmt::format(format, std::forward<Args>(args)...));
    }
    [[nodiscard]] Failure failure(std::string_view message) const;
    // Whether mappings may have fields that nobody asked for, as an API server that is newer sends them.
    [[nodiscard]] bool lenient() const;
    // Of a mapping: the same for one of its fields, at the key when it is there.
    [[nodiscard]] Failure failure_of(std::string_view key, std::string_view message) const;

    [[nodiscard]] std::string to_yaml() const; // this value as a document of its own

private:
    friend class Map;
    const Tree* tree_;
    std::uint32_t index_;
};

// A mapping whose field names have been checked. A field that is null counts as absent, as in
// Kubernetes.
class Map {
public:
    [[nodiscard]] const Node& node() const { return node_; }
    // An error of one field, at its key.
    template <typename... Args>
    [[nodiscard]] Failure fail_of(std::string_view key, fmt::format_string<Args...> format,
                                  Args&&... args) const {
        return node_.failure_of(key, fmt::format(format, std::forward<Args>(args)...));
    }
    [[nodiscard]] std::optional<Node>
    find(std::string_view key) const; // precondition: one of the fields
    [[nodiscard]] Result<Node> need(std::string_view key) const;

    [[nodiscard]] Result<std::string> string(std::string_view key) const;
    [[nodiscard]] Result<std::string> string_or(std::string_view key,
                                                std::string_view otherwise) const;
    [[nodiscard]] Result<bool> boolean_or(std::string_view key, bool otherwise) const;
    [[nodiscard]] Result<std::int64_t> integer(std::string_view key, std::int64_t least,
                                               std::int64_t most) const;
    [[nodiscard]] Result<std::int64_t> integer_or(std::string_view key, std::int64_t least,
                                                  std::int64_t most, std::int64_t otherwise) const;
    // Absent is empty.
    [[nodiscard]] Result<std::vector<Node>> list(std::string_view key) const;
    [[nodiscard]] Result<std::vector<std::string>> strings(std::string_view key) const;
    [[nodiscard]] Result<std::optional<Map>> map(std::string_view key,
                                                 std::vector<std::string_view> fields) const;
    [[nodiscard]] Result<std::string> choice_or(std::string_view key,
                                                std::initializer_list<std::string_view> words,
                                                std::string_view otherwise) const;

private:
    friend class Node;
    Map(Node node, std::vector<std::string_view> fields)
        : node_(node), fields_(std::move(fields)) {}
    Node node_;
    std::vector<std::string_view> fields_;
};

class Document {
public:
    explicit Document(std::unique_ptr<const Tree> tree, std::string text);
    Document(Document&&) noexcept;
    Document& operator=(Document&&) noexcept;
    ~Document();

    [[nodiscard]] Node root() const { return {*tree_, 0}; }
    // What was written, comments included, without document markers.
    [[nodiscard]] const std::string& text() const { return text_; }

private:
    std::unique_ptr<const Tree> tree_;
    std::string text_;
};

// All documents of a text that have content. Anchors, aliases, tags, directives, duplicate keys,
// keys that are no plain strings, control characters and bytes that are no UTF-8 are errors. `file`
// is only named in errors.
Result<std::vector<Document>> read(std::string_view text, std::string_view file,
                                   const Limits& limits = {});

// The word of `words` that `text` probably meant, empty if none is near.
std::string_view nearest(std::string_view text, const std::vector<std::string_view>& words);

// User text for use inside a message: one line, not too long, valid UTF-8.
std::string shown(std::string_view text);

// Offset of the first byte that does not belong to valid UTF-8, npos if all does.
std::size_t invalid_utf8(std::string_view text);

} // namespace beeline::source::yaml
