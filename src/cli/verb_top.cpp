#include <poll.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <sstream>

#include <fmt/format.h>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "cli/top_view.h"
#include "cli/verbs.h"

namespace beeline::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr unsigned kHeadRows = 4;

struct Flags {
    std::string sort = "rate";
    double interval_s = 2;
    unsigned rows = 0; // 0: as many as there are
    bool once = false;
};

struct Sample {
    json answer;
    Clock::time_point at;
};

class Top {
public:
    Top(Context& context, const Flags& flags, api::Client client)
        : context_(context), flags_(flags), client_(std::move(client)),
          order_(parse_top_order(flags.sort).value_or(TopOrder::rate)) {}

    Result<int> run() {
        catch_end();
        before_ = TRY(sample());
        const bool tables = context_.format == Format::table;
        if (tables && !flags_.once) {
            if (auto screen = Screen::open()) return live(*screen);
        }
        do {
            pause();
            if (ended() && !flags_.once) return kDone;
            Sample now = TRY(sample());
            print(now);
            before_ = std::move(now);
        } while (!flags_.once && !ended() && context_.out.good());
        return kDone;
    }

private:
    [[nodiscard]] int interval_ms() const { return static_cast<int>(flags_.interval_s * 1000); }
    void pause() const { ::poll(nullptr, 0, interval_ms()); }

    Result<Sample> sample() {
        Sample out;
        out.answer =
            TRY(client_.get(api::url("/v1/top", {{"window", fmt::format("{}ms", interval_ms())}})));
        out.at = Clock::now();
        return out;
    }
    std::vector<TopLine> lines(const Sample& now) const {
        const double seconds = std::chrono::duration<double>(now.at - before_.at).count();
        auto out = top_lines(now.answer, before_.answer, seconds, order_);
        if (flags_.rows != 0 && out.size() > flags_.rows) out.resize(flags_.rows);
        return out;
    }
    void print(const Sample& now) {
        const auto all = lines(now);
        const auto time = text(now.answer, "time");
        if (context_.format == Format::json) {
            json out = json::array();
            for (const auto& line : all)
                out.push_back(top_json(line, time));
            context_.out << out.dump(2, ' ', false, json::error_handler_t::replace) << '\n';
        } else if (context_.format == Format::jsonl) {
            for (const auto& line : all)
                context_.out << json_line(top_json(line, time)) << '\n';
        } else {
            table(all, context_.out);
            if (!flags_.once) context_.out << '\n';
        }
        context_.out.flush();
    }
    static void table(const std::vector<TopLine>& lines, std::ostream& out) {
        Table table(top_header());
        for (const auto& line : lines)
            table.row(top_cells(line));
        table.print(out);
    }

    Result<int> live(Screen& screen) {
        Sample now = before_;
        auto next = Clock::now();
        for (;;) {
            show(screen, now);
            const auto left =
                std::chrono::duration_cast<std::chrono::milliseconds>(next - Clock::now()).count();
            const auto key = screen.key(static_cast<int>(std::max<std::int64_t>(left, 0)));
            if (key && *key == 'q') return kDone;
            if (key) {
                press(*key);
                continue;
            }
            if (Clock::now() < next) continue;
            Sample newest = TRY(sample());
            if (newest.at - before_.at > std::chrono::milliseconds(interval_ms() / 2)) {
                before_ = std::move(now);
            }
            now = std::move(newest);
            next = Clock::now() + std::chrono::milliseconds(interval_ms());
        }
    }
    void press(char key) {
        switch (key) {
        case 'r': order_ = TopOrder::rate; break;
        case 'e': order_ = TopOrder::errors; break;
        case 'd': order_ = TopOrder::drops; break;
        case 'b': order_ = TopOrder::bytes; break;
        case 'l': order_ = TopOrder::latency; break;
        case 'c': order_ = TopOrder::cpu; break;
        case 'n': order_ = TopOrder::name; break;
        default: break;
        }
    }
    void show(Screen& screen, const Sample& now) const {
        auto all = lines(now);
        const unsigned room = screen.rows() > kHeadRows ? screen.rows() - kHeadRows : 1;
        const std::size_t hidden = all.size() > room ? all.size() - room : 0;
        all.resize(all.size() - hidden);
        std::ostringstream out;
        out << fmt::format("beeline top  every {}s  {} workloads{}{}\n", flags_.interval_s,
                           all.size() + hidden,
                           hidden != 0 ? fmt::format(", {} not shown", hidden) : "",
                           number(now.answer, "lost") != 0 ? "  flows were lost" : "");
        out << context_.styled("sort by: r rate  e errors  d drops  b bytes  l latency  c cpu  n "
                               "name   q quit",
                               "2")
            << "\n\n";
        table(all, out);
        screen.show(out.str());
    }

    Context& context_;
    const Flags& flags_;
    api::Client client_;
    TopOrder order_;
    Sample before_;
};

} // namespace

void register_top_commands(CLI::App& app, Context& context) {
    auto flags = std::make_shared<Flags>();
    auto* verb =
        add_verb(app, "top", "Workloads by rate, errors, drops, bytes, latency and CPU, live",
                 "beeline top\n"
                 "beeline top --sort errors --interval 5\n"
                 "beeline top --once -o json");
    verb->footer(
        verb->get_footer() +
        "\n\nRequests and latency are those of application protocols that are seen; "
        "elsewhere connections\nare counted. Bytes are those of connections "
        "that ended. CPU/REQ is the CPU time of the workload's cgroup\nfor each request, or "
        "each connection.");
    verb->add_option("--sort", flags->sort,
                     "rate (default), errors, drops, bytes, latency, cpu, name")
        ->option_text("KEY")
        ->check([](const std::string& key) {
            return parse_top_order(key) ? std::string()
                                        : fmt::format("'{}' is not one of rate, errors, drops, "
                                                      "bytes, latency, cpu, name",
                                                      key);
        });
    verb->add_option("--interval", flags->interval_s, "Seconds between two looks (default 2)")
        ->option_text("SECONDS")
        ->check(CLI::Range(0.1, 3600.0));
    verb->add_option("-n,--rows", flags->rows, "The first N only")->option_text("N");
    verb->add_flag("--once", flags->once, "One look, after one interval, and end");
    add_format(verb, context, {Format::table, Format::json, Format::jsonl});
    on_run(verb, context, [&context, flags]() -> Result<int> {
        if (context.format == Format::json && !flags->once) {
            context.fail(
                Error{Code::invalid, 0, "-o json is one answer: add --once, or use -o jsonl"},
                kWrongUsage);
            return kWrongUsage;
        }
        return Top(context, *flags, TRY(context.client())).run();
    });
}

} // namespace beeline::cli
