#include "ebpf/ring.h"

#include <array>

namespace beeline::ebpf {

Result<std::unique_ptr<Ring>> Ring::open(int map) {
    return std::unique_ptr<Ring>(new Ring(TRY(MergedRing::open(std::array{map}))));
}

Result<std::size_t> Ring::consume(const Callback& callback) { return ring_->consume(callback); }

} // namespace beeline::ebpf
