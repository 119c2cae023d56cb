// Files elsewhere in the tree that must agree with the code: the fuzzer's seeds and the user page.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include "observe/decode.h"
#include "observe/drop_reason.h"
#include "observe/test_events.h"

namespace beeline::observe {
namespace {

using namespace testing;
namespace fs = std::filesystem;

const fs::path kData = BEELINE_TEST_DATA;

std::string read(const fs::path& path) {
    std::stringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
}

std::string text(const bl_flow_event& event) {
    return {reinterpret_cast<const char*>(&event), sizeof event};
}

std::map<std::string, std::string> seeds() {
    std::map<std::string, std::string> out;
    out["opened"] = text(opened());
    out["closed"] = text(closed());
    out["denied"] = text(denied());
    bl_flow_event event = closed();
    event.kind = BL_FLOW_replied;
    event.key.proto = 17;
    out["replied_udp"] = text(event);
    event = denied(BL_DIR_EGRESS);
    event.kind = BL_FLOW_revoked;
    out["revoked"] = text(event);
    event = opened();
    event.key.proto = 58;
    event.key.src = addr("fd00::2");
    event.key.dst = addr("fd00::3");
    event.icmp_type = 128;
    out["ping6"] = text(event);
    event = denied();
    event.reason = BL_DROP_INVALID_SOURCE_IP;
    event.endpoint[0] = event.identity[0] = 0;
    out["forged"] = text(event);
    event = opened();
    std::memcpy(event.process[0].comm, "\xff\"\\\n\x01 sixteen!!", 15);
    out["comm_not_utf8"] = text(event);
    out["bad_short"] = text(opened()).substr(0, 100);
    event.kind = 99;
    out["bad_kind"] = text(event);
    return out;
}

// After a change of struct bl_flow_event: BEELINE_WRITE_SEEDS=1 observe_test --gtest_filter='Files.*'
TEST(Files, FuzzSeedsAreUpToDate) {
    const fs::path folder = kData / "fuzz" / "flow_record";
    for (const auto& [name, content] : seeds()) {
        if (::getenv("BEELINE_WRITE_SEEDS") != nullptr)
            std::ofstream(folder / name, std::ios::binary) << content;
        EXPECT_EQ(read(folder / name), content) << name;
        const auto event = decode_flow(std::as_bytes(std::span(content)));
        EXPECT_EQ(event.has_value(), !name.starts_with("bad_")) << name;
    }
}

TEST(Files, UserPageListsEveryDropReason) {
    const std::string page = read(kData.parent_path().parent_path() / "docs" / "flows.md");
    std::size_t rows = 0;
    for (std::size_t at = 0; (at = page.find("\n| 1", at)) != std::string::npos; ++at)
        ++rows;
    for (std::size_t at = 0; (at = page.find("\n| 2", at)) != std::string::npos; ++at)
        ++rows;
    std::size_t reasons = 0;
#define X(name, number, text)                                                                      \
    ++reasons;                                                                                     \
    EXPECT_NE(page.find(fmt::format("\n| {} | `{}` | {} |", number, #name, text)),                 \
              std::string::npos)                                                                   \
        << "docs/flows.md lacks | " << number << " | `" #name "` | " << text << " |";
    BL_DROP_REASONS(X)
#undef X
    EXPECT_EQ(rows, reasons) << "docs/flows.md has a row that is no drop reason";
}

} // namespace
} // namespace beeline::observe
