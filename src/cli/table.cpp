#include "cli/table.h"

#include <algorithm>

namespace beeline::cli {
namespace {

// Bytes that do not continue a UTF-8 sequence.
std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xc0U) != 0x80;
    }));
}

} // namespace

std::string printable(std::string_view text) {
    std::string out(text);
    for (std::size_t i = 0; i < out.size(); ++i) {
        const auto byte = static_cast<unsigned char>(out[i]);
        // 0xc2 0x80..0x9f are the C1 controls in UTF-8.
        const bool c1 = byte == 0xc2 && i + 1 < out.size() &&
                        static_cast<unsigned char>(out[i + 1]) >= 0x80 &&
                        static_cast<unsigned char>(out[i + 1]) < 0xa0;
        if (c1) out[i + 1] = '?';
        if (byte < 0x20 || byte == 0x7f || c1) out[i] = '?';
    }
    return out;
}

void Table::row(std::vector<std::string> cells) {
    cells.resize(header_.size());
    for (auto& cell : cells)
        cell = cell.empty() ? "-" : printable(cell);
    rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) const {
    std::vector<std::size_t> widths;
    for (std::size_t column = 0; column < header_.size(); ++column) {
        std::size_t width = characters(header_[column]);
        for (const auto& row : rows_)
            width = std::max(width, characters(row[column]));
        widths.push_back(width);
    }
    const auto print_row = [&](const std::vector<std::string>& cells) {
        for (std::size_t column = 0; column < cells.size(); ++column) {
            out << cells[column];
            if (column + 1 < cells.size())
                out << std::string(widths[column] - characters(cells[column]) + 2, ' ');
        }
        out << '\n';
    };
    print_row(header_);
    for (const auto& row : rows_)
        print_row(row);
}

} // namespace beeline::cli
