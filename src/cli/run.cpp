#include "cli/run.h"

#include <unistd.h>

#include <ctime>
#include <memory>
#include <thread>

#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/run_list.h"
#include "cli/run_spec.h"
#include "cli/runtime.h"
#include "cli/runtime_log.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;

// An option that can be repeated and takes exactly one value each time, so that it leaves the `--` of a command alone.
CLI::Option* add_repeated(CLI::App* verb, const std::string& name, std::vector<std::string>& values,
                          const std::string& description) {
    return verb->add_option(name, values, description)->allow_extra_args(false);
}

CLI::Option* add_namespace(CLI::App* verb, std::string& space, const std::string& description) {
    return verb->add_option("-n,--namespace", space, description)->option_text("NAMESPACE");
}

// --- run ---------------------------------------------------------------------------------------

struct RunArguments {
    RunFlags flags;
    bool detach = false;
};

Result<int> run_verb(const RunArguments& arguments, Context& context) {
    const auto spec = parse_run(arguments.flags);
    if (!spec) {
        context.fail(spec.error(), kWrongUsage);
        return kWrongUsage;
    }
    TRY(require_root("run"));
    const auto paths = TRY(context.paths());
    const auto client = TRY(context.client());
    const auto outcome = TRY(arguments.detach ? run_detached(*spec, paths, client)
                                              : run_foreground(*spec, paths, client));
    if (!outcome.message.empty()) {
        context.fail(Error{Code::system, 0, outcome.message});
    } else if (arguments.detach) {
        context.out << outcome.record.title() << " started: pid " << outcome.record.pid;
        if (!outcome.record.addresses.empty())
            context.out << ", address " << joined(outcome.record.addresses, " ");
        context.out << '\n';
    }
    return outcome.exit_code;
}

void register_run(CLI::App& app, Context& context) {
    auto* verb = add_verb(
        app, "run", "Run a program as a workload of its own network",
        "beeline run --name web --namespace shop --label app=web --port name=http,port=8080 \\\n"
        "    --user www-data --memory 256M -d -- python3 -m http.server 8080\n"
        "beeline run --name client --namespace shop -- curl http://10.0.0.7:8080/");
    auto arguments = std::make_shared<RunArguments>();
    auto& flags = arguments->flags;
    verb->add_option("--name", flags.name, "Name, unique in its namespace")
        ->option_text("NAME")
        ->required();
    add_namespace(verb, flags.space, "Namespace (default: default)");
    add_repeated(verb, "--label", flags.labels, "Label, can be repeated")->option_text("KEY=VALUE");
    add_repeated(verb, "--port", flags.ports,
                 "Named port for services and policies, can be repeated: "
                 "name=http,protocol=tcp,port=8080")
        ->option_text("PORT");
    verb->add_option("--user", flags.user, "User, and group, by name or number (default: root)")
        ->option_text("USER[:GROUP]");
    add_repeated(verb, "--env", flags.environment,
                 "Environment variable, or the name of one to pass on, can be repeated")
        ->option_text("KEY[=VALUE]");
    add_repeated(verb, "--env-file", flags.environment_files, "File with such lines")
        ->option_text("FILE");
    add_repeated(verb, "--volume", flags.volumes,
                 "Show SOURCE at TARGET to this workload, can be repeated")
        ->option_text("SOURCE:TARGET[:ro]");
    verb->add_option("--workdir", flags.workdir, "Folder to start in")->option_text("FOLDER");
    verb->add_option("--memory", flags.memory, "Most memory: 256M, 2G")->option_text("SIZE");
    verb->add_option("--cpu", flags.cpu, "Most CPU time: 0.5, 2, 250m")->option_text("CPUS");
    verb->add_option("--hostname", flags.hostname, "Hostname (default: the name)")
        ->option_text("HOSTNAME");
    verb->add_option("--pid", flags.pid, "'host': share the host's process numbers")
        ->option_text("host");
    verb->add_flag("--privileged", flags.privileged, "Keep all capabilities, hide nothing");
    verb->add_flag("-d,--detach", arguments->detach,
                   "Return when the program has started; its output goes to 'beeline logs'");
    verb->add_option("command", flags.command, "After '--': program and arguments")
        ->option_text("-- COMMAND...");
    on_run(verb, context,
           [&context, arguments]() -> Result<int> { return run_verb(*arguments, context); });
}

// --- ps ----------------------------------------------------------------------------------------

struct PsArguments {
    std::string space;
    bool all = false;
};

// Also tells of what a supervisor that was killed had left.
Result<> clean_and_tell(Context& context, const api::Paths& paths, const api::Client& client) {
    for (const auto& title : TRY(clean_leftovers(paths, client)))
        context.err << title << ": cleaned up, its supervisor was killed\n";
    return {};
}

std::string status_cell(const nlohmann::json& row) {
    const auto status = text(row, "status");
    return status == "exited" ? fmt::format("exited {}", text(row, "exit_code")) : status;
}

