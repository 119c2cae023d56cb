// What a field yields, and where a condition is looked at.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "security/engine/engine.h"

namespace beeline::security::engine {

enum class Type : std::uint8_t {
    text,
    path, // text that names a file
    bytes,
    boolean,
    int64,
    uint64,
    port,
    duration, // ns
    time,     // ns since the epoch
    ip,
    net,
};
std::string_view type_name(Type type);

struct Value {
    std::string_view text;            // text, path, bytes
    std::uint64_t number = 0;         // the rest but ip and net; signed ones as two's complement
    const std::uint8_t* ip = nullptr; // 16 bytes, IPv4 mapped
};

// Memory of one event: texts that must be put together. Bounded: when it is full, texts are cut.
class Arena {
public:
    static constexpr std::size_t kSize = 128 << 10;
    void clear() { used_ = 0; }
    // At most `size` bytes, fewer when it is nearly full.
    char* take(std::size_t size, std::size_t& got) {
        got = size < kSize - used_ ? size : kSize - used_;
        char* at = bytes_.get() + used_;
        used_ += got;
        return at;
    }
    // Gives back what a take() did not need after all.
    void give_back(std::size_t size) { used_ -= size; }
    [[nodiscard]] std::size_t used() const { return used_; }

private:
    std::unique_ptr<char[]> bytes_ = std::make_unique<char[]>(kSize);
    std::size_t used_ = 0;
};

// Puts one text together in an arena.
class Writer {
public:
    explicit Writer(Arena& arena) : arena_(arena) { at_ = arena.take(Arena::kSize, room_); }
    ~Writer() { finish(); }
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    void add(std::string_view text) {
        const std::size_t size = text.size() < room_ - size_ ? text.size() : room_ - size_;
        if (size != 0) std::memcpy(at_ + size_, text.data(), size);
        size_ += size;
    }
    void add(char byte) {
        if (size_ < room_) at_[size_++] = byte;
    }
    void add_number(std::uint64_t number, unsigned base = 10);
    void add_signed(std::int64_t number);
    void add_ip(const std::uint8_t* ip);
    [[nodiscard]] bool empty() const { return size_ == 0; }
    void truncate(std::size_t size) { size_ = size; }
    [[nodiscard]] std::string_view text() const { return {at_, size_}; }
    std::string_view finish() {
        if (!done_) arena_.give_back(room_ - size_);
        done_ = true;
        return {at_, size_};
    }

private:
    Arena& arena_;
    char* at_ = nullptr;
    std::size_t room_ = 0, size_ = 0;
    bool done_ = false;
};

// The file or socket of an event, as fd.* tell it.
struct FdView {
    enum class Role : std::uint8_t { none, client, server }; // of this process
    bool present = false;
    bool file = false; // a file or directory: it has a directory and perhaps a file name
    bool directory = false;
    bool socket = false; // IPv4 or IPv6
    bool listening = false;
    bool has_name = false;
    Role role = Role::none;
    char typechar = '?';
    std::string_view type;
    std::string_view protocol;
    std::string_view name;
    std::string_view raw;
};

// One event being looked at. The path fields can be seen in two ways: as asked for, and as reached.
struct Scene {
    const Event* event = nullptr;
    const Process* process = nullptr;
    const HostFacts* host = nullptr;
    const ProcessTree* tree = nullptr;
    const std::map<std::string, std::string>* statics = nullptr;
    bool reached = false; // path fields tell the file that was reached
    Arena arena;

    // Made when first asked for.
    FdView fd[2]; // by `reached`
    bool fd_known[2] = {false, false};
    std::array<const Process*, 8> ancestors{}; // [0] the parent
    unsigned ancestors_known = 0;
    bool ancestors_end = false;

    void set(const Event& now) {
        event = &now;
        process = now.process;
        reached = false;
        arena.clear();
        fd_known[0] = fd_known[1] = false;
        ancestors_known = 0;
        ancestors_end = false;
    }
    // 0: the process itself.
    const Process* ancestor(std::size_t generation);
};

const FdView& fd_view(Scene& scene);

// Ancestries are chains that end; this only guards against a damaged one.
inline constexpr std::size_t kDeepest = 4096;

} // namespace beeline::security::engine
