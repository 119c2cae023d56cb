// libs: beeline_security_events
// Records of the sensors: whatever the bytes are, decode() refuses them or every text and fact lies within, and the tree
// stays whole. Input: records one after the other, each as long as its head says.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "security/events/process_tree.h"

using namespace beeline::security;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

bool inside(std::span<const std::byte> record, const void* at, std::size_t size) {
    const auto* begin = static_cast<const std::byte*>(at);
    return begin >= record.data() && begin + size <= record.data() + record.size();
}

void check(std::span<const std::byte> record, const Event& event) {
    require(!kind_name(event.head.kind).empty());
    require(kind_of(kind_name(event.head.kind)) == event.head.kind);
    for (const std::string_view text : event.text)
        if (text.data() != nullptr) require(inside(record, text.data(), text.size()));
    if (event.file != nullptr) require(inside(record, event.file, sizeof(*event.file)));
    if (event.socket != nullptr) require(inside(record, event.socket, sizeof(*event.socket)));
    if (event.task != nullptr) require(inside(record, event.task, sizeof(*event.task)));
    require((event.file != nullptr) + (event.socket != nullptr) + (event.task != nullptr) <= 1);
}

void check(const ProcessTree& tree) {
    std::size_t count = 0;
    tree.for_each([&](const Process& process) {
        ++count;
        require(process.image != nullptr);
        require(tree.find(process.key) != nullptr);
        require(tree.find_pid(process.key.pid) != nullptr);
        std::size_t depth = 0;
        for (const Process* up = &process; up != nullptr; up = up->parent)
            require(++depth <= 64);
        (void)tree.session_leader(process);
    });
    require(count == tree.stats().live + tree.stats().exited);
    require(count <= 24);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    ProcessTree::Options options;
    options.limit = 16;
    ProcessTree tree(options, [](std::uint64_t cgroup) {
        return Placement{cgroup % 2 == 0 ? nullptr : std::make_shared<const Container>(), {}};
    });
    std::vector<std::uint64_t> words;
    while (size > 0) {
        std::size_t length = size;
        if (size >= sizeof(bl_event)) {
            bl_event head{};
            std::memcpy(&head, data, sizeof(head));
            if (head.size >= sizeof(head)) length = std::min<std::size_t>(head.size, size);
        }
        words.assign((length + 7) / 8, 0);
        std::memcpy(words.data(), data, length);
        const auto record = std::as_bytes(std::span(words)).first(length);
        data += length;
        size -= length;
        Event event;
        if (decode(record, event) != DecodeError::none) continue;
        check(record, event);
        tree.apply(event);
        require(event.process != nullptr && event.number != 0);
        require(tree.find(event.process->key) == event.process);
        check(tree);
    }
    tree.place_again(0);
    return 0;
}
