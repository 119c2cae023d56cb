#include "security/events/recording.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "security/events/json_read.h"

namespace beeline::security {
namespace {

constexpr std::string_view kMagic("BLREC\0\0\0", 8);
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeader = 16; // of the file, and of a frame
constexpr std::size_t kMostProblems = 20;

void put(std::string& out, std::uint32_t value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::uint32_t checksum(std::uint32_t type, std::uint32_t length, const void* payload) {
    const std::array<std::uint32_t, 2> front{type, length};
    auto crc = ::crc32(0, reinterpret_cast<const Bytef*>(front.data()), sizeof front);
    if (length != 0) crc = ::crc32(crc, static_cast<const Bytef*>(payload), length);
    return static_cast<std::uint32_t>(crc);
}

constexpr std::size_t padded(std::size_t size) { return (size + 7) & ~std::size_t{7}; }

struct FrameHeader {
    std::uint32_t type = 0;
    std::uint32_t length = 0;
    std::uint32_t crc = 0;
    std::uint32_t zero = 0;

    [[nodiscard]] bool plausible() const { return type >= 1 && type <= 3 && zero == 0; }
};
static_assert(sizeof(FrameHeader) == kHeader);

} // namespace

std::string recording_header() {
    std::string out(kMagic);
    put(out, kVersion);
    put(out, 0);
    return out;
}

std::string frame(FrameType type, std::string_view payload) {
    std::string out;
    out.reserve(kHeader + padded(payload.size()));
    const auto number = static_cast<std::uint32_t>(type);
    const auto length = static_cast<std::uint32_t>(payload.size());
    put(out, number);
    put(out, length);
    put(out, checksum(number, length, payload.data()));
    put(out, 0);
    out.append(payload);
    out.resize(kHeader + padded(payload.size()));
    return out;
}

std::string losses_frame(std::uint64_t lost) {
    return frame(FrameType::losses, dump_json({{"lost", lost}}));
}

std::uint64_t lost_of(std::string_view json) {
    const auto parsed = parse_json(json);
    const auto& lost = member(parsed, "lost");
    return lost.is_number_unsigned() ? lost.get<std::uint64_t>() : 0;
}

struct RecordingReader::State {
    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        if (mapped != nullptr) ::munmap(mapped, bytes.size());
    }

    [[nodiscard]] FrameHeader header_at(std::size_t offset) const {
        FrameHeader header;
        std::memcpy(&header, bytes.data() + offset, sizeof header);
        return header;
    }
    [[nodiscard]] std::size_t left(std::size_t offset) const { return bytes.size() - offset; }

    bool whole_at(std::size_t offset) {
        if (left(offset) < kHeader) return false;
        const auto header = header_at(offset);
        if (!header.plausible() || header.length > left(offset) - kHeader) return false;
        checked += header.length;
        return checksum(header.type, header.length, bytes.data() + offset + kHeader) == header.crc;
    }

    void tell(std::string problem) {
        if (++problem_count <= kMostProblems) problems.push_back(std::move(problem));
    }

    // Moves on to the next whole frame behind what is broken at `at`.
    void resynchronize() {
        const std::size_t broken = at;
        // Bytes that look like headers of long frames must not make this quadratic.
        const std::uint64_t most = checked + 4 * bytes.size() + (1U << 20);
        for (at += 8; at < bytes.size() && left(at) >= kHeader; at += 8) {
            if (whole_at(at)) {
                tell(fmt::format("offset {}: {} bytes are damaged", broken, at - broken));
                return;
            }
            if (checked > most) break;
        }
        at = bytes.size();
        const bool short_header = left(broken) < kHeader;
        const auto header = short_header ? FrameHeader{} : header_at(broken);
        if (short_header || (header.plausible() && header.length > left(broken) - kHeader))
            truncated = true;
        else
            tell(fmt::format("offset {}: damaged from here to the end", broken));
    }

    Result<> check_header() {
        if (bytes.size() < kHeader || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
            return fail(Code::invalid, "this is not a recording of Beeline");
        std::uint32_t version = 0;
        std::memcpy(&version, bytes.data() + kMagic.size(), sizeof version);
        if (version != kVersion)
            return fail(Code::unsupported, "the recording has version {}, this program reads {}",
                        version, kVersion);
        at = kHeader;
        return {};
    }

    std::span<const std::byte> bytes;
    std::vector<std::uint64_t> copy;
    void* mapped = nullptr;
    std::size_t at = 0;
    std::uint64_t checked = 0; // bytes that a checksum was made of
    bool truncated = false;
    std::vector<std::string> problems;
    std::size_t problem_count = 0;
};

RecordingReader::RecordingReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
RecordingReader::RecordingReader(RecordingReader&&) noexcept = default;
RecordingReader& RecordingReader::operator=(RecordingReader&&) noexcept = default;
RecordingReader::~RecordingReader() = default;

Result<RecordingReader> RecordingReader::open(const std::string& path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file) return fail_errno(errno, "open " + path);
    struct stat is{};
    if (::fstat(file.get(), &is) != 0) return fail_errno(errno, "stat " + path);
    if (!S_ISREG(is.st_mode)) return fail(Code::invalid, "{} is not a file", path);
    auto state = std::make_unique<State>();
    const auto size = static_cast<std::size_t>(is.st_size);
    if (size != 0) {
        void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
        if (mapped == MAP_FAILED) return fail_errno(errno, "map " + path);
        ::madvise(mapped, size, MADV_SEQUENTIAL);
        state->mapped = mapped;
        state->bytes = {static_cast<const std::byte*>(mapped), size};
    }
    if (auto good = state->check_header(); !good) return Failure(good.error().with(path));
    return RecordingReader(std::move(state));
}

Result<RecordingReader> RecordingReader::from_bytes(std::span<const std::byte> bytes) {
    auto state = std::make_unique<State>();
    state->copy.resize((bytes.size() + 7) / 8);
    if (!bytes.empty()) std::memcpy(state->copy.data(), bytes.data(), bytes.size());
    state->bytes = std::as_bytes(std::span(state->copy)).first(bytes.size());
    TRY(state->check_header());
    return RecordingReader(std::move(state));
}

std::optional<RecordingReader::Frame> RecordingReader::next() {
    State& state = *state_;
    if (state.at >= state.bytes.size()) return std::nullopt;
    if (!state.whole_at(state.at)) state.resynchronize();
    if (state.at >= state.bytes.size()) return std::nullopt;
    const auto header = state.header_at(state.at);
    Frame out;
    out.type = static_cast<FrameType>(header.type);
    out.offset = state.at;
    out.payload = state.bytes.subspan(state.at + kHeader, header.length);
    state.at = std::min(state.at + kHeader + padded(header.length), state.bytes.size());
    return out;
}

bool RecordingReader::truncated() const { return state_->truncated; }
const std::vector<std::string>& RecordingReader::problems() const { return state_->problems; }
std::size_t RecordingReader::problem_count() const { return state_->problem_count; }

} // namespace beeline::security
