#include "cli/connectivity_report.h"

#include <algorithm>
#include <map>

#include "cli/table.h"

namespace beeline::cli {
namespace {

constexpr std::string_view kRed = "31";
constexpr std::string_view kGreen = "32";
constexpr std::string_view kYellow = "33";

std::string_view outcome_name(Outcome outcome) {
    switch (outcome) {
    case Outcome::passed: return "passed";
    case Outcome::failed: return "failed";
    case Outcome::skipped: return "skipped";
    }
    return "failed";
}

// Groups in the order of their first case.
std::vector<std::pair<std::string, std::vector<const CaseResult*>>>
grouped(const std::vector<CaseResult>& results) {
    std::vector<std::pair<std::string, std::vector<const CaseResult*>>> groups;
    for (const auto& result : results) {
        const auto name = result.test->group();
        auto at = std::find_if(groups.begin(), groups.end(),
                               [&](const auto& group) { return group.first == name; });
        if (at == groups.end()) {
            groups.push_back({name, {}});
            at = std::prev(groups.end());
        }
        at->second.push_back(&result);
    }
    return groups;
}

ConnectivitySummary count(const std::vector<const CaseResult*>& results) {
    ConnectivitySummary sum;
    for (const auto* result : results) {
        switch (result->outcome) {
        case Outcome::passed: ++sum.passed; break;
        case Outcome::failed: ++sum.failed; break;
        case Outcome::skipped: ++sum.skipped; break;
        }
    }
    return sum;
}

std::string milliseconds(std::uint64_t us) {
    return fmt::format("{:.1f} ms", static_cast<double>(us) / 1000);
}

std::string xml(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
        case '&': out += "&amp;"; break;
        case '<': out += "&lt;"; break;
        case '>': out += "&gt;"; break;
        case '"': out += "&quot;"; break;
        default:
            // XML has no other control characters.
            out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
        }
    }
    return out;
}

void print_failure(Context& context, const CaseResult& result) {
    const auto line = [&](std::string_view title, const std::string& value) {
        context.out << fmt::format("    {:<8} {}\n", title, printable(value));
    };
    context.out << fmt::format("\n{}  {}: {}\n", context.styled("FAILED", kRed), result.test->name,
                               printable(result.reason));
    line("proves", result.test->proves);
    std::string_view title = "found";
    for (const auto& finding : result.findings) {
        line(title, finding);
        title = "";
    }
    line("look at", result.test->look);
}

} // namespace

ConnectivitySummary summarize(const std::vector<CaseResult>& results) {
    std::vector<const CaseResult*> all;
    for (const auto& result : results)
        all.push_back(&result);
    return count(all);
}

void print_report(Context& context, const std::vector<CaseResult>& results, bool each) {
    if (each) {
        Table table({"RESULT", "CASE", "TOOK", "NOTE"});
        for (const auto& result : results)
            table.row({std::string(outcome_name(result.outcome)), result.test->name,
                       result.outcome == Outcome::skipped ? "" : milliseconds(result.took_us),
                       printable(result.reason)});
        table.print(context.out);
        context.out << '\n';
    }
    Table table({"GROUP", "PASSED", "FAILED", "SKIPPED"});
    for (const auto& [name, group] : grouped(results)) {
        const auto sum = count(group);
        table.row({name, std::to_string(sum.passed), std::to_string(sum.failed),
                   std::to_string(sum.skipped)});
    }
    table.print(context.out);

    std::map<std::string, std::size_t> skipped;
    for (const auto& result : results) {
        if (result.outcome == Outcome::failed) print_failure(context, result);
        if (result.outcome == Outcome::skipped) ++skipped[result.reason];
    }
    context.out << '\n';
    for (const auto& [reason, number] : skipped)
        context.out << fmt::format("{} {}: {}\n", context.styled("skipped", kYellow), number,
                                   printable(reason));
    const auto sum = summarize(results);
    const bool good = sum.failed == 0 && sum.passed != 0;
    context.out << fmt::format("{}: {} passed, {} failed, {} skipped\n",
                               good ? context.styled("connected", kGreen)
                                    : context.styled("not as it should be", kRed),
                               sum.passed, sum.failed, sum.skipped);
}

nlohmann::json report_json(const std::vector<CaseResult>& results) {
    auto cases = nlohmann::json::array();
    for (const auto& result : results) {
        nlohmann::json one{{"name", result.test->name},
                           {"group", result.test->group()},
                           {"proves", result.test->proves},
                           {"result", outcome_name(result.outcome)},
                           {"took_us", result.took_us}};
        if (!result.reason.empty()) one["reason"] = result.reason;
        if (result.outcome == Outcome::failed) {
            one["found"] = result.findings;
            one["look_at"] = result.test->look;
            if (!result.why.is_null()) one["why"] = result.why;
        }
        cases.push_back(std::move(one));
    }
    const auto sum = summarize(results);
    return {{"cases", std::move(cases)},
            {"passed", sum.passed},
            {"failed", sum.failed},
            {"skipped", sum.skipped}};
}

std::string report_junit(const std::vector<CaseResult>& results) {
    const auto all = summarize(results);
    std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    out += fmt::format("<testsuites name=\"beeline connectivity\" tests=\"{}\" failures=\"{}\" "
                       "skipped=\"{}\">\n",
                       results.size(), all.failed, all.skipped);
    for (const auto& [name, group] : grouped(results)) {
        const auto sum = count(group);
        out += fmt::format("  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" "
                           "skipped=\"{}\">\n",
                           xml(name), group.size(), sum.failed, sum.skipped);
        for (const auto* result : group) {
            out +=
                fmt::format("    <testcase classname=\"{}\" name=\"{}\" time=\"{:.6f}\"", xml(name),
                            xml(result->test->name), static_cast<double>(result->took_us) / 1e6);
            if (result->outcome == Outcome::passed) {
                out += "/>\n";
            } else if (result->outcome == Outcome::skipped) {
                out += fmt::format("><skipped message=\"{}\"/></testcase>\n", xml(result->reason));
            } else {
                out += fmt::format("><failure message=\"{}\">{}\n{}\nlook at: {}</failure>"
                                   "</testcase>\n",
                                   xml(result->reason), xml(result->test->proves),
                                   xml(fmt::format("{}", fmt::join(result->findings, "\n"))),
                                   xml(result->test->look));
            }
        }
        out += "  </testsuite>\n";
    }
    return out + "</testsuites>\n";
}

void print_cases(Context& context, const std::vector<const Case*>& cases) {
    Table table({"CASE", "PROVES"});
    for (const auto* one : cases)
        table.row({one->name, one->proves});
    table.print(context.out);
}

nlohmann::json cases_json(const std::vector<const Case*>& cases) {
    auto all = nlohmann::json::array();
    for (const auto* one : cases)
        all.push_back({{"name", one->name},
                       {"group", one->group()},
                       {"proves", one->proves},
                       {"from", one->from},
                       {"to", one->to},
                       {"look_at", one->look}});
    return {{"cases", std::move(all)}};
}

} // namespace beeline::cli
