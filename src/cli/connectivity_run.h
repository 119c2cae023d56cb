// Runs the cases of the connectivity test and judges what came back.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "api/client/client.h"
#include "cli/connectivity_bed.h"

namespace beeline::cli {

enum class Outcome { passed, failed, skipped };

struct CaseResult {
    const Case* test = nullptr;
    Outcome outcome = Outcome::skipped;
    std::string reason;                // of a failure or of leaving it out
    std::vector<std::string> findings; // of a failure: what the agent knows about this pair
    nlohmann::json why;                // ... its whole answer
    std::uint64_t took_us = 0;
};

struct ConnectivityOptions {
    unsigned parallel = 8;
    std::chrono::milliseconds timeout{3000};
    std::chrono::milliseconds drop_wait{700}; // no answer for so long is none
    std::function<bool()> interrupted;
    std::function<void(const CaseResult&)> finished;
};

// In the order of `cases`; those that an interruption prevented are left out.
std::vector<CaseResult> run_cases(ConnectivityBed& bed, const api::Client& client,
                                  const std::vector<const Case*>& cases,
                                  const ConnectivityOptions& options);

// What GET /v1/why says, as lines for people.
std::vector<std::string> findings_of(const nlohmann::json& why);

// What the result of a probe lacks; empty when it is as expected. Drops are judged apart.
std::string judge_answer(const Case& one, const ProbeResult& result,
                         const std::vector<std::string>& expected_addresses,
                         const std::string& own_address, const std::string& asked_address);

} // namespace beeline::cli
