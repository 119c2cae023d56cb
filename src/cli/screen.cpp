#include "cli/screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string_view>

namespace beeline::cli {
namespace {

volatile std::sig_atomic_t g_ended = 0;

void write_all(std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = ::write(STDOUT_FILENO, text.data(), text.size());
        if (sent <= 0) return;
        text.remove_prefix(static_cast<std::size_t>(sent));
    }
}

winsize size() {
    winsize out{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &out) != 0 || out.ws_row == 0) {
        out.ws_row = 24;
        out.ws_col = 80;
    }
    return out;
}

} // namespace

void catch_end() {
    struct sigaction action{};
    action.sa_handler = [](int) { g_ended = 1; };
    // Without SA_RESTART: waiting ends.
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
}

bool ended() { return g_ended != 0; }

std::optional<Screen> Screen::open() {
    Screen screen;
    if (::isatty(STDOUT_FILENO) != 1 || ::isatty(STDIN_FILENO) != 1 ||
        ::tcgetattr(STDIN_FILENO, &screen.mode_) != 0)
        return {};
    termios raw = screen.mode_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return {};
    screen.active_ = true;
    write_all("\033[?1049h\033[?25l"); // another screen, without a cursor
    return screen;
}

Screen::Screen(Screen&& other) noexcept : mode_(other.mode_), active_(other.active_) {
    other.active_ = false;
}

Screen::~Screen() {
    if (!active_) return;
    write_all("\033[?25h\033[?1049l");
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &mode_);
}

unsigned Screen::rows() const { return size().ws_row; }

void Screen::show(const std::string& text) {
    const winsize space = size();
    std::string out = "\033[H";
    std::string_view rest = text;
    for (unsigned row = 0; row < space.ws_row && !rest.empty(); ++row) {
        const auto line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        if (row != 0) out += "\r\n";
        // Styles take no room but bytes; a line with them is not cut in the middle.
        const bool styled = line.find('\033') != line.npos;
        out += styled ? line : line.substr(0, space.ws_col);
        out += "\033[K";
    }
    write_all(out + "\033[J");
}

std::optional<char> Screen::key(int timeout_ms) {
    if (ended()) return 'q';
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const int ready = ::poll(&input, 1, timeout_ms);
    if (ended()) return 'q';
    if (ready <= 0) return {};
    char key = 0;
    if (::read(STDIN_FILENO, &key, 1) == 1) return key;
    return 'q'; // the terminal is gone
}

} // namespace beeline::cli
