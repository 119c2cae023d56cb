// Manifests from files, folders and standard input as one text for the agent.
#pragma once

#include <istream>
#include <string>
#include <vector>

#include "base/result.h"

namespace beeline::cli {

// Remembers which lines came from where, so that messages about the text can name files.
class ManifestInput {
public:
    // A file, a folder (its *.yaml, *.yml and *.json in the order of their names), or "-" for `standard_input`.
    Result<> add(const std::string& path, std::istream& standard_input);

    [[nodiscard]] const std::string& text() const { return text_; }
    // "input:LINE" of the agent's messages becomes "FILE:LINE".
    [[nodiscard]] std::string relocate(const std::string& message) const;

private:
    struct Part {
        std::string file;
        std::size_t first_line = 1; // in text_
    };
    void append(const std::string& file, const std::string& content);

    std::string text_;
    std::vector<Part> parts_;
};

} // namespace beeline::cli
