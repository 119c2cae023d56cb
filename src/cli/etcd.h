// Objects kept in etcd, without an agent: over the JSON gateway of its v3 API, so that no RPC library is needed here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/result.h"

namespace beeline::cli {

struct EtcdFlags {
    std::vector<std::string> endpoints; // empty: the agent is asked
    std::string prefix = "/beeline";
    std::string ca_file;
    std::string certificate;
    std::string key;
    std::string user; // the password is in $BEELINE_ETCD_PASSWORD
};

std::string to_base64(std::string_view bytes);
Result<std::string> from_base64(std::string_view text);

class EtcdGateway {
public:
    struct Entry {
        std::string key;
        std::string value;
        std::int64_t modified = 0;
    };
    struct Change {
        std::string key;
        std::string value;
        std::int64_t modified = 0; // as it must be still; 0: absent
        bool removal = false;
    };
    static Result<EtcdGateway> connect(EtcdFlags flags);

    // All keys that begin with `prefix`.
    Result<std::vector<Entry>> range(const std::string& prefix);
    // All or none. False: somebody changed one of the keys.
    Result<bool> change(const std::vector<Change>& changes);

private:
    explicit EtcdGateway(EtcdFlags flags) : flags_(std::move(flags)) {}
    Result<nlohmann::json> call(const std::string& path, const nlohmann::json& body);
    Result<nlohmann::json> post(const std::string& url, const std::string& body);

    EtcdFlags flags_;
    std::string token_;
};

} // namespace beeline::cli
