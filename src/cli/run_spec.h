// What a user asks `beeline run` for, parsed and checked.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/objects.h"

namespace beeline::cli {

struct Volume {
    std::string source; // absolute, exists
    std::string target; // absolute, exists
    bool read_only = false;
    bool operator==(const Volume&) const = default;
};

struct User {
    uid_t uid = 0;
    gid_t gid = 0;
    std::vector<gid_t> groups; // supplementary
    std::string name;          // the number as text when the system knows no name
    std::string home = "/";
};

struct RunSpec {
    std::string space = "default"; // namespace
    std::string name;
    model::Labels labels;
    std::vector<model::NamedPort> ports;
    User user;
    std::vector<std::string> environment; // KEY=VALUE, complete, each key once
    std::vector<Volume> volumes;
    std::string workdir; // empty: where the caller is, else "/"
    std::string hostname;
    std::uint64_t memory_bytes = 0;   // 0: no limit
    std::uint32_t cpu_millis = 0;     // 1000 is one CPU; 0: no limit
    bool host_pid = false;            // no pid namespace
    bool privileged = false;          // keep every capability, hide nothing
    std::vector<std::string> command; // program and arguments, at least the program
};

// Command-line text, one member per flag.
struct RunFlags {
    std::string name;
    std::string space = "default";
    std::vector<std::string> labels;
    std::vector<std::string> ports;
    std::string user;
    std::vector<std::string> environment;
    std::vector<std::string> environment_files;
    std::vector<std::string> volumes;
    std::string workdir;
    std::string memory;
    std::string cpu;
    std::string hostname;
    std::string pid;
    bool privileged = false;
    std::vector<std::string> command;
};

// All of the flags together; the message of an error begins with the flag that it is about.
Result<RunSpec> parse_run(const RunFlags& flags);

// [a-z0-9]([-a-z0-9]*[a-z0-9])?, at most 63 characters. `what` names the text in the error.
Result<> check_dns_label(std::string_view what, std::string_view text);

Result<std::uint64_t>
parse_size(std::string_view text); // 1024, 64K, 256M, 2G, 1Gi, 1.5G: powers of 1024
Result<std::uint32_t> parse_cpu(std::string_view text);     // 0.5, 2, 250m -> thousandths
Result<Volume> parse_volume(std::string_view text);         // SRC:DST[:ro|:rw]
Result<User> parse_user(std::string_view text);             // U[:G], names or numbers
Result<model::NamedPort> parse_port(std::string_view text); // name=http,protocol=tcp,port=8080
Result<std::pair<std::string, std::string>>
parse_label(std::string_view text); // Kubernetes' syntax of KEY=VALUE

using Variables = std::vector<std::pair<std::string, std::string>>;

// KEY=VALUE, or KEY for the caller's own value; nothing when the caller has none.
Result<Variables> parse_environment(std::string_view text);

// Lines as for parse_environment; empty lines and those that begin with '#' are skipped. `file` is for messages.
Result<Variables> parse_environment_lines(std::string_view text, std::string_view file);

} // namespace beeline::cli
