// What the CNI plugin and the agent agree on: versions, error codes, and the rules for names and arguments.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/address.h"

namespace beeline::net {

// Versions of the CNI specification that are spoken, oldest first.
inline constexpr std::array<std::string_view, 4> kCniVersions{"0.3.1", "0.4.0", "1.0.0", "1.1.0"};
bool cni_speaks(std::string_view version);
// Both must be spoken versions.
bool cni_at_least(std::string_view version, std::string_view least);

namespace cni_code {
inline constexpr int kVersion = 1;     // incompatible CNI version
inline constexpr int kUnsupported = 2; // a field asks for what is not there
inline constexpr int kEnvironment = 4; // CNI_* variables
inline constexpr int kIo = 5;
inline constexpr int kDecode = 6; // not JSON
inline constexpr int kConfig = 7; // JSON, but not a valid network configuration
inline constexpr int kNetns = 8;  // the namespace is none, or the plugin's own
inline constexpr int kTryLater = 11;
inline constexpr int kUnavailable = 50; // STATUS: ADD cannot be served
inline constexpr int kExists = 100;     // the interface or address is there already
inline constexpr int kMismatch = 101;   // CHECK: what should be there is not
inline constexpr int kFailed = 102;     // the kernel or the datapath refused
} // namespace cni_code

struct CniError {
    int code = 0;
    std::string message;
    std::string details;
};

// Container ids and network names: a letter or digit, then letters, digits, '_', '.', '-'.
bool is_cni_name(std::string_view text);
// 1 to 15 characters, not "." or "..", no '/', ':' or white space.
bool is_interface_name(std::string_view text);

struct CniArgs {
    std::string pod_namespace;
    std::string pod_name;
    std::string pod_uid;
    std::string infra_container;
    std::string ip; // as given
    std::string mac;
    bool ignore_unknown = false;
};
// CNI_ARGS: "K=V;K2=V2". The error's message names the pair that is wrong.
Result<CniArgs> parse_cni_args(std::string_view text);

// The host's end of a workload's interface: "bl" and twelve hex digits, always the same for the same attachment, so
// that it can be found without any record.
std::string host_interface_name(std::string_view container, std::string_view interface);
bool is_host_interface_name(std::string_view name);
// Locally administered; `host_side` tells the two ends of a pair apart.
Mac attachment_mac(std::string_view container, std::string_view interface, bool host_side);

// Whether brackets in the JSON text nest deeper than `limit`: parsers and writers recurse.
bool json_deeper_than(std::string_view text, unsigned limit);

} // namespace beeline::net
