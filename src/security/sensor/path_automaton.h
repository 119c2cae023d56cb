// Texts wanted in paths -> the table by which the kernel finds all of them in one pass (Aho-Corasick).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "abi/event.h"
#include "security/events/capture.h"

namespace beeline::security {

class PathAutomaton {
public:
    // Never fails. Where `texts` ask for more states or symbols than there is room for, the longest are cut to a part of
    // themselves: they then match more than they should, never less. See cut().
    static PathAutomaton build(const std::vector<Capture::PathText>& texts,
                               std::size_t most_cells = BL_PATH_CELLS,
                               std::size_t most_symbols = BL_PATH_SYMBOLS);

    // Classes of the texts that occur in `path`: what the kernel computes, but for always().
    [[nodiscard]] std::uint32_t match(std::string_view path) const;
    // Classes wanted whatever the path: of texts with nothing left to look for.
    [[nodiscard]] std::uint32_t always() const { return always_; }
    // How many texts lost a part.
    [[nodiscard]] std::size_t cut() const { return cut_; }
    [[nodiscard]] std::size_t states() const {
        return columns_ == 0 ? 0 : cells_.size() / columns_;
    }
    [[nodiscard]] std::size_t symbols() const { return columns_; }

    // Fills a table that no program reads at the moment.
    void write(bl_path_table& table) const;

private:
    PathAutomaton() = default;
    void make_rows(const std::vector<Capture::PathText>& texts);
    void close();

    std::array<std::uint16_t, 256> column_{}; // by byte
    std::size_t columns_ = 0;                 // cells of a row
    std::vector<std::uint32_t> cells_;        // as in struct bl_path_table
    std::uint32_t start_ = 0;
    std::uint32_t always_ = 0;
    std::size_t cut_ = 0;
};

} // namespace beeline::security
