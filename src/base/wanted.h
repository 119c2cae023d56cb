// Filters whose empty list lets everything through.
#pragma once

#include <algorithm>
#include <vector>

namespace beeline {

template <typename T, typename Predicate>
bool none_or_any(const std::vector<T>& wanted, Predicate predicate) {
    return wanted.empty() || std::any_of(wanted.begin(), wanted.end(), predicate);
}

} // namespace beeline
