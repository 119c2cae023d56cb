#include "security/sensor/path_automaton.h"

#include <algorithm>
#include <cstring>
#include <queue>

namespace beeline::security {
namespace {

// Columns of a row before those of bytes.
constexpr std::size_t kClasses = 0;
constexpr std::size_t kOther = 1;
constexpr std::size_t kStart = 2;
constexpr std::size_t kEnd = 3;
constexpr std::size_t kFirstByte = 4;

unsigned byte(char c) { return static_cast<unsigned char>(c); }

// One cell more for each byte of each text, at worst; two for the ends.
std::size_t states_at_most(const std::vector<Capture::PathText>& texts) {
    std::size_t states = 2;
    for (const auto& text : texts)
        states += text.text.size() + 2;
    return states;
}

// Keeps a part of the text; an end that is cut off no longer anchors it.
void shorten(Capture::PathText& text, std::size_t length) {
    if (text.at_end && !text.at_start) {
        text.text.erase(0, text.text.size() - length);
        return;
    }
    text.text.resize(length);
    text.at_end = false;
}

// Bytes in order of how many texts need them.
std::vector<unsigned> bytes_by_use(const std::vector<Capture::PathText>& texts) {
    std::array<std::size_t, 256> uses{};
    for (const auto& text : texts) {
        for (const char c : text.text)
            ++uses[byte(c)];
    }
    std::vector<unsigned> bytes;
    for (unsigned b = 0; b < 256; ++b) {
        if (uses[b] != 0) bytes.push_back(b);
    }
    std::stable_sort(bytes.begin(), bytes.end(),
                     [&](unsigned a, unsigned b) { return uses[a] > uses[b]; });
    return bytes;
}

// The longest part without a byte that has no column.
bool keep_known(Capture::PathText& text, const std::array<std::uint16_t, 256>& column) {
    std::size_t best = 0, best_at = 0, at = 0;
    for (std::size_t i = 0; i <= text.text.size(); ++i) {
        if (i < text.text.size() && column[byte(text.text[i])] != kOther * 4) continue;
        if (i - at > best) {
            best = i - at;
            best_at = at;
        }
        at = i + 1;
    }
    if (best == text.text.size()) return false;
    if (best_at != 0) text.at_start = false;
    if (best_at + best != text.text.size()) text.at_end = false;
    text.text = text.text.substr(best_at, best);
    return true;
}

} // namespace

PathAutomaton PathAutomaton::build(const std::vector<Capture::PathText>& wanted,
                                   std::size_t most_cells, std::size_t most_symbols) {
    PathAutomaton out;
    std::vector<Capture::PathText> texts = wanted;
    most_symbols = std::max(most_symbols, kFirstByte);
    out.column_.fill(kOther * 4);
    std::size_t columns = kFirstByte;
    for (const unsigned b : bytes_by_use(texts)) {
        if (columns < most_symbols) out.column_[b] = static_cast<std::uint16_t>(columns++ * 4);
    }
    out.columns_ = columns;
    for (auto& text : texts)
        out.cut_ += keep_known(text, out.column_) ? 1 : 0;

    const std::size_t most_states = std::max<std::size_t>(most_cells / columns, 2);
    while (states_at_most(texts) > most_states && !texts.empty()) {
        const auto longest =
            std::max_element(texts.begin(), texts.end(), [](const auto& a, const auto& b) {
                return a.text.size() < b.text.size();
            });
        ++out.cut_;
        if (longest->text.size() > 1) {
            shorten(*longest, longest->text.size() / 2);
            continue;
        }
        out.always_ |= longest->classes;
        texts.erase(longest);
    }
    out.make_rows(texts);
    out.close();
    return out;
}

// The trie of the texts: cells hold row numbers, 0 where there is no way yet.
void PathAutomaton::make_rows(const std::vector<Capture::PathText>& texts) {
    cells_.assign(columns_ * 2, 0); // root, and after the start
    cells_[kStart] = 1;
    for (const auto& text : texts) {
        if (text.text.empty() && !(text.at_start && text.at_end)) {
            always_ |= text.classes;
            continue;
        }
        std::size_t row = text.at_start ? 1 : 0;
        const auto step = [&](std::size_t column) {
            std::uint32_t next = cells_[row * columns_ + column];
            if (next == 0) {
                next = static_cast<std::uint32_t>(cells_.size() / columns_);
                cells_[row * columns_ + column] = next;
                cells_.resize(cells_.size() + columns_, 0);
            }
            row = next;
        };
        for (const char c : text.text)
            step(column_[byte(c)] / 4);
        if (text.at_end) step(kEnd);
        cells_[row * columns_ + kClasses] |= text.classes;
    }
}

// Ways that the trie lacks lead where the longest known end of the same text leads. Then row numbers become offsets.
void PathAutomaton::close() {
    const std::size_t rows = cells_.size() / columns_;
    std::vector<std::uint32_t> back(rows, 0);
    std::queue<std::uint32_t> todo;
    for (std::size_t column = kOther; column < columns_; ++column) {
        if (cells_[column] != 0) todo.push(cells_[column]);
    }
    while (!todo.empty()) {
        const std::size_t row = todo.front();
        todo.pop();
        cells_[row * columns_ + kClasses] |= cells_[back[row] * columns_ + kClasses];
        for (std::size_t column = kOther; column < columns_; ++column) {
            std::uint32_t& next = cells_[row * columns_ + column];
            const std::uint32_t other = cells_[back[row] * columns_ + column];
            if (next == 0) {
                next = other;
                continue;
            }
            back[next] = other;
            todo.push(next);
        }
    }
    const auto offset = [&](std::uint32_t row) {
        const auto bytes = static_cast<std::uint32_t>(row * columns_ * sizeof(std::uint32_t));
        return cells_[row * columns_ + kClasses] != 0 ? bytes | BL_PATH_HIT : bytes;
    };
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t column = kOther; column < columns_; ++column) {
            std::uint32_t& cell = cells_[row * columns_ + column];
            cell = offset(cell);
        }
    }
    start_ = cells_[kStart] & ~BL_PATH_HIT;
}

std::uint32_t PathAutomaton::match(std::string_view path) const {
    std::uint32_t found = 0, row = start_;
    const auto step = [&](std::uint32_t column) {
        row = cells_[((row & BL_PATH_ROW_MASK) + column) / 4];
        if ((row & BL_PATH_HIT) != 0) found |= cells_[(row & BL_PATH_ROW_MASK) / 4];
    };
    for (const char c : path)
        step(column_[byte(c)]);
    step(kEnd * 4);
    return found;
}

void PathAutomaton::write(bl_path_table& table) const {
    std::copy(column_.begin(), column_.end(), table.symbol);
    table.start = start_;
    table.end = kEnd * 4;
    std::copy(cells_.begin(), cells_.end(), table.cell);
}

} // namespace beeline::security
