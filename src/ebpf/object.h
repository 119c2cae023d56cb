// BPF objects, pinned maps and links: the only folder that talks to libbpf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

struct bpf_object;

namespace beeline::ebpf {

// Sends libbpf's messages to the log; call once at start.
void route_libbpf_logs();

// One compiled object: open -> configure -> load. Maps are shared with other objects and with the
// next run of the agent by their pins. Not thread-safe.
class Object {
public:
    // `elf` must outlive the object (it is the skeleton's embedded copy).
    static Result<Object> open(std::string_view name, std::span<const std::byte> elf);
    Object(Object&&) noexcept;
    Object& operator=(Object&&) noexcept;
    ~Object();

    // A pinned map of another layout or size: its name was given up, it lives on for the programs that still use it.
    struct Retired {
        std::string map;
        Fd fd;
    };
    // Every map but the object's own data sections is pinned as <directory>/<map>, or taken from there when it exists with
    // the same type, sizes and flags. Call it when the sizes are set.
    Result<std::vector<Retired>> pin_maps(const std::string& directory);
    Result<> set_max_entries(std::string_view map, std::uint32_t entries);
    // Replaces the object's read-only data, which must be exactly `data` long.
    Result<> set_rodata(std::span<const std::byte> data);
    // The same for a data section of its own name (".rodata.config"). Before load.
    Result<> set_section(std::string_view section, std::span<const std::byte> data);
    // Uses another object's map instead of making one. Before load.
    Result<> share_map(std::string_view map, int fd);
    // Does not load a program, such as one for a hook that this kernel lacks. Before load.
    Result<> leave_out(std::string_view program);
    // Another function or tracepoint of the kernel than the program's section names. Before load.
    Result<> set_target(std::string_view program, const std::string& target);
    // On failure the verifier's words are in the log.
    Result<> load();

    // After load. The descriptors stay the object's.
    [[nodiscard]] Result<int> program(std::string_view name) const;
    [[nodiscard]] Result<int> map(std::string_view name) const;

private:
    explicit Object(bpf_object* object) : object_(object) {}
    bpf_object* object_ = nullptr;
};

// Runs a program of type syscall with `context` in and out.
Result<> run_program(int program, std::span<std::byte> context);

// What test-run of a packet program gave back.
struct PacketRun {
    int verdict = 0;
    std::vector<std::uint8_t> packet;
    std::uint32_t mark = 0;
    std::uint32_t duration_ns = 0; // mean of the repeats
};
struct PacketContext {
    std::uint32_t ifindex = 1;
    std::uint32_t ingress_ifindex = 0;
};
Result<PacketRun> run_packet(int program, std::span<const std::uint8_t> packet,
                             const PacketContext& context, unsigned repeat = 1);

struct ProgramInfo {
    std::string name;
    std::uint64_t run_count = 0; // only while BPF statistics are on
    std::uint64_t run_time_ns = 0;
    std::uint32_t instructions = 0; // verified
};
Result<ProgramInfo> program_info(int program);

} // namespace beeline::ebpf
