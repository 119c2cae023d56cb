#include "cli/runtime.h"

#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <memory>
#include <thread>

#include "base/log.h"
#include "cli/runtime_attach.h"
#include "cli/runtime_cgroup.h"
#include "cli/runtime_files.h"
#include "cli/runtime_log.h"
#include "cli/runtime_netns.h"
#include "cli/runtime_process.h"
#include "cli/runtime_supervise.h"
#include "net/namespace.h"

namespace beeline::cli {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kCleanUpWait = 20s; // longer than a supervisor needs when the agent does not answer

std::string cgroup_of(const api::Paths& paths, const std::string& key) {
    return paths.cgroup + "/workloads/" + key;
}

// Everything of a workload but its record: processes, attachment, namespace, cgroup. Goes on after a failure; the
// messages say what is left.
std::vector<std::string> clear_away(const RunRecord& record, const CgroupMounts& mounts,
                                    const api::Paths& paths, const api::Client& client) {
    std::vector<std::string> problems;
    const auto note = [&](const Result<>& result) {
        if (!result) problems.push_back(result.error().message);
    };
    cgroup_kill(mounts, record.cgroup);
    note(detach(client, paths, record));
    note(net::delete_named(record.netns));
    note(cgroup_remove(mounts, record.cgroup));
    return problems;
}

// The caller holds the lock.
std::vector<std::string> clean_leftovers_locked(const RunFiles& files, const CgroupMounts& mounts,
                                                const api::Paths& paths,
                                                const api::Client& client) {
    std::vector<std::string> cleaned;
    for (auto& record : load_records(files).records) {
        if (record.status == RunRecord::Status::exited || record.supervised()) continue;
        if (record.boot == boot_id())
            signal_process(open_process(record.pid, record.pid_start), SIGKILL);
        for (const auto& problem : clear_away(record, mounts, paths, client))
            log_warn("a leftover stays", kv("workload", record.title()), kv("error", problem));
        if (record.detached) {
            record.status = RunRecord::Status::exited;
            record.finished = std::time(nullptr);
            record.exit_code = 128 + SIGKILL;
            record.note = "its supervisor was killed";
            if (auto saved = save_record(files, record); !saved) log_warn(saved.error().message);
        } else {
            remove_record(files, record.key());
        }
        cleaned.push_back(record.title());
    }
    return cleaned;
}

Result<> make_folders(const RunFiles& files) {
    for (const auto& folder : {files.records, files.logs}) {
        TRY(make_folder(folder));
        // Commands and output of workloads are nobody else's business.
        if (::chmod(folder.c_str(), 0700) != 0) return fail_errno(errno, folder);
    }
    return {};
}

// One workload, from its record's first writing to its last.
class Run {
public:
    Run(const RunSpec& spec, const api::Paths& paths, const api::Client& client, bool detached)
        : spec_(spec), paths_(paths), client_(client), files_(paths), detached_(detached) {}
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    ~Run() { clear(); }

    // After a failure, also of the program's start, everything is gone again.
    Result<ExecReport> start(const std::string& directory);
    // Until the program has ended and everything is cleaned up.
    RunOutcome supervise();
    [[nodiscard]] const RunRecord& record() const { return record_; }

private:
    Result<> claim();
    Result<> isolate(const std::string& directory);
    void clear();

    const RunSpec& spec_;
    const api::Paths& paths_;
    const api::Client& client_;
    RunFiles files_;
    bool detached_;

