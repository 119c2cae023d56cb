// Recordings: a file of records with what is needed to judge them elsewhere (`beeline record`, `beeline rules test`).
//
// A file is a 16-byte header ("BLREC", three NULs, u32 version, u32 0) and frames: u32 type, u32 length of the payload,
// u32 CRC-32 of both and the payload, u32 0, the payload, zeros up to a multiple of 8. All little-endian. So an event record
// in a mapped file is aligned as decode() wants it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "security/events/host.h"
#include "security/events/process_tree.h"

namespace beeline::security {

enum class FrameType : std::uint32_t {
    event = 1,   // a record as the kernel wrote it
    context = 2, // RecordingContext as JSON; a later one replaces what an earlier one said
    losses = 3,  // {"lost": n}: so many records are missing here
};

std::string recording_header();
std::string frame(FrameType type, std::string_view payload);
inline std::string frame(FrameType type, std::span<const std::byte> payload) {
    return frame(type,
                 std::string_view(reinterpret_cast<const char*>(payload.data()), payload.size()));
}
std::string losses_frame(std::uint64_t lost);

// Reads whatever the bytes are: a damaged frame is left out and told, and reading goes on with the next whole one.
class RecordingReader {
public:
    struct Frame {
        FrameType type = FrameType::event;
        std::span<const std::byte> payload; // 8-byte aligned; valid as long as the reader lives
        std::size_t offset = 0;             // in the file
        [[nodiscard]] std::string_view text() const {
            return {reinterpret_cast<const char*>(payload.data()), payload.size()};
        }
    };

    static Result<RecordingReader> open(const std::string& path);
    static Result<RecordingReader> from_bytes(std::span<const std::byte> bytes);
    RecordingReader(RecordingReader&&) noexcept;
    RecordingReader& operator=(RecordingReader&&) noexcept;
    ~RecordingReader();

    // Nothing at the end.
    std::optional<Frame> next();
    // Whether the last frame is not whole, as when the recorder was killed: no damage.
    [[nodiscard]] bool truncated() const;
    // What was damaged, with offsets; the first 20 of problem_count().
    [[nodiscard]] const std::vector<std::string>& problems() const;
    [[nodiscard]] std::size_t problem_count() const;

private:
    struct State;
    explicit RecordingReader(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// The number in a losses frame; 0 if there is none.
std::uint64_t lost_of(std::string_view json);

// What the machine knew beside the records.
struct RecordingContext : HostNames {
    std::map<std::uint64_t, Placement> placements; // by cgroup2 id
};

std::string to_json(const RecordingContext& context);
// Fields that are missing or of another type stay empty.
Result<RecordingContext> context_from_json(std::string_view json);

} // namespace beeline::security
