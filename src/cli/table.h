// Aligned columns for people.
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace beeline::cli {

// Control characters, also those that would move a terminal's cursor, become '?'.
std::string printable(std::string_view text);

// Columns are as wide as their widest cell, two spaces apart; nothing is cut.
class Table {
public:
    explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}

    // Missing cells are empty; empty ones print as '-'.
    void row(std::vector<std::string> cells);
    [[nodiscard]] bool empty() const { return rows_.empty(); }
    void print(std::ostream& out) const;

private:
    std::vector<std::string> header_;
    std::vector<std::vector<std::string>> rows_;
};

} // namespace beeline::cli
