#include <gtest/gtest.h>

#include "security/events/event.h"
#include "security/events/test_records.h"

namespace beeline::security {
namespace {

using testing::Record;
using testing::RecordBuilder;

DecodeError decode_of(const Record& record, Event& event) { return decode(record.bytes(), event); }

TEST(Decode, NamesAndNumbersOfKinds) {
    EXPECT_EQ(kind_name(BL_EVENT_openat), "openat");
    EXPECT_EQ(kind_name(BL_EVENT_lost), "lost");
    EXPECT_EQ(kind_name(0), "");
    EXPECT_EQ(kind_name(9999), "");
#define X(name, number, nr64, nr32, shape) EXPECT_EQ(kind_of(#name), number);
    BL_EVENT_KINDS(X)
#undef X
    EXPECT_EQ(kind_of("vfork"), BL_EVENT_clone);
    EXPECT_EQ(kind_of("clone3"), BL_EVENT_clone);
    EXPECT_EQ(kind_of("nothing"), 0);
    EXPECT_EQ(kind_of(""), 0);
}

TEST(Decode, TextsPointIntoTheRecord) {
    bl_event_file file{};
    file.ino = 42;
    const Record record = RecordBuilder(BL_EVENT_openat)
                              .process(7, 1)
                              .text(BL_STR_PATH, "passwd")
                              .text(BL_STR_RESOLVED, "/etc/passwd")
                              .text(BL_STR_BASE, "")
                              .facts(file)
                              .build();
    Event event;
    ASSERT_EQ(decode_of(record, event), DecodeError::none);
    EXPECT_EQ(event.head.pid, 7U);
    EXPECT_EQ(event.text[BL_STR_PATH], "passwd");
    EXPECT_EQ(event.text[BL_STR_RESOLVED], "/etc/passwd");
    EXPECT_TRUE(event.has(BL_STR_BASE));
    EXPECT_FALSE(event.has(BL_STR_PATH2));
    ASSERT_NE(event.file, nullptr);
    EXPECT_EQ(event.file->ino, 42U);
    EXPECT_EQ(event.socket, nullptr);
    EXPECT_EQ(event.task, nullptr);
}

TEST(Decode, NothingOfTheLastEventStays) {
    Event event;
    ASSERT_EQ(
        decode_of(
            RecordBuilder(BL_EVENT_openat).text(BL_STR_PATH, "x").facts(bl_event_file{}).build(),
            event),
        DecodeError::none);
    ASSERT_EQ(decode_of(RecordBuilder(BL_EVENT_setuid).build(), event), DecodeError::none);
    EXPECT_FALSE(event.has(BL_STR_PATH));
    EXPECT_EQ(event.file, nullptr);
}

TEST(Decode, Refuses) {
    Event event;
    const Record good =
        RecordBuilder(BL_EVENT_openat).text(BL_STR_PATH, "12345678").facts(bl_event_file{}).build();
    EXPECT_EQ(decode(good.bytes().first(127), event), DecodeError::too_short);
    EXPECT_EQ(decode({}, event), DecodeError::too_short);
    EXPECT_EQ(decode(good.bytes().first(130), event), DecodeError::bad_size);

    const auto spoilt = [&](auto change) {
        Record record = good;
        change(record.head());
        return decode_of(record, event);
    };
    EXPECT_EQ(spoilt([](bl_event& h) { h.size -= 1; }), DecodeError::bad_size);
    EXPECT_EQ(spoilt([](bl_event& h) { h.kind = 0; }), DecodeError::bad_kind);
    EXPECT_EQ(spoilt([](bl_event& h) { h.kind = 255; }), DecodeError::bad_kind);
    EXPECT_EQ(spoilt([](bl_event& h) { h.kind = 256; }), DecodeError::bad_kind);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[0].offset = 127; }), DecodeError::bad_string);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[0].length = 41; }), DecodeError::bad_string);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[0].offset = 65535; }), DecodeError::bad_string);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[1] = {0, 1}; }), DecodeError::bad_string);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[0].length = 40; }), DecodeError::none);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[BL_STR_FACTS].offset -= 4; }), DecodeError::bad_facts);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[BL_STR_FACTS].length -= 8; }), DecodeError::bad_facts);
    EXPECT_EQ(spoilt([](bl_event& h) { h.str[BL_STR_FACTS].offset = 0; }), DecodeError::bad_facts);
    EXPECT_EQ(spoilt([](bl_event& h) { h.kind = BL_EVENT_clone; }), DecodeError::bad_facts);
    EXPECT_EQ(spoilt([](bl_event& h) { h.kind = BL_EVENT_comm; }), DecodeError::bad_facts);
}

TEST(Decode, DescriptorsHaveAFileOrASocket) {
    Event event;
    ASSERT_EQ(decode_of(RecordBuilder(BL_EVENT_write).facts(bl_event_sock{}).build(), event),
              DecodeError::none);
    EXPECT_NE(event.socket, nullptr);
    ASSERT_EQ(decode_of(RecordBuilder(BL_EVENT_write).facts(bl_event_file{}).build(), event),
              DecodeError::none);
    EXPECT_NE(event.file, nullptr);
}

} // namespace
} // namespace beeline::security
