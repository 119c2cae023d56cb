// Taking secrets out of what leaves the machine.
//
// Three nets, one behind the other: members whose name says that they are secret, texts that look like secrets
// (passwords of URLs, bearer tokens, private keys, "password=..."), and the very values that were found by the first two
// wherever else they stand.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace beeline::cli {

inline constexpr std::string_view kRedacted = "<redacted>";

class Redactor {
public:
    // Also remembers the values that it takes out.
    void redact(nlohmann::json& document);
    [[nodiscard]] std::string redact(std::string_view text);
    // Every remembered value of at least eight bytes.
    [[nodiscard]] std::string scrub(std::string text) const;

private:
    void take(nlohmann::json& value);
    void remember(std::string_view value);

    std::set<std::string, std::less<>> values_;
};

// password, token, sasl, Authorization, ... in any spelling. Names of files that hold secrets are none.
bool is_secret_name(std::string_view name);

} // namespace beeline::cli
