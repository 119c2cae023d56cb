#include "security/events/recording.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "security/events/event.h"
#include "security/events/record_builder.h"

namespace beeline::security {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
    return std::as_bytes(std::span(text));
}

std::span<const std::byte> record(RecordBuilder& builder, std::uint32_t pid) {
    builder.begin(BL_EVENT_openat).head().pid = pid;
    return builder.text(BL_STR_PATH, "/etc/passwd").facts(bl_event_file{}).finish();
}

// Three frames, the texts of odd lengths.
std::string sample() {
    RecordBuilder builder;
    return recording_header() + frame(FrameType::context, "{\"hostname\":\"a\"}x") +
           frame(FrameType::event, record(builder, 7)) + losses_frame(12);
}

struct Read {
    std::vector<FrameType> types;
    std::vector<std::string> payloads;
    std::size_t problems = 0;
    bool truncated = false;
};

std::optional<Read> read_all(const std::string& file) {
    auto reader = RecordingReader::from_bytes(bytes_of(file));
    if (!reader) return std::nullopt;
    Read out;
    while (const auto next = reader->next()) {
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(next->payload.data()) % 8, 0U);
        out.types.push_back(next->type);
        out.payloads.emplace_back(next->text());
    }
    EXPECT_FALSE(reader->next());
    out.problems = reader->problem_count();
    out.truncated = reader->truncated();
    return out;
}

TEST(Recording, ReadsBackWhatWasWritten) {
    const auto read = read_all(sample());
    ASSERT_TRUE(read);
    ASSERT_EQ(read->types, (std::vector{FrameType::context, FrameType::event, FrameType::losses}));
    EXPECT_EQ(read->payloads[0], "{\"hostname\":\"a\"}x");
    EXPECT_EQ(lost_of(read->payloads[2]), 12U);
    EXPECT_EQ(read->problems, 0U);
    EXPECT_FALSE(read->truncated);
}

TEST(Recording, GivesRecordsOfAMappedFileToTheDecoder) {
    const std::string path = ::testing::TempDir() + "beeline_rec_" + std::to_string(::getpid());
    std::ofstream(path, std::ios::binary) << sample();
    auto reader = RecordingReader::open(path);
    std::filesystem::remove(path);
    ASSERT_TRUE(reader);
    reader->next();
    const auto next = reader->next();
    ASSERT_TRUE(next);
    Event event;
    ASSERT_EQ(decode(next->payload, event), DecodeError::none);
    EXPECT_EQ(event.head.pid, 7U);
    EXPECT_EQ(event.text[BL_STR_PATH], "/etc/passwd");
    EXPECT_NE(event.file, nullptr);
}

TEST(Recording, RefusesWhatIsNoRecording) {
    EXPECT_FALSE(read_all(""));
    EXPECT_FALSE(read_all("BLREC"));
    EXPECT_FALSE(read_all(std::string(64, 'x')));
    auto newer = sample();
    newer[8] = 2;
    EXPECT_FALSE(read_all(newer));
    EXPECT_FALSE(RecordingReader::open("/nonexistent/file"));
    const auto folder = RecordingReader::open("/tmp");
    ASSERT_FALSE(folder);
    EXPECT_NE(folder.error().message.find("/tmp"), std::string::npos);
    EXPECT_FALSE(RecordingReader::open("/dev/null"));
    EXPECT_TRUE(read_all(recording_header()));
}

TEST(Recording, ToleratesACutTail) {
    const auto whole = sample();
    const auto first =
        recording_header().size() + frame(FrameType::context, std::string(17, ' ')).size();
    for (std::size_t size = recording_header().size(); size < whole.size(); ++size) {
        const auto read = read_all(whole.substr(0, size));
        ASSERT_TRUE(read) << size;
        EXPECT_EQ(read->problems, 0U) << size;
        EXPECT_TRUE(size < first || !read->types.empty()) << size;
    }
    EXPECT_TRUE(read_all(whole.substr(0, whole.size() - 9))->truncated);
}

TEST(Recording, GoesOnBehindADamagedFrame) {
    const auto whole = sample();
    for (std::size_t at = recording_header().size(); at < whole.size(); ++at) {
        for (const int bit : {0, 3, 7}) {
            auto damaged = whole;
            damaged[at] = static_cast<char>(damaged[at] ^ (1 << bit));
            const auto read = read_all(damaged);
            ASSERT_TRUE(read);
            // Padding is nobody's; anything else costs exactly the frame that it is in.
            EXPECT_GE(read->types.size(), 2U) << at;
            EXPECT_TRUE(read->types.size() == 3 || read->problems == 1 || read->truncated) << at;
        }
    }
}