std::string command_cell(const nlohmann::json& row, std::size_t most) {
    return command_text(texts(row, "command"), most);
}

std::vector<Column> ps_columns() {
    const auto live = [](auto cell) {
        return [cell](const nlohmann::json& row) {
            return row.contains("memory_bytes") ? cell(row) : std::string();
        };
    };
    return {
        column("NAMESPACE", "namespace"),
        column("NAME", "name"),
        {"PID",
         [](const nlohmann::json& row) { return number(row, "pid") == 0 ? "" : text(row, "pid"); }},
        {"STATUS", status_cell},
        {"AGE",
         [](const nlohmann::json& row) {
             return age_text(static_cast<std::int64_t>(number(row, "age_s")));
         }},
        {"ADDRESSES",
         [](const nlohmann::json& row) { return joined(texts(row, "addresses"), ","); }},
        {"CPU", live([](const nlohmann::json& row) {
             return fmt::format("{:.1f}%", member(row, "cpu_percent").get<double>());
         })},
        {"MEMORY",
         live([](const nlohmann::json& row) { return bytes_text(number(row, "memory_bytes")); })},
        {"COMMAND", [](const nlohmann::json& row) { return command_cell(row, 40); }},
        {"LABELS",
         [](const nlohmann::json& row) {
             std::vector<std::string> labels;
             for (const auto& [key, value] : member(row, "labels").items())
                 labels.push_back(fmt::format("{}={}", key, text(value)));
             return joined(labels, ",");
         },
         true},
        {"HOST PORTS",
         [](const nlohmann::json& row) {
             std::vector<std::string> ports;
             for (const auto& port : member(row, "host_ports"))
                 ports.push_back(fmt::format("{}->{}/{}", number(port, "port"),
                                             number(port, "target"), text(port, "protocol")));
             return joined(ports, ",");
         },
         true},
        column("SOURCE", "source", true),
        column("NOTE", "note", true),
    };
}

Result<int> ps_verb(const PsArguments& arguments, Context& context) {
    TRY(require_root("ps"));
    const auto paths = TRY(context.paths());
    const auto client = TRY(context.client());
    TRY(clean_and_tell(context, paths, client));
    const auto mounts = TRY(find_cgroup_mounts());
    const auto found = load_records(RunFiles(paths));
    for (const auto& problem : found.problems)
        context.err << "beeline: " << problem << '\n';
    nlohmann::json workloads;
    if (auto answer = client.get("/v1/workloads")) {
        workloads = list(*answer, "workloads");
    } else {
        context.err << "beeline: " << answer.error().message
                    << "; showing what 'beeline run' has started\n";
    }
    const RunListing listing{
        .space = arguments.space,
        .exited = arguments.all,
        .now = std::time(nullptr),
        .usage = [&](const std::string& cgroup) { return cgroup_usage(mounts, cgroup); }};
    auto rows = nlohmann::json::array();
    for (const auto& row : list_runs(found.records, workloads, listing))
        rows.push_back(to_json(row, listing.now));
    print_list(context, rows, ps_columns(), "no workloads");
    return kDone;
}

void register_ps(CLI::App& app, Context& context) {
    auto* verb = add_verb(app, "ps", "Workloads of this machine",
                          "beeline ps -a\nbeeline ps -n shop -o json");
    auto arguments = std::make_shared<PsArguments>();
    verb->add_flag("-a,--all", arguments->all, "Also those that have ended");
    add_namespace(verb, arguments->space, "Only this namespace");
    add_format(verb, context,
               {Format::table, Format::wide, Format::json, Format::jsonl, Format::yaml});
    on_run(verb, context,
           [&context, arguments]() -> Result<int> { return ps_verb(*arguments, context); });
}

// --- logs --------------------------------------------------------------------------------------

struct LogsArguments {
    std::string name;
    std::string space = "default";
    bool follow = false;
    bool timestamps = false;
    long tail = -1;
};

Failure unknown_workload(const std::string& space, const std::string& name) {
    return fail(Code::not_found,
                "'beeline run' has started no workload {}/{}: 'beeline ps -a' lists them", space,
                name);
}

Result<RunRecord> find_record(const RunFiles& files, const std::string& space,
                              const std::string& name) {
    TRY(check_dns_label("name", name));
    TRY(check_dns_label("--namespace", space));
    auto record = load_record(files, space + "_" + name);
    if (!record && record.error().code == Code::not_found) return unknown_workload(space, name);
    return record;
}

bool has_ended(const RunFiles& files, const RunRecord& record) {
    const auto now = load_record(files, record.key());
    return !now || now->container != record.container || now->status == RunRecord::Status::exited ||
           !now->supervised();
}

