// Flows as messages, made once for all followers that are at the same place.
//
// A thousand followers read every flow a thousand times. What they share is made by the first: the message that their
// filters look at, and its bytes for those without a mask. Readers that are alone somewhere make their own, which is cheaper.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>
#include <observer/observer.pb.h>

#include "api/hubble/convert.h"

namespace beeline::hubble {

// Any thread.
class FlowCache {
public:
    struct Entry {
        std::uint64_t number = 0;
        std::int64_t time_ns = 0;
        ::observer::GetFlowsResponse response;
        grpc::Slice bytes; // of `response`
    };

    // From how many followers on it is worth it.
    static constexpr int kFollowers = 4;
    [[nodiscard]] bool wanted() const { return followers_ >= kFollowers; }
    void join() { ++followers_; }
    void leave() { --followers_; }

    [[nodiscard]] std::shared_ptr<const Entry> get(const model::Flow& flow, const Origin& origin);

private:
    static constexpr std::size_t kSlots = 1024; // about 2 MB when full
    struct Slot {
        std::mutex mutex;
        std::shared_ptr<const Entry> entry;
    };
    std::atomic<int> followers_{0};
    std::array<Slot, kSlots> slots_;
};

} // namespace beeline::hubble
