// Texts of rule files that know where their bytes stand, however much was folded, appended and substituted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "security/rules/ast.h"

namespace beeline::security::rules {

// Bytes of the UTF-8 character at `offset`, 0 if there is none.
std::size_t utf8_size(std::string_view text, std::size_t offset);

struct SourceFile {
    std::string name;
    std::string text;
    std::vector<std::size_t> lines; // where each begins

    SourceFile(std::string file_name, std::string file_text);
    [[nodiscard]] Position position(std::size_t offset) const;
};

// A value of a file: a word, text in quotes, a block.
struct Scalar {
    const SourceFile* file = nullptr;
    std::string text; // folded, escapes resolved
    Position position;
};

// A byte of a scalar.
struct Place {
    const Scalar* scalar = nullptr;
    std::size_t offset = 0;

    // In the file: the byte itself also inside blocks and quotes. Precondition: there is a scalar.
    [[nodiscard]] Position position() const;
};

// A text made of pieces of scalars and of what was put between and in place of them. Scalars outlive it.
class MappedText {
public:
    MappedText() = default;
    explicit MappedText(const Scalar& scalar) { append(scalar); }

    void append(const Scalar& scalar);
    void append(const MappedText& from, std::size_t begin, std::size_t size);
    void append(const MappedText& from) { append(from, 0, from.text_.size()); }
    // All of `text` stands for one place.
    void append(std::string_view text, Place place);

    [[nodiscard]] const std::string& text() const { return text_; }
    [[nodiscard]] bool empty() const { return text_.empty(); }
    [[nodiscard]] Place place(std::size_t offset) const;

private:
    struct Run {
        std::size_t begin = 0;
        Place place;
        bool exact = true; // each byte has its own place
    };
    std::string text_;
    std::vector<Run> runs_;
};

} // namespace beeline::security::rules
