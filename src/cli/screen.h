// The terminal as a whole screen with single keys, given back as it was.
#pragma once

#include <termios.h>

#include <optional>
#include <string>

namespace beeline::cli {

class Screen {
public:
    // Nothing when standard input or output is no terminal.
    static std::optional<Screen> open();
    ~Screen();
    Screen(Screen&& other) noexcept;
    Screen& operator=(Screen&&) = delete;

    // Replaces what is shown; lines that do not fit are cut.
    void show(const std::string& text);
    // A key within so many milliseconds; 'q' as well when a signal asked to end.
    std::optional<char> key(int timeout_ms);
    [[nodiscard]] unsigned rows() const;

private:
    Screen() = default;
    termios mode_{};
    bool active_ = false;
};

// Ends the process's waiting: SIGINT and SIGTERM only set a mark from now on.
void catch_end();
bool ended();

} // namespace beeline::cli
