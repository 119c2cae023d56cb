// Ways that an alert leaves the agent. Each runs on a thread of its own (dispatcher.h), so that a slow one holds up
// nobody else; calls may block for their own time limit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/alert.h"

namespace beeline::security {

class Channel {
public:
    virtual ~Channel() = default;
    // `line` has no newline: text, or JSON when `json`.
    virtual Result<> send(const std::string& line, bool json, const model::Alert& alert) = 0;
};

std::unique_ptr<Channel> stdout_channel();
// Level = priority; the identity is the program's name.
std::unique_ptr<Channel> syslog_channel();

struct FileOutput {
    std::string path;
    std::uint64_t max_bytes = 100ULL << 20; // then it becomes <path>.1 and so on; 0: never
    unsigned keep = 5;                      // old files
};
// A file that was moved away or deleted (logrotate) is made again. Mode 0640.
std::unique_ptr<Channel> file_channel(FileOutput output);

struct ProgramOutput {
    std::vector<std::string> command; // run directly, not by a shell
    bool keep_alive = true;           // false: started anew for each alert
};
std::unique_ptr<Channel> program_channel(ProgramOutput output);

struct HttpOutput {
    std::string url;
    std::string user_agent = "beeline";
    std::vector<std::string> headers; // "Name: value"; values are never logged
    unsigned timeout_ms = 5000;       // of one try
    unsigned retries = 3;             // waits 100 ms, doubling, in between
    bool insecure = false;            // do not check the certificate
    std::string ca_file;
    std::string client_certificate;
    std::string client_key;
};
// One POST an alert. 2xx is success; 4xx (but 408 and 429) is not tried again.
Result<std::unique_ptr<Channel>> http_channel(HttpOutput output);

} // namespace beeline::security
