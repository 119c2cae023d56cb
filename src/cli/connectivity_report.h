// The results of a connectivity test for people and for machines.
#pragma once

#include <string>
#include <vector>

#include "cli/connectivity_run.h"
#include "cli/context.h"

namespace beeline::cli {

struct ConnectivitySummary {
    std::size_t passed = 0;
    std::size_t failed = 0;
    std::size_t skipped = 0;
};
ConnectivitySummary summarize(const std::vector<CaseResult>& results);

// Groups with their counts, then each failure with what is known about it, then why cases were left out. With `each`
// also a line for every case.
void print_report(Context& context, const std::vector<CaseResult>& results, bool each);

nlohmann::json report_json(const std::vector<CaseResult>& results);
// JUnit's XML: a suite for each group.
std::string report_junit(const std::vector<CaseResult>& results);

// The table of docs/connectivity.md, and of --list.
void print_cases(Context& context, const std::vector<const Case*>& cases);
nlohmann::json cases_json(const std::vector<const Case*>& cases);

} // namespace beeline::cli
