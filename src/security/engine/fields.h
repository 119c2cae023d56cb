// The table of fields: what a name in a condition or an output means.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "security/engine/value.h"

namespace beeline::security::engine {

struct Field;

// Where the next value of a field with many is.
struct Cursor {
    const void* at = nullptr;
    std::size_t index = 0;
};

enum class Many : std::uint8_t {
    one,
    any,  // ancestors: a comparison holds if it does for any of them
    ends, // two ends of a connection: != holds only if it does for both
    list, // in: all elements; intersects: one
};

enum class Takes : std::uint8_t {
    nothing,
    optional_index,
    optional_key,
    required_key,
    name, // follows after a dot: evt.arg.flags; or in brackets
};

// Flags of a field.
inline constexpr unsigned kNoRight = 0x1;     // not in val()
inline constexpr unsigned kNoTransform = 0x2; // not in a transformer
inline constexpr unsigned kPathView = 0x4;    // depends on Scene::reached
inline constexpr unsigned kSuggested = 0x8;   // suggested_output adds it
inline constexpr unsigned kNotHost = 0x10;    // only processes in containers have it
inline constexpr unsigned kFilterOnly = 0x20; // has no single value to print
inline constexpr unsigned kHostNames = 0x40;  // compared through HostFacts::resolved
inline constexpr unsigned kDeprecated = 0x80; // loads, but always absent
inline constexpr unsigned kNeedsCwd = 0x100;  // state that other events keep up to date
inline constexpr unsigned kNeedsSession = 0x200;
inline constexpr unsigned kNeedsGroup = 0x400;
inline constexpr unsigned kNeedsCredentials = 0x800;
inline constexpr unsigned kNeedsEnvironment = 0x1000;
inline constexpr unsigned kNeedsData = 0x2000;
inline constexpr unsigned kPathType = 0x4000; // the value is a path

// Next value at the cursor; false: no more. Fields of one value ignore the cursor.
using Extract = bool (*)(Scene&, const Field&, Cursor&, Value&);
// Whether events of this kind can have the field at all.
using Applies = bool (*)(std::uint16_t kind, std::string_view argument);

struct FieldRow {
    std::string_view name;
    Type type = Type::text;
    Many many = Many::one;
    Takes takes = Takes::nothing;
    unsigned flags = 0;
    Extract extract = nullptr;
    Applies applies = nullptr; // null: every kind
    std::string_view description;
};

// A field as written, ready to extract.
struct Field {
    const FieldRow* row = nullptr;
    Type type = Type::text;
    Many many = Many::one;
    unsigned flags = 0;
    bool has_argument = false;
    bool has_index = false;
    std::uint32_t index = 0; // argument as number
    std::uint32_t slot = 0;  // where the program keeps its value, 0: nowhere
    std::string argument;
    std::string text; // normal form: name[argument]
};

std::span<const FieldRow> field_table(); // in the order of declaration
Result<Field> find_field(std::string_view name, bool has_argument, std::string_view argument);
// Longest field at the start of `text` (of an output), with its brackets; empty if none.
std::string_view field_prefix(std::string_view text);

std::span<const FieldRow> event_fields();
std::span<const FieldRow> process_fields();
std::span<const FieldRow> fd_fields();
std::span<const FieldRow> user_fields();
std::span<const FieldRow> container_fields();
std::span<const FieldRow> flow_fields();

// Sources of rules: which kinds of events they have.
bool kind_is_event(std::uint16_t kind); // rules look at it
bool kind_has_fd(std::uint16_t kind);
bool kind_makes_fd(std::uint16_t kind); // the result is a descriptor
bool kind_is_open(std::uint16_t kind);
int kind_shape(std::uint16_t kind);
std::string_view kind_text(std::uint16_t kind); // evt.type
bool kind_matches(std::uint16_t kind, std::string_view name);
bool kind_is_socket(std::uint16_t kind);
bool kind_has_path(std::uint16_t kind); // as an argument

// Names by the passwd of the process' container, else of the host; "<NA>" if not known.
std::string_view user_name(const Scene& scene, std::uint32_t uid);
std::string_view group_name(const Scene& scene, std::uint32_t gid);

// Path `asked` seen from `base`, absolute and without . and .. and double slashes, made by text alone.
std::string_view absolute_path(Scene& scene, std::string_view asked, std::string_view base);

} // namespace beeline::security::engine
