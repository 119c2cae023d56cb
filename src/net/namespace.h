// Network namespaces: opening, entering and naming them.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace beeline::net {

// An open network namespace: it lives at least as long as this.
class Namespace {
public:
    // not_found when there is no such file, invalid when it is not a network namespace.
    static Result<Namespace> open(const std::string& path);
    static Result<Namespace> current(); // of the calling thread

    [[nodiscard]] int fd() const { return fd_.get(); }
    // Tells namespaces apart while they exist; the number of a dead one may come again.
    [[nodiscard]] std::uint64_t inode() const { return inode_; }
    [[nodiscard]] const std::string& path() const { return path_; }

private:
    Namespace(Fd fd, std::uint64_t inode, std::string path)
        : fd_(std::move(fd)), inode_(inode), path_(std::move(path)) {}
    Fd fd_;
    std::uint64_t inode_ = 0;
    std::string path_;
};

// The calling thread is in another network namespace while this lives. A thread that cannot return would do all its
// later work in the wrong network, so failing to return ends the process.
class InNamespace {
public:
    static Result<InNamespace> enter(const Namespace& netns);
    InNamespace(InNamespace&& other) noexcept : home_(std::move(other.home_)) {}
    InNamespace& operator=(InNamespace&&) = delete;
    ~InNamespace();

private:
    explicit InNamespace(Fd home) : home_(std::move(home)) {}
    Fd home_;
};

// Makes a new network namespace that lives until delete_named(path): a bind mount on a file, as `ip netns` does.
// Missing folders are made. `exists` when the file exists.
Result<> create_named(const std::string& path);
// Idempotent. Processes that run in it keep it alive, without a name.
Result<> delete_named(const std::string& path);

} // namespace beeline::net