TEST(Recording, FindsFramesBehindGarbageInTime) {
    // A long run of bytes that all look like headers of long frames.
    std::string bad = recording_header();
    const std::uint32_t header[4] = {1, 1 << 20, 0, 0};
    for (int i = 0; i < 200'000; ++i)
        bad.append(reinterpret_cast<const char*>(header), sizeof header);
    const auto read = read_all(bad);
    ASSERT_TRUE(read);
    EXPECT_TRUE(read->types.empty());
    EXPECT_EQ(read->problems, 1U);
}

TEST(Recording, CarriesItsContext) {
    RecordingContext context;
    context.hostname = "node\xff"; // no UTF-8
    context.boot_time_ns = -5;
    context.users = {{0, "root"}, {1000, "me"}};
    context.groups = {{4, "adm"}};
    context.addresses = {"10.0.0.1", "::1"};
    Container container;
    container.id = "0123456789ab";
    container.full_id = "0123456789abcdef";
    container.runtime = "podman";
    container.complete = true;
    container.name = "web";
    container.image = "example.org/web:1@sha256:aa";
    container.image_repository = "example.org/web";
    container.image_tag = "1";
    container.image_digest = "sha256:aa";
    container.image_id = "77";
    container.privileged = true;
    container.mounts = {{"/a", "/b", "Z", true, "rprivate"}};
    container.labels = {{"k", "v"}};
    container.pod_labels = {{"app", "w"}};
    container.pod_namespace = "ns";
    container.pod_name = "pod";
    container.pod_uid = "uid";
    container.pod_sandbox_id = "sandbox";
    container.host_name = "web-1";
    container.addresses = {"10.1.1.1"};
    container.users = {{5, "five"}};
    container.groups = {{6, "six"}};
    context.placements[1ULL << 40U] = {std::make_shared<const Container>(container), "ns/web"};
    context.placements[3] = {};

    const auto back = context_from_json(to_json(context));
    ASSERT_TRUE(back);
    EXPECT_TRUE(back->hostname.starts_with("node"));
    EXPECT_EQ(back->boot_time_ns, -5);
    EXPECT_EQ(back->users, context.users);
    EXPECT_EQ(back->groups, context.groups);
    EXPECT_EQ(back->addresses, context.addresses);
    ASSERT_EQ(back->placements.size(), 2U);
    EXPECT_EQ(back->placements.at(3).container, nullptr);
    const auto& placement = back->placements.at(1ULL << 40U);
    EXPECT_EQ(placement.workload, "ns/web");
    ASSERT_NE(placement.container, nullptr);
    EXPECT_EQ(placement.container->mounts.at(0).propagation, "rprivate");
    EXPECT_TRUE(placement.container->mounts.at(0).writable);
    EXPECT_EQ(placement.container->users, container.users);
    EXPECT_EQ(placement.container->groups, container.groups);
    EXPECT_EQ(placement.container->labels, container.labels);
    EXPECT_EQ(placement.container->pod_labels, container.pod_labels);
    EXPECT_TRUE(placement.container->privileged);
    // Every other field: the same JSON again.
    context.hostname = "node";
    EXPECT_EQ(to_json(*context_from_json(to_json(context))), to_json(context));
}

TEST(Recording, ReadsAnyContext) {
    EXPECT_FALSE(context_from_json(""));
    EXPECT_FALSE(context_from_json("[]"));
    EXPECT_FALSE(context_from_json("{"));
    const auto read = context_from_json(
        R"({"hostname":1,"boot_time_ns":"x","users":{"a":"b","-1":"c","7":8,"9":"nine"},"groups":[],
            "addresses":[1,"a"],"placements":{"x":{},"5":{"container":7,"workload":[]},
            "6":{"container":{"mounts":[1,{"source":"/s"}],"labels":{"a":1},"users":7,"complete":"no"}}}})");
    ASSERT_TRUE(read);
    EXPECT_EQ(read->users.size(), 1U);
    EXPECT_EQ(read->addresses, std::vector<std::string>{"a"});
    ASSERT_EQ(read->placements.size(), 2U);
    EXPECT_EQ(read->placements.at(6).container->mounts.size(), 2U);
    EXPECT_EQ(lost_of("{\"lost\":-1}"), 0U);
    EXPECT_EQ(lost_of("x"), 0U);
}

} // namespace
} // namespace beeline::security
