#include "cli/runtime_record.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <tuple>

#include "cli/runtime_files.h"

namespace beeline::cli {
namespace {

constexpr RunRecord::Status kStatuses[] = {RunRecord::Status::starting, RunRecord::Status::running,
                                           RunRecord::Status::exited};

Result<RunRecord> load_file(const std::string& path) {
    const auto text = TRY(read_file(path));
    auto record = run_record_from_json(nlohmann::json::parse(text, nullptr, false));
    if (!record) return Failure(record.error().with(path));
    return record;
}

} // namespace

bool RunRecord::supervised() const {
    return boot == boot_id() && process_start(supervisor) == supervisor_start;
}

std::string_view status_name(RunRecord::Status status) {
    switch (status) {
    case RunRecord::Status::starting: return "starting";
    case RunRecord::Status::running: return "running";
    case RunRecord::Status::exited: return "exited";
    }
    return "";
}

nlohmann::json to_json(const RunRecord& record) {
    return {
        {"namespace", record.space},
        {"name", record.name},
        {"labels", record.labels},
        {"command", record.command},
        {"user", record.user},
        {"detached", record.detached},
        {"status", status_name(record.status)},
        {"boot", record.boot},
        {"supervisor", record.supervisor},
        {"supervisor_start", record.supervisor_start},
        {"pid", record.pid},
        {"pid_start", record.pid_start},
        {"container", record.container},
        {"netns", record.netns},
        {"cgroup", record.cgroup},
        {"attachment", record.attachment},
        {"addresses", record.addresses},
        {"started", record.started},
        {"finished", record.finished},
        {"exit_code", record.exit_code},
        {"note", record.note},
    };
}

Result<RunRecord> run_record_from_json(const nlohmann::json& json) {
    if (!json.is_object()) return fail(Code::invalid, "this is not the record of a workload");
    RunRecord record;
    try {
        json.at("namespace").get_to(record.space);
        json.at("name").get_to(record.name);
        json.at("labels").get_to(record.labels);
        json.at("command").get_to(record.command);
        json.at("user").get_to(record.user);
        json.at("detached").get_to(record.detached);
        const auto status = json.at("status").get<std::string>();
        const auto* const known =
            std::find_if(std::begin(kStatuses), std::end(kStatuses),
                         [&](auto candidate) { return status_name(candidate) == status; });
        if (known == std::end(kStatuses))
            return fail(Code::invalid, "status '{}' is unknown", status);
        record.status = *known;
        json.at("boot").get_to(record.boot);
        json.at("supervisor").get_to(record.supervisor);
        json.at("supervisor_start").get_to(record.supervisor_start);
        json.at("pid").get_to(record.pid);
        json.at("pid_start").get_to(record.pid_start);
        json.at("container").get_to(record.container);
        json.at("netns").get_to(record.netns);
        json.at("cgroup").get_to(record.cgroup);
        record.attachment = json.at("attachment");
        json.at("addresses").get_to(record.addresses);
        json.at("started").get_to(record.started);
        json.at("finished").get_to(record.finished);
        json.at("exit_code").get_to(record.exit_code);
        json.at("note").get_to(record.note);
    } catch (const nlohmann::json::exception& error) {
        return fail(Code::invalid, "this is not the record of a workload: {}", error.what());
    }
    return record;
}

RunFiles::RunFiles(const api::Paths& paths)
    : records(paths.state + "/runs"), logs(paths.state + "/logs"),
      lock(paths.state + "/runs/.lock") {}

Result<> save_record(const RunFiles& files, const RunRecord& record) {
    // Invalid UTF-8 in an argument must not make the record unwritable.
    const auto text = to_json(record).dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
    // Not forced to the disk, which can take a minute on a busy one: after a crash of the machine nothing of it is true.
    return replace_file(files.record(record.key()), text + "\n", Durable::no);
}

Result<RunRecord> load_record(const RunFiles& files, const std::string& key) {
    return load_file(files.record(key));
}

void remove_record(const RunFiles& files, const std::string& key) {
    ::unlink(files.record(key).c_str());
}

RunRecords load_records(const RunFiles& files) {
    RunRecords result;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(files.records.c_str()),
                                                        ::closedir);
    if (!directory) return result;
    while (const dirent* entry = ::readdir(directory.get())) {
        const std::string name = entry->d_name;
        if (name.starts_with(".") || !name.ends_with(".json")) continue;
        auto record = load_file(files.records + "/" + name);
        if (record) {
            result.records.push_back(std::move(*record));
        } else if (record.error().code != Code::not_found) { // it may just have ended
            result.problems.push_back(record.error().message);
        }
    }
    std::sort(result.records.begin(), result.records.end(),
              [](const RunRecord& a, const RunRecord& b) {
                  return std::tie(a.space, a.name) < std::tie(b.space, b.name);
              });
    return result;
}

} // namespace beeline::cli