    CgroupMounts mounts_;
    RunRecord record_;
    bool claimed_ = false;
    std::unique_ptr<Signals> signals_;
    std::unique_ptr<LogWriter> log_;
    std::unique_ptr<Terminal> terminal_;
    Fd out_; // read ends of the workload's output
    Fd err_;
    std::unique_ptr<Processes> processes_;
};

Result<> Run::claim() {
    mounts_ = TRY(find_cgroup_mounts());
    TRY(make_folders(files_));
    const Fd lock = TRY(lock_file(files_.lock));
    clean_leftovers_locked(files_, mounts_, paths_, client_);

    record_.space = spec_.space;
    record_.name = spec_.name;
    record_.labels = spec_.labels;
    record_.command = spec_.command;
    record_.user = spec_.user.name;
    record_.detached = detached_;
    record_.boot = boot_id();
    record_.supervisor = ::getpid();
    record_.supervisor_start = process_start(::getpid()).value_or(0);
    record_.container = TRY(new_container_id());
    record_.netns = paths_.run + "/netns/" + record_.container;
    record_.cgroup = cgroup_of(paths_, record_.key());
    record_.started = std::time(nullptr);

    const auto other = load_record(files_, record_.key());
    if (other && other->status != RunRecord::Status::exited) {
        return fail(
            Code::exists,
            "{} is {} already (pid {}): stop it first with 'beeline stop {} --namespace {}'",
            record_.title(), status_name(other->status), other->pid, spec_.name, spec_.space);
    }
    TRY(save_record(files_, record_));
    claimed_ = true;
    return {};
}

Result<> Run::isolate(const std::string& directory) {
    ProcessPlan plan{
        .spec = spec_, .netns = record_.netns, .hidden = {"/run/beeline"}, .directory = directory};
    if (!paths_.run.starts_with("/run/beeline")) plan.hidden.push_back(paths_.run);
    plan.own_session = detached_;
    Fd out;
    Fd err;
    Fd null;
    if (detached_) {
        log_ = std::make_unique<LogWriter>(TRY(LogWriter::create(files_.log(record_.key()))));
        TRY(make_output_pipe(out_, out));
        TRY(make_output_pipe(err_, err));
        null = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        plan.in = null.get();
        plan.out = out.get();
        plan.err = err.get();
    }
    TRY(cgroup_create(mounts_, record_.cgroup, {spec_.memory_bytes, spec_.cpu_millis}));
    TRY(netns_create(record_.netns));
    processes_ = std::make_unique<Processes>(TRY(Processes::create(
        plan, [&](pid_t pid) { return cgroup_add(mounts_, record_.cgroup, pid); })));
    record_.pid = processes_->main();
    record_.pid_start = process_start(record_.pid).value_or(0);
    return {};
}

Result<ExecReport> Run::start(const std::string& directory) {
    signals_ = std::make_unique<Signals>(TRY(Signals::take()));
    TRY(claim());
    TRY(isolate(directory));
    record_.attachment = attachment_body(spec_, record_);
    TRY(save_record(files_, record_));
    record_.addresses = TRY(attach(client_, record_));
    if (const int signal = signals_->pending(); signal != 0)
        return ExecReport{128 + signal, "interrupted before the program was started"};
    if (!detached_) {
        terminal_ = std::make_unique<Terminal>(Terminal::find());
        terminal_->start(processes_->main());
    }
    auto report = processes_->release();
    if (!report.started()) return report;
    record_.status = RunRecord::Status::running;
    TRY(save_record(files_, record_));
    return report;
}

RunOutcome Run::supervise() {
    Watched watched{.main = processes_->main(),
                    .signals = *signals_,
                    .kill_all = [&] { cgroup_kill(mounts_, record_.cgroup); },
                    .terminal = terminal_.get(),
                    .log = log_.get(),
                    .out = out_,
                    .err = err_};
    record_.exit_code = wait_for_end(watched);
    processes_->forget_main();
    if (record_.exit_code == 128 + SIGKILL && cgroup_oom_kills(mounts_, record_.cgroup) > 0)
        record_.note = "it reached its memory limit";
    RunOutcome outcome{.exit_code = record_.exit_code};
    if (!record_.note.empty())
        outcome.message = fmt::format("{} was killed: {}", record_.title(), record_.note);
    record_.status = RunRecord::Status::exited;
    clear();
    return outcome;
}

void Run::clear() {
    if (!claimed_) return;
    claimed_ = false;
    cgroup_kill(mounts_, record_.cgroup);
    processes_.reset();
    terminal_.reset();
    if (log_) drain_output(*log_, out_, err_);
    for (const auto& problem : clear_away(record_, mounts_, paths_, client_)) {
        if (log_) {
            log_->note("not cleaned up: " + problem);
        } else {
            log_warn("not cleaned up", kv("workload", record_.title()), kv("error", problem));
        }
    }
    if (detached_ && record_.status == RunRecord::Status::exited) {
        record_.finished = std::time(nullptr);
        if (log_ && !record_.note.empty()) log_->note("killed: " + record_.note);
        if (save_record(files_, record_)) return;
    }
    if (log_ && record_.status != RunRecord::Status::exited) remove_log(files_.log(record_.key()));
    remove_record(files_, record_.key());
}

std::string current_directory() {
    char* directory = ::get_current_dir_name();
    std::string result = directory != nullptr ? directory : "/";
    std::free(directory);
    return result;
}

// The numbers 0 to 2 must mean the workload's streams, not the next file that is opened.
void fill_standard_streams() {
    for (int fd = 0; fd <= 2; ++fd)
        if (::fcntl(fd, F_GETFD) < 0) (void)!::open("/dev/null", O_RDWR);
}

// What a detached supervisor tells the command that started it.
nlohmann::json report_of(const Result<ExecReport>& started, const RunRecord& record) {
    if (!started)
        return {{"code", static_cast<int>(started.error().code)},
                {"message", started.error().message}};
    if (!started->started())
        return {{"exit_code", started->exit_code}, {"message", started->message}};
    return {{"record", to_json(record)}};
}

Result<RunOutcome> outcome_of(const std::string& report) {
    const auto json = nlohmann::json::parse(report, nullptr, false);
    if (!json.is_object())
        return fail(Code::internal, "the workload's supervisor ended without a word");
    if (json.contains("record"))
        return RunOutcome{.record = TRY(run_record_from_json(json["record"]))};
    if (json.contains("exit_code"))
        return RunOutcome{.exit_code = json["exit_code"], .message = json["message"]};
    return Failure(Error{static_cast<Code>(json["code"].get<int>()), 0, json["message"]});
}

constexpr int kReport = 3;

// In a process of its own; `report` is all that it keeps of its maker's descriptors.
void supervise_detached(const RunSpec& spec, const api::Paths& paths, const api::Client& client,
                        int report) {
    const std::string directory = current_directory();
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= 2; ++fd)
        ::dup2(null, fd);
    if (report != kReport) ::dup3(report, kReport, O_CLOEXEC);
    ::closefrom(kReport + 1);
    (void)!::chdir("/");
    ::umask(022);

