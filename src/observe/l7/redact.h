// What is never to be remembered of a message.
#pragma once

#include <string>
#include <string_view>

#include "observe/l7/options.h"

namespace beeline::observe::l7 {

inline constexpr std::string_view kRedacted = "REDACTED";

bool is_secret_header(std::string_view lower_name);
// "token", "access_token", "apiKey", "X-Amz-Signature": any case.
bool is_secret_name(std::string_view name, const Options& options);
// Whether a header is remembered at all.
bool is_kept_header(std::string_view lower_name, const Options& options);

// A request target or URL: the password of user:password@ goes, and values of secret query parameters when
// options.redact.
std::string redact_url(std::string_view url, const Options& options);

// An error's text, when options.redact: what stands in quotes, and what follows a secret's name ("password=hush").
std::string redact_text(std::string_view text, const Options& options);

} // namespace beeline::observe::l7
