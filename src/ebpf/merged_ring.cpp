#include "ebpf/merged_ring.h"

#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "ebpf/map.h"

namespace beeline::ebpf {
namespace {

constexpr std::size_t kHeader = BPF_RINGBUF_HDR_SZ;

// How much of a ring is read before the kernel hears of it: telling it costs a cache line that it wants too.
std::uint64_t release_step(std::size_t mask) { return (mask + 1) / 16; }

} // namespace

Result<std::unique_ptr<MergedRing::Source>> MergedRing::Source::map(int map) {
    const MapInfo info = TRY(map_info(map));
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t size = info.max_entries;
    void* consumer = mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
    if (consumer == MAP_FAILED) return fail_errno(errno, "cannot map ring " + info.name);
    void* producer =
        mmap(nullptr, page + size, PROT_READ, MAP_SHARED, map, static_cast<off_t>(page));
    if (producer == MAP_FAILED) {
        const int error = errno;
        munmap(consumer, page);
        return fail_errno(error, "cannot map ring " + info.name);
    }
    auto source = std::make_unique<Source>(static_cast<std::uint64_t*>(consumer),
                                           static_cast<const std::uint64_t*>(producer),
                                           static_cast<const std::byte*>(producer) + page, size);
    source->mapped_consumer_ = consumer;
    source->mapped_producer_ = producer;
    source->mapped_size_ = page + size;
    return source;
}

MergedRing::Source::~Source() {
    if (mapped_consumer_ != nullptr) {
        release();
        munmap(mapped_consumer_, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
        munmap(mapped_producer_, mapped_size_);
    }
}

MergedRing::Source::State MergedRing::Source::peek() {
    if (peeked_) return State::ready;
    for (;;) {
        if (position_ == known_) {
            known_ = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
            if (position_ == known_) return State::empty;
        }
        const auto* header = reinterpret_cast<const std::uint32_t*>(data_ + (position_ & mask_));
        const std::uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);
        if ((length & BPF_RINGBUF_BUSY_BIT) != 0) return State::busy;
        const std::size_t size = length & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
        // Headers are never cut: they are of 8 bytes, at multiples of 8.
        const std::size_t at = (position_ + kHeader) & mask_, rest = mask_ + 1 - at;
        if (size <= rest) {
            record_ = {data_ + at, size};
        } else if (size > mask_) {
            return State::empty; // no kernel writes that
        } else {
            joined_.resize((size + 7) / 8);
            auto* joined = reinterpret_cast<std::byte*>(joined_.data());
            std::memcpy(joined, data_ + at, rest);
            std::memcpy(joined + rest, data_, size - rest);
            record_ = {joined, size};
        }
        if ((length & BPF_RINGBUF_DISCARD_BIT) == 0 && size >= sizeof time_ns_) {
            std::memcpy(&time_ns_, record_.data(), sizeof time_ns_);
            peeked_ = true;
            return State::ready;
        }
        pop();
    }
}

void MergedRing::Source::pop() {
    peeked_ = false;
    position_ += (record_.size() + kHeader + 7) / 8 * 8;
    if (position_ - released_ >= release_step(mask_)) release();
}

void MergedRing::Source::release() {
    if (released_ == position_) return;
    released_ = position_;
    __atomic_store_n(consumer_, position_, __ATOMIC_RELEASE);
}

Result<std::unique_ptr<MergedRing>> MergedRing::open(std::span<const int> maps) {
    std::unique_ptr<MergedRing> ring(new MergedRing);
    ring->epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
    if (!ring->epoll_) return fail_errno(errno, "cannot make an epoll descriptor");
    for (const int map : maps) {
        ring->sources_.push_back(TRY(Source::map(map)));
        epoll_event event{};
        event.events = EPOLLIN;
        if (epoll_ctl(ring->epoll_.get(), EPOLL_CTL_ADD, map, &event) != 0)
            return fail_errno(errno, "cannot wait for a ring");
    }
    return ring;
}

std::unique_ptr<MergedRing> MergedRing::over(std::vector<std::unique_ptr<Source>> sources) {
    std::unique_ptr<MergedRing> ring(new MergedRing);
    ring->sources_ = std::move(sources);
    return ring;
}

MergedRing::~MergedRing() = default;

std::size_t MergedRing::consume(const Callback& callback, std::size_t limit) {
    std::size_t count = 0;
    for (; count < limit; ++count) {
        Source* first = nullptr;
        bool busy = false, empty = false;
        const auto look = [&] {
            // From the last ring to the first: what an earlier ring got before a later one's record showed up is seen.
            for (auto source = sources_.rbegin(); source != sources_.rend(); ++source) {
                switch ((*source)->peek()) {
                case Source::State::empty: empty = true; break;
                // Being written: may be older than all that is here.
                case Source::State::busy: busy = true; break;
                case Source::State::ready:
                    if (first == nullptr || (*source)->time_ns() <= first->time_ns())
                        first = source->get();
                    break;
                }
            }
        };
        look();
        // A ring that was empty may have got a record before this one was written: then it shows now.
        if (first != nullptr && empty) look();
        if (first == nullptr || busy) break;
        callback(first->record());
        first->pop();
    }
    for (const auto& source : sources_)
        source->release();
    return count;
}

} // namespace beeline::ebpf
