// The section `l7` of the configuration: which application protocols are read, of whom, and at what cost.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "model/l7_choice.h"
#include "observe/l7/options.h"
#include "source/yaml.h"

namespace beeline::agent {

struct L7Config {
    model::L7Choice choice;
    bool tls = true;                             // read plain text from TLS libraries
    std::uint64_t bytes_per_second = 32UL << 20; // of one workload
    std::uint32_t bytes_of_client = 952; // of one packet; BL_L7_MEDIUM fits most heads of requests
    std::uint32_t bytes_of_server = 440; // BL_L7_HALF fits most heads of answers
    std::uint32_t ring_bytes = 4U << 20;
    observe::l7::Options options;
};

Result<> read_l7(const source::yaml::Map& root, L7Config& config);

} // namespace beeline::agent
