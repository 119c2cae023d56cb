// Makes records for tests, the way the kernel side does: RecordBuilder(BL_EVENT_openat).process(7, 1).text(...).bytes().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "security/events/event.h"

namespace beeline::security::testing {

// Texts closed by NULs, as arguments and environments are.
inline std::string nul_list(std::initializer_list<std::string_view> items) {
    std::string joined;
    for (const std::string_view item : items) {
        joined.append(item);
        joined.push_back('\0');
    }
    return joined;
}

// The bytes of a record, aligned as decode() needs them.
class Record {
public:
    Record(const void* bytes, std::size_t size) : words_((size + 7) / 8), size_(size) {
        std::memcpy(words_.data(), bytes, size);
    }
    [[nodiscard]] std::span<const std::byte> bytes() const {
        return std::as_bytes(std::span(words_)).first(size_);
    }
    [[nodiscard]] bl_event& head() { return *reinterpret_cast<bl_event*>(words_.data()); }

private:
    std::vector<std::uint64_t> words_;
    std::size_t size_;
};

class RecordBuilder {
public:
    explicit RecordBuilder(std::uint16_t kind) {
        head_.kind = kind;
        head_.time_ns = 1'000'000'000;
    }
    RecordBuilder& process(std::uint32_t pid, std::uint64_t start_ns) {
        head_.pid = head_.tid = pid;
        head_.start_ns = start_ns;
        return *this;
    }
    RecordBuilder& thread(std::uint32_t tid) {
        head_.tid = tid;
        return *this;
    }
    RecordBuilder& at(std::uint64_t time_ns) {
        head_.time_ns = time_ns;
        return *this;
    }
    RecordBuilder& user(std::uint32_t uid, std::uint32_t gid = 0) {
        head_.uid = uid;
        head_.gid = gid;
        return *this;
    }
    RecordBuilder& cgroup(std::uint64_t id) {
        head_.cgroup = id;
        return *this;
    }
    RecordBuilder& result(std::int64_t value) {
        head_.result = value;
        return *this;
    }
    RecordBuilder& num(unsigned index, std::uint64_t value) {
        head_.num[index] = value;
        return *this;
    }
    RecordBuilder& flags(std::uint16_t value) {
        head_.flags = value;
        return *this;
    }
    RecordBuilder& text(unsigned index, std::string_view value) {
        add(index, value.data(), value.size());
        return *this;
    }
    RecordBuilder& facts(const bl_event_file& file) { return facts_of(file); }
    RecordBuilder& facts(const bl_event_sock& socket) { return facts_of(socket); }
    RecordBuilder& facts(const bl_event_task& task) { return facts_of(task); }
    [[nodiscard]] Record build() const {
        std::string bytes(sizeof(head_), '\0');
        bytes += data_;
        bl_event head = head_;
        head.size = static_cast<std::uint32_t>(bytes.size());
        std::memcpy(bytes.data(), &head, sizeof(head));
        return {bytes.data(), bytes.size()};
    }

private:
    template <typename T>
    RecordBuilder& facts_of(const T& value) {
        data_.resize((data_.size() + 7) / 8 * 8);
        add(BL_STR_FACTS, &value, sizeof(value));
        return *this;
    }
    void add(unsigned index, const void* bytes, std::size_t size) {
        head_.str[index] = {static_cast<__u16>(sizeof(head_) + data_.size()),
                            static_cast<__u16>(size)};
        data_.append(static_cast<const char*>(bytes), size);
    }
    bl_event head_{};
    std::string data_;
};

// Facts of a process; the rest stays zero.
inline bl_event_task task_facts(std::uint32_t pid, std::uint64_t start_ns, std::uint32_t ppid,
                                std::uint64_t parent_start_ns, std::string_view comm) {
    bl_event_task task{};
    task.pid = task.vpid = pid;
    task.start_ns = start_ns;
    task.ppid = ppid;
    task.parent_start_ns = parent_start_ns;
    task.loginuid = task.session = 0xffffffff;
    std::memcpy(task.comm, comm.data(), std::min(comm.size(), sizeof(task.comm) - 1));
    return task;
}

} // namespace beeline::security::testing
