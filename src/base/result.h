// Errors as values: Result<T> holds a T or an Error; TRY unwraps or returns.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <tl/expected.hpp>

namespace beeline {

// What kind of failure it was, for callers that must decide; people read `message`.
enum class Code {
    invalid, // the input is wrong: the caller must change it
    not_found,
    exists,
    exhausted,   // a bounded resource is full
    unsupported, // this kernel or build cannot do it
    unavailable, // try again later (daemon or peer down)
    denied,
    system, // a system call failed: see `number`
    internal,
};

std::string_view code_name(Code code);

struct Error {
    Code code = Code::internal;
    int number = 0;      // errno, 0 if none
    std::string message; // what happened, where, and what to do next

    // The same error with `context` put before its message.
    [[nodiscard]] Error with(std::string_view context) const;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

template <typename... Args>
[[nodiscard]] Failure fail(Code code, fmt::format_string<Args...> format, Args&&... args) {
    return Failure(Error{code, 0, fmt::format(format, std::forward<Args>(args)...)});
}

// Failure of a system call: appends the text of `number` (an errno).
[[nodiscard]] Failure fail_errno(int number, std::string_view what);

// Unwraps a Result or returns its error from the enclosing function.
#define TRY(expression)                                                                            \
    __extension__({                                                                                \
        auto try_result_ = (expression);                                                           \
        if (!try_result_) return ::tl::unexpected(std::move(try_result_).error());                 \
        ::beeline::detail::unwrap(std::move(try_result_));                                         \
    })

namespace detail {
template <typename T>
T unwrap(tl::expected<T, Error>&& result) {
    return std::move(*result);
}
inline void unwrap(tl::expected<void, Error>&&) {}
} // namespace detail

} // namespace beeline
