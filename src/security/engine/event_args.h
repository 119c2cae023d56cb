// The parameters of each kind of event: evt.arg.*, evt.args.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "security/engine/names.h"
#include "security/engine/value.h"

namespace beeline::security::engine {

enum class Render : std::uint8_t {
    result,    // 0 and more as a number, errors by name
    number,    // num[from], signed
    hex,       // num[from]
    fd,        // num[from], with what it is if it is the descriptor of the event
    made_fd,   // the result: a descriptor with what it is, or an error
    dirfd,     // num[from], with the directory
    path,      // the path, absolute; from: 0 first, 2 second
    text,      // str[from] as it is
    data,      // str[2], printable
    mode,      // num[from] in octal
    mode_bits, // S_I*
    open_flags,
    creat_flags,
    exec_flags,
    bits,     // num[from] by `names`
    constant, // num[from] by `names`
    uid,
    gid,
    pid, // comm of that process
    tuple,
    address,
    dev,
    ino,
    process, // a field of the process, by name
    signal,
};

struct ArgRow {
    std::string_view name;
    Render render = Render::number;
    std::uint8_t from = 0;
    std::span<const BitName> (*names)() = nullptr;
};

struct KindArgs {
    std::uint16_t kind = 0;
    std::span<const ArgRow> args;
};

// In the order of their declaration; kinds without an entry have none.
std::span<const KindArgs> all_event_args();
std::span<const ArgRow> event_args(std::uint16_t kind);
const ArgRow* event_arg(std::uint16_t kind, std::string_view name);
bool is_event_arg(std::string_view name); // of any kind
bool arg_is_path(const ArgRow& row);
bool arg_is_number(const ArgRow& row);

struct Rendered {
    bool present = false;
    std::string_view raw;
    std::string_view resolved; // the text that people want; empty: raw is it
};
Rendered render_arg(Scene& scene, const ArgRow& row);

} // namespace beeline::security::engine
