// What Kubernetes accepts as names, labels and ports.
#pragma once

#include <string_view>

namespace beeline::source {

// Each returns what is wrong, as "must ..." text for a message, or an empty view when the text is
// good.
std::string_view dns_label_problem(std::string_view text);      // a namespace: RFC 1123 label
std::string_view dns_1035_label_problem(std::string_view text); // a Service: begins with a letter
std::string_view
dns_subdomain_problem(std::string_view text);              // a Pod, a policy: labels joined by dots
std::string_view port_name_problem(std::string_view text); // IANA service name in lower case
std::string_view label_key_problem(std::string_view text); // [prefix/]name
std::string_view label_value_problem(std::string_view text);

} // namespace beeline::source
