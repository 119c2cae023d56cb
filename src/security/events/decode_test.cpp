#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "security/events/event.h"
#include "security/events/record_builder.h"

namespace beeline::security {
namespace {

// A record that may be damaged: aligned, and of any size.
struct Bytes {
    explicit Bytes(std::span<const std::byte> record)
        : words((record.size() + 7) / 8 + 1), size(record.size()) {
        std::memcpy(words.data(), record.data(), record.size());
    }
    [[nodiscard]] bl_event& head() { return *reinterpret_cast<bl_event*>(words.data()); }
    [[nodiscard]] std::span<const std::byte> span() const {
        return std::as_bytes(std::span(words)).first(size);
    }
    DecodeError decode() { return security::decode(span(), event); }

    std::vector<std::uint64_t> words;
    std::size_t size;
    Event event;
};

Bytes sample() {
    RecordBuilder builder;
    auto& head = builder.begin(BL_EVENT_openat).head();
    head.pid = 7;
    head.num[2] = 9;
    builder.text(BL_STR_PATH, "passwd").text(BL_STR_RESOLVED, "/etc/passwd").text(BL_STR_BASE, "");
    bl_event_file file{};
    file.ino = 11;
    return Bytes(builder.facts(file).finish());
}

// Every view lies in the record.
void expect_bounded(const Bytes& bytes) {
    const auto* const from = reinterpret_cast<const char*>(bytes.words.data());
    const auto* const to = from + bytes.size;
    for (const auto& text : bytes.event.text) {
        if (text.data() == nullptr) continue;
        EXPECT_GE(text.data(), from + sizeof(bl_event));
        EXPECT_LE(text.data() + text.size(), to);
    }
    const auto check = [&](const auto* facts) {
        if (facts == nullptr) return;
        const auto* const at = reinterpret_cast<const char*>(facts);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(at) % 8, 0U);
        EXPECT_GE(at, from + sizeof(bl_event));
        EXPECT_LE(at + sizeof *facts, to);
    };
    check(bytes.event.file);
    check(bytes.event.socket);
    check(bytes.event.task);
}

TEST(Decode, ReadsARecord) {
    auto bytes = sample();
    ASSERT_EQ(bytes.decode(), DecodeError::none);
    EXPECT_EQ(bytes.event.head.pid, 7U);
    EXPECT_EQ(bytes.event.head.num[2], 9U);
    EXPECT_EQ(bytes.event.text[BL_STR_PATH], "passwd");
    EXPECT_EQ(bytes.event.text[BL_STR_RESOLVED], "/etc/passwd");
    EXPECT_TRUE(bytes.event.has(BL_STR_BASE)); // empty is not absent
    EXPECT_EQ(bytes.event.text[BL_STR_BASE], "");
    EXPECT_FALSE(bytes.event.has(BL_STR_PATH2));
    ASSERT_NE(bytes.event.file, nullptr);
    EXPECT_EQ(bytes.event.file->ino, 11U);
    EXPECT_EQ(bytes.event.socket, nullptr);
    EXPECT_EQ(bytes.event.task, nullptr);
    EXPECT_EQ(bytes.event.flow, nullptr);
}

TEST(Decode, LeavesNothingOfTheLastRecord) {
    auto bytes = sample();
    ASSERT_EQ(bytes.decode(), DecodeError::none);
    RecordBuilder builder;
    const Bytes bare(builder.begin(BL_EVENT_setsid).finish());
    ASSERT_EQ(decode(bare.span(), bytes.event), DecodeError::none);
    EXPECT_EQ(bytes.event.file, nullptr);
    for (unsigned i = 0; i < BL_STR_FACTS; ++i)
        EXPECT_FALSE(bytes.event.has(i));
}

TEST(Decode, RefusesEveryBrokenBound) {
    const auto expect = [](DecodeError error, auto damage) {
        auto bytes = sample();
        damage(bytes);
        EXPECT_EQ(bytes.decode(), error);
    };
    expect(DecodeError::too_short, [](Bytes& bytes) { bytes.size = 0; });
    expect(DecodeError::too_short, [](Bytes& bytes) { bytes.size = sizeof(bl_event) - 1; });
    expect(DecodeError::bad_size, [](Bytes& bytes) { bytes.size -= 1; });
    expect(DecodeError::bad_size, [](Bytes& bytes) { bytes.head().size += 1; });
    expect(DecodeError::bad_size, [](Bytes& bytes) { bytes.head().size = 0xffffffff; });
    for (const int kind : {0, 7, 255, 256, 0xffff})
        expect(DecodeError::bad_kind,
               [&](Bytes& bytes) { bytes.head().kind = static_cast<std::uint16_t>(kind); });
    for (unsigned i = 0; i < BL_STR_FACTS; ++i) {
        const auto with = [&](std::uint16_t offset, std::uint16_t length) {
            return [=](Bytes& bytes) { bytes.head().str[i] = {offset, length}; };
        };
        const auto size = static_cast<std::uint16_t>(sample().size);
        expect(DecodeError::bad_string, with(0, 1));
        expect(DecodeError::bad_string, with(1, 1));
        expect(DecodeError::bad_string, with(sizeof(bl_event) - 1, 0));
        expect(DecodeError::bad_string, with(static_cast<std::uint16_t>(size + 1), 0));
        expect(DecodeError::bad_string, with(static_cast<std::uint16_t>(size - 1), 2));
        expect(DecodeError::bad_string, with(0xffff, 0xffff));
        expect(DecodeError::none, with(size, 0));
        expect(DecodeError::none, with(static_cast<std::uint16_t>(size - 1), 1));
        expect(DecodeError::none, with(0, 0));
    }
    const auto facts = [](int offset, int length) {
        return [=](Bytes& bytes) {
            auto& str = bytes.head().str[BL_STR_FACTS];
            str = {static_cast<std::uint16_t>(str.offset + offset),
                   static_cast<std::uint16_t>(length)};
        };
    };
    const int size = sizeof(bl_event_file);
    expect(DecodeError::none, facts(0, size));
    expect(DecodeError::none, facts(-8, size));
    for (const int offset : {1, 4, 8, 0x7000, -1})
        expect(DecodeError::bad_facts, facts(offset, size));
    for (const int length : {0, 1, size - 1, size + 1, int{sizeof(bl_event_task)}, 0xffff})
        expect(DecodeError::bad_facts, facts(0, length));
    expect(DecodeError::bad_facts, [](Bytes& bytes) { bytes.head().str[BL_STR_FACTS].offset = 0; });
    expect(DecodeError::bad_facts,
           [](Bytes& bytes) { bytes.head().str[BL_STR_FACTS] = {64, sizeof(bl_event_file)}; });
}

TEST(Decode, StaysInTheRecordWhateverTheBytes) {
    std::mt19937 random(4);
    std::size_t good = 0;
    for (int round = 0; round < 200'000; ++round) {
        auto bytes = sample();
        for (auto left = 1 + random() % 3; left > 0; --left) {
            auto* const at = reinterpret_cast<unsigned char*>(bytes.words.data());
            at[random() % sizeof(bl_event)] = static_cast<unsigned char>(random());
        }
        if (bytes.decode() != DecodeError::none) continue;
        ++good;
        expect_bounded(bytes);
    }
    EXPECT_GT(good, 1000U);
}

TEST(Decode, GivesTaskFactsOnlyToProcessEvents) {
    RecordBuilder builder;
    for (const auto kind : {BL_EVENT_proc, BL_EVENT_clone, BL_EVENT_execve}) {
        Bytes bytes(
            builder.begin(static_cast<std::uint16_t>(kind)).facts(bl_event_task{}).finish());
        EXPECT_EQ(bytes.decode(), DecodeError::none);
        EXPECT_NE(bytes.event.task, nullptr);
    }
    Bytes bytes(builder.begin(BL_EVENT_openat).facts(bl_event_task{}).finish());
    EXPECT_EQ(bytes.decode(), DecodeError::bad_facts);
    Bytes socket(builder.begin(BL_EVENT_connect).facts(bl_event_sock{}).finish());
    EXPECT_EQ(socket.decode(), DecodeError::none);
    EXPECT_NE(socket.event.socket, nullptr);
}

TEST(Kinds, HaveNames) {
    EXPECT_EQ(kind_name(BL_EVENT_openat), "openat");
    EXPECT_EQ(kind_name(0), "");
    EXPECT_EQ(kind_name(9), "");
    EXPECT_EQ(kind_name(0xffff), "");
    for (std::uint16_t kind = 0; kind < BL_EVENT_KIND_MAX; ++kind) {
        EXPECT_TRUE(kind_name(kind).empty() || kind_of(kind_name(kind)) == kind) << kind;
    }
    for (const auto* name : {"fork", "vfork", "clone3", "clone"})
        EXPECT_EQ(kind_of(name), BL_EVENT_clone);
    EXPECT_EQ(kind_of(""), 0);
    EXPECT_EQ(kind_of("nothing"), 0);
}

TEST(RecordBuilder, CutsWhatIsTooLong) {
    RecordBuilder builder;
    builder.begin(BL_EVENT_execve);
    const std::string large(100'000, 'a');
    for (unsigned i = 0; i < BL_STR_FACTS; ++i)
        builder.text(i, large);
    Bytes bytes(builder.facts(bl_event_task{}).finish());
    ASSERT_EQ(bytes.decode(), DecodeError::none);
    EXPECT_EQ(bytes.event.text[0].size(), RecordBuilder::kLongest);
    EXPECT_NE(bytes.event.head.flags & BL_EVENT_TRUNCATED, 0);
    EXPECT_NE(bytes.event.task, nullptr);
    expect_bounded(bytes);
}

} // namespace
} // namespace beeline::security