Result<int> logs_verb(const LogsArguments& arguments, Context& context) {
    TRY(require_root("logs"));
    const RunFiles files(TRY(context.paths()));
    const auto record = TRY(find_record(files, arguments.space, arguments.name));
    if (!record.detached) {
        return fail(Code::invalid,
                    "{} runs in the foreground: its output is where it was started (with -d it "
                    "goes to a log)",
                    record.title());
    }
    const auto print = [&](std::string_view line) {
        const auto parsed = parse_log_line(line);
        auto& out = parsed.stream == "stdout" ? context.out : context.err;
        if (arguments.timestamps) out << parsed.time << ' ';
        if (parsed.stream == "beeline") out << "beeline: ";
        out << parsed.text;
        if (parsed.full) out << '\n';
        return out.good();
    };
    LogReader reader(files.log(record.key()));
    TRY(reader.tail(arguments.tail, print));
    while (arguments.follow) {
        // In this order: what it wrote last is in the log before its record says that it has ended.
        const bool ended = has_ended(files, record);
        TRY(reader.more(print));
        context.out.flush();
        context.err.flush();
        if (ended || !context.out.good()) break;
        std::this_thread::sleep_for(100ms);
    }
    return kDone;
}

void register_logs(CLI::App& app, Context& context) {
    auto* verb = add_verb(app, "logs", "Output of a workload that was started with 'run -d'",
                          "beeline logs web -n shop -f --tail 20");
    auto arguments = std::make_shared<LogsArguments>();
    verb->add_option("name", arguments->name, "Name of the workload")->required();
    add_namespace(verb, arguments->space, "Its namespace (default: default)");
    verb->add_flag("-f,--follow", arguments->follow, "Go on until the workload ends");
    verb->add_flag("-t,--timestamps", arguments->timestamps, "Time of each line");
    verb->add_option("--tail", arguments->tail, "Only the last N lines")
        ->option_text("N")
        ->check(CLI::NonNegativeNumber);
    on_run(verb, context,
           [&context, arguments]() -> Result<int> { return logs_verb(*arguments, context); });
}

// --- stop --------------------------------------------------------------------------------------

struct StopArguments {
    std::vector<std::string> names;
    std::string space;
    bool all = false;
    bool forget = false;
    unsigned timeout_s = 10;
};

Result<std::vector<RunRecord>> wanted_records(const StopArguments& arguments,
                                              const RunFiles& files) {
    if (arguments.all) {
        auto found = load_records(files).records;
        std::erase_if(found, [&](const RunRecord& record) {
            return !arguments.space.empty() && record.space != arguments.space;
        });
        return found;
    }
    std::vector<RunRecord> found;
    found.reserve(arguments.names.size());
    for (const auto& name : arguments.names)
        found.push_back(
            TRY(find_record(files, arguments.space.empty() ? "default" : arguments.space, name)));
    return found;
}

Result<int> stop_verb(const StopArguments& arguments, Context& context) {
    if (arguments.names.empty() != arguments.all) {
        context.fail(Error{Code::invalid, 0, "name the workloads to stop, or say --all"},
                     kWrongUsage);
        return kWrongUsage;
    }
    TRY(require_root("stop"));
    const auto paths = TRY(context.paths());
    const auto client = TRY(context.client());
    const RunFiles files(paths);
    TRY(clean_and_tell(context, paths, client));
    const auto records = TRY(wanted_records(arguments, files));
    std::vector<RunRecord> live;
    for (const auto& record : records) {
        if (record.status != RunRecord::Status::exited) {
            live.push_back(record);
        } else if (!arguments.all && !arguments.forget) {
            context.err << record.title() << " has ended already (exited " << record.exit_code
                        << ")\n";
        }
    }
    TRY(stop_workloads(live, paths, client, std::chrono::seconds(arguments.timeout_s)));
    for (const auto& record : live)
        context.out << record.title() << " stopped\n";
    if (arguments.forget) {
        for (const auto& record : records) {
            remove_record(files, record.key());
            remove_log(files.log(record.key()));
            context.out << record.title() << " removed\n";
        }
    }
    return kDone;
}

void register_stop(CLI::App& app, Context& context) {
    auto* verb = add_verb(app, "stop", "Stop workloads that were started with 'run'",
                          "beeline stop web client -n shop\nbeeline stop --all");
    auto arguments = std::make_shared<StopArguments>();
    verb->add_option("names", arguments->names, "Names of the workloads");
    add_namespace(verb, arguments->space,
                  "Their namespace (default: default; with --all every one)");
    verb->add_flag("--all", arguments->all, "Every workload");
    verb->add_flag("--rm", arguments->forget, "Also remove their logs and exit codes");
    verb->add_option("--timeout", arguments->timeout_s,
                     "Kill what still runs after so many seconds (default 10)")
        ->option_text("SECONDS")
        ->check(CLI::Range(0U, 3600U));
    on_run(verb, context,
           [&context, arguments]() -> Result<int> { return stop_verb(*arguments, context); });
}

} // namespace

void register_run_commands(CLI::App& app, Context& context) {
    register_run(app, context);
    register_ps(app, context);
    register_logs(app, context);
    register_stop(app, context);
}

} // namespace beeline::cli