    auto run = std::make_unique<Run>(spec, paths, client, true);
    const auto started = run->start(directory);
    const auto report_text = report_of(started, run->record())
                                 .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    const bool running = started && started->started();
    // A failure is told when everything is gone again.
    if (!running) run.reset();
    (void)!::write(kReport, report_text.data(), report_text.size());
    ::close(kReport);
    if (running) run->supervise();
}

bool settled(const RunFiles& files, const RunRecord& record) {
    const auto now = load_record(files, record.key());
    return !now || now->container != record.container || now->status == RunRecord::Status::exited;
}

// Cleans up after supervisors that were killed while we wait for them.
bool wait_settled(const RunFiles& files, const RunRecord& record, Clock::time_point deadline,
                  const api::Paths& paths, const api::Client& client) {
    while (!settled(files, record)) {
        if (!record.supervised()) (void)clean_leftovers(paths, client);
        if (Clock::now() > deadline) return settled(files, record);
        std::this_thread::sleep_for(20ms);
    }
    return true;
}

} // namespace

Result<> require_root(std::string_view verb) {
    if (::geteuid() == 0) return {};
    return fail(Code::denied,
                "'beeline {}' needs root, for namespaces and cgroups: run it with sudo", verb);
}

Result<RunOutcome> run_foreground(const RunSpec& spec, const api::Paths& paths,
                                  const api::Client& client) {
    fill_standard_streams();
    Run run(spec, paths, client, false);
    const auto report = TRY(run.start(current_directory()));
    if (!report.started())
        return RunOutcome{.exit_code = report.exit_code, .message = report.message};
    return run.supervise();
}

Result<RunOutcome> run_detached(const RunSpec& spec, const api::Paths& paths,
                                const api::Client& client) {
    fill_standard_streams();
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno(errno, "pipe");
    const Fd read_end(ends[0]);
    Fd write_end(ends[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail_errno(errno, "fork");
    if (child == 0) {
        // A second fork: a process that leads no session never gets a terminal, and init reaps it.
        ::setsid();
        if (::fork() != 0) ::_exit(0);
        supervise_detached(spec, paths, client, write_end.get());
        ::_exit(0);
    }
    write_end.reset();
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
    return outcome_of(read_until_closed(read_end.get()));
}

Result<std::vector<std::string>> clean_leftovers(const api::Paths& paths,
                                                 const api::Client& client) {
    const RunFiles files(paths);
    if (::access(files.records.c_str(), F_OK) != 0) return std::vector<std::string>();
    const auto mounts = TRY(find_cgroup_mounts());
    const Fd lock = TRY(lock_file(files.lock));
    return clean_leftovers_locked(files, mounts, paths, client);
}

Result<> stop_workloads(const std::vector<RunRecord>& records, const api::Paths& paths,
                        const api::Client& client, std::chrono::milliseconds timeout) {
    const RunFiles files(paths);
    const auto mounts = TRY(find_cgroup_mounts());
    for (const auto& record : records) {
        // Before there is a main process the supervisor is asked, which then does not start it.
        const bool started = record.status == RunRecord::Status::running;
        signal_process(started ? open_process(record.pid, record.pid_start)
                               : open_process(record.supervisor, record.supervisor_start),
                       SIGTERM);
    }
    const auto deadline = Clock::now() + timeout;
    std::vector<std::string> stuck;
    for (const auto& record : records) {
        if (wait_settled(files, record, deadline, paths, client)) continue;
        cgroup_kill(mounts, record.cgroup);
        if (!wait_settled(files, record, Clock::now() + kCleanUpWait, paths, client))
            stuck.push_back(fmt::format("{} (supervisor {})", record.title(), record.supervisor));
    }
    if (stuck.empty()) return {};
    return fail(Code::system,
                "not cleaned up in time: {}; kill the supervisor and run 'beeline ps' to clean up",
                fmt::join(stuck, ", "));
}

} // namespace beeline::cli
