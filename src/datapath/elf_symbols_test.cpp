#include "datapath/elf_symbols.h"

#include <array>
#include <cstring>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

namespace beeline::datapath {
namespace {

constexpr std::array<std::string_view, 3> kNames{"main", "strlen_is_not_here", "mai"};

std::vector<std::byte> own_binary() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    std::vector<std::byte> out(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return out;
}

TEST(ElfSymbols, FindsWholeNamesOnly) {
    const auto found = find_functions_in("/proc/self/exe", kNames);
    ASSERT_TRUE(found);
    ASSERT_EQ(found->size(), 1U);
    EXPECT_EQ(found->begin()->first, "main");
    EXPECT_GT(found->begin()->second.offset, 0U);
    EXPECT_GT(found->begin()->second.size, 0U);
}

TEST(ElfSymbols, WhatIsNoElfFileHasNone) {
    EXPECT_FALSE(find_functions_in("/proc/self", kNames));
    EXPECT_FALSE(find_functions_in("/nonexistent", kNames));
    EXPECT_TRUE(find_functions({}, kNames).empty());
    std::vector<std::byte> text(1000, std::byte{'x'});
    EXPECT_TRUE(find_functions(text, kNames).empty());
}

TEST(ElfSymbols, DamagedFilesAreReadWithinTheirBounds) {
    const auto whole = own_binary();
    for (std::size_t size = 0; size < 4096; size += 7)
        (void)find_functions(std::span(whole).first(size), kNames);
    auto bytes = whole;
    bytes.resize(std::min<std::size_t>(bytes.size(), 1U << 20));
    for (std::size_t i = 16; i < 64; ++i) {
        auto damaged = bytes;
        damaged[i] = std::byte{0xff};
        (void)find_functions(damaged, kNames);
    }
}

TEST(ElfSymbols, ReturnsOfGoFunctions) {
    std::vector<std::byte> code;
    for (const unsigned byte :
         {0x90U, 0xc3U,                                                  // a lone ret is none
          0x48U, 0x83U, 0xc4U, 0x20U, 0x5dU, 0xc3U,                      // at 7
          0x48U, 0x81U, 0xc4U, 0x00U, 0x01U, 0U,    0U,    0x5dU, 0xc3U, // at 16
          0x48U, 0x8bU, 0x6cU, 0x24U, 0x18U, 0x48U, 0x83U, 0xc4U, 0x20U, 0xc3U, // at 26
          0x48U, 0x83U, 0xc4U, 0x20U, 0xc3U,  // the frame pointer is not restored
          0x48U, 0x83U, 0xc4U, 0x20U, 0x5dU}) // cut
        code.push_back(std::byte(byte));
    using Offsets = std::vector<std::uint64_t>;
    EXPECT_EQ(find_go_returns(code, {0, code.size()}), (Offsets{7, 16, 26}));
    EXPECT_EQ(find_go_returns(code, {0, 7}), Offsets{});
    EXPECT_EQ(find_go_returns(code, {8, 9}), Offsets{16});
    EXPECT_EQ(find_go_returns(code, {0, code.size() + 1}), Offsets{});
    EXPECT_EQ(find_go_returns(code, {code.size() + 1, 1}), Offsets{});
}

} // namespace
} // namespace beeline::datapath
