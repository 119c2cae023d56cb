// libs: beeline_security_events
// Records of the security sensors, any number of them: u16 length and the bytes. Whatever they are, decoding stays in the
// record and the tree stays a tree within its limit.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "security/events/event.h"
#include "security/events/process_tree.h"

using namespace beeline::security;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void touch(const Event& event) {
    volatile unsigned sum = 0;
    for (const auto text : event.text) {
        for (const char c : text)
            sum = sum + static_cast<unsigned char>(c);
    }
    if (event.file != nullptr) sum = sum + event.file->flags;
    if (event.socket != nullptr) sum = sum + event.socket->flags;
    if (event.task != nullptr) sum = sum + static_cast<unsigned char>(event.task->comm[15]);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t kLimit = 16;
    ProcessTree tree({.limit = kLimit, .keep_exited_ns = 1000, .boot_time_ns = 7},
                     [](std::uint64_t) { return Placement{}; });
    std::vector<std::uint64_t> words;
    std::uint64_t applied = 0;
    while (size >= 2) {
        std::uint16_t length = 0;
        std::memcpy(&length, data, 2);
        data += 2;
        size -= 2;
        const std::size_t taken = length < size ? length : size;
        words.assign((taken + 7) / 8, 0);
        if (taken != 0) std::memcpy(words.data(), data, taken);
        data += taken;
        size -= taken;
        Event event;
        if (decode(std::as_bytes(std::span(words)).first(taken), event) != DecodeError::none)
            continue;
        touch(event);
        tree.apply(event);
        require(event.number == ++applied);
        require(event.process != nullptr && event.process->image != nullptr);
        std::size_t depth = 0;
        for (const Process* up = event.process; up != nullptr; up = up->parent)
            require(++depth <= kLimit + 4);
        const Process* leader = tree.session_leader(*event.process);
        require(leader == nullptr || leader->image != nullptr);
    }
    std::size_t seen = 0;
    tree.for_each([&](const Process& process) {
        ++seen;
        require(tree.find_pid(process.key.pid) != nullptr);
    });
    const auto stats = tree.stats();
    require(seen == stats.live + stats.exited && seen <= kLimit + 4);
    return 0;
}
