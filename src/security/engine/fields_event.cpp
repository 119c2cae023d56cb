// evt.*
#include <fcntl.h>

#include <string>

#include "security/engine/event_args.h"
#include "security/engine/fields.h"
#include "security/engine/names.h"

namespace beeline::security::engine {
namespace {

bool number(Value& out, std::uint64_t value) {
    out.number = value;
    return true;
}

bool text(Value& out, std::string_view value) {
    out.text = value;
    return true;
}

std::uint64_t access_mode(const Event& event) {
    switch (event.head.kind) {
    case BL_EVENT_creat: return O_WRONLY;
    case BL_EVENT_open: return event.head.num[1] & O_ACCMODE;
    case BL_EVENT_openat2: return event.head.num[4] & O_ACCMODE;
    default: return event.head.num[2] & O_ACCMODE;
    }
}

bool makes_executable(const Event& event) {
    const auto& num = event.head.num;
    constexpr std::uint64_t kExecute = 0111;
    constexpr std::uint64_t kMaking = O_CREAT | 020000000; // or O_TMPFILE
    switch (event.head.kind) {
    case BL_EVENT_creat: return (num[1] & kExecute) != 0;
    case BL_EVENT_openat2: return (num[4] & kMaking) != 0 && (num[5] & kExecute) != 0;
    case BL_EVENT_open: return (num[1] & kMaking) != 0 && (num[2] & kExecute) != 0;
    case BL_EVENT_open_by_handle_at: return false;
    default: return (num[2] & kMaking) != 0 && (num[3] & kExecute) != 0;
    }
}

// Macro-like on purpose: each makes one Extract.
template <bool (*get)(Scene&, const Field&, Value&)>
bool one(Scene& scene, const Field& field, Cursor&, Value& out) {
    return get(scene, field, out);
}

bool event_number(Scene& s, const Field&, Value& v) { return number(v, s.event->number); }
bool event_type(Scene& s, const Field&, Value& v) { return text(v, kind_text(s.event->head.kind)); }
bool event_dir(Scene&, const Field&, Value& v) { return text(v, "<"); }
bool event_source(Scene&, const Field&, Value& v) { return text(v, "syscall"); }
bool event_host(Scene& s, const Field&, Value& v) { return text(v, s.host->hostname); }
bool event_time(Scene& s, const Field&, Value& v) {
    return number(v, static_cast<std::uint64_t>(s.event->time_ns));
}
bool event_seconds(Scene& s, const Field&, Value& v) {
    return number(v, static_cast<std::uint64_t>(s.event->time_ns) / 1'000'000'000);
}
bool event_nanoseconds(Scene& s, const Field&, Value& v) {
    return number(v, static_cast<std::uint64_t>(s.event->time_ns) % 1'000'000'000);
}
bool event_rawres(Scene& s, const Field&, Value& v) {
    return number(v, static_cast<std::uint64_t>(s.event->head.result));
}
bool event_failed(Scene& s, const Field&, Value& v) { return number(v, s.event->head.result < 0); }
bool event_res(Scene& s, const Field&, Value& v) {
    const std::int64_t result = s.event->head.result;
    if (result >= 0) return text(v, "SUCCESS");
    std::string_view name =
        result < -4095 ? std::string_view() : errno_text(static_cast<int>(-result));
    if (name.empty()) {
        Writer out(s.arena);
        out.add_signed(result);
        name = out.finish();
    }
    return text(v, name);
}

bool open_read(Scene& s, const Field&, Value& v) {
    if (!kind_is_open(s.event->head.kind)) return number(v, 0);
    const std::uint64_t mode = access_mode(*s.event);
    return number(v, mode == O_RDONLY || mode == O_RDWR);
}
bool open_write(Scene& s, const Field&, Value& v) {
    if (!kind_is_open(s.event->head.kind)) return number(v, 0);
    const std::uint64_t mode = access_mode(*s.event);
    return number(v, mode == O_WRONLY || mode == O_RDWR);
}
bool open_exec(Scene& s, const Field&, Value& v) {
    return number(v, kind_is_open(s.event->head.kind) && makes_executable(*s.event));
}
bool open_create(Scene& s, const Field&, Value& v) {
    return number(v, kind_is_open(s.event->head.kind) && s.event->file != nullptr &&
                         (s.event->file->flags & BL_FILE_CREATED) != 0);
}

bool is_read(std::uint16_t kind) {
    switch (kind) {
    case BL_EVENT_read:
    case BL_EVENT_pread64:
    case BL_EVENT_readv:
    case BL_EVENT_preadv:
    case BL_EVENT_recvfrom:
    case BL_EVENT_recvmsg:
    case BL_EVENT_recvmmsg: return true;
    default: return false;
    }
}
bool is_write(std::uint16_t kind) {
    switch (kind) {
    case BL_EVENT_write:
    case BL_EVENT_pwrite64:
    case BL_EVENT_writev:
    case BL_EVENT_pwritev:
    case BL_EVENT_sendto:
    case BL_EVENT_sendmsg:
    case BL_EVENT_sendmmsg: return true;
    default: return false;
    }
}
bool event_is_io(Scene& s, const Field&, Value& v) {
    return number(v, is_read(s.event->head.kind) || is_write(s.event->head.kind));
}
bool event_is_read(Scene& s, const Field&, Value& v) {
    return number(v, is_read(s.event->head.kind));
}
bool event_is_write(Scene& s, const Field&, Value& v) {
    return number(v, is_write(s.event->head.kind));
}
bool event_io_dir(Scene& s, const Field&, Value& v) {
    if (is_read(s.event->head.kind)) return text(v, "read");
    return is_write(s.event->head.kind) && text(v, "write");
}
bool event_wait(Scene&, const Field&, Value& v) { return number(v, 0); }
bool event_count(Scene&, const Field&, Value& v) { return number(v, 1); }

std::string_view category(std::uint16_t kind) {
    if (is_read(kind)) return "io-read";
    if (is_write(kind)) return "io-write";
    if (kind_is_socket(kind)) return "net";
    switch (kind_shape(kind)) {
    case BL_SHAPE_exec:
    case BL_SHAPE_task:
    case BL_SHAPE_exit:
    case BL_SHAPE_comm: return "process";
    case BL_SHAPE_open:
    case BL_SHAPE_path:
    case BL_SHAPE_at:
    case BL_SHAPE_path2:
    case BL_SHAPE_at2:
    case BL_SHAPE_symlinkat:
    case BL_SHAPE_fd: return "file";
    default: break;
    }
    if (kind >= BL_EVENT_setuid && kind <= BL_EVENT_capset) return "user";
    if (kind >= BL_EVENT_setsid && kind <= BL_EVENT_pidfd_send_signal) return "process";
    if (kind >= BL_EVENT_mmap && kind <= BL_EVENT_pkey_mprotect) return "memory";
    return kind == BL_EVENT_flow ? "net" : "other";
}
bool event_category(Scene& s, const Field&, Value& v) {
    return text(v, category(s.event->head.kind));
}

bool event_arg_text(Scene& s, const Field& f, Value& v) {
    const ArgRow* row = nullptr;
    if (f.has_index) {
        const auto args = event_args(s.event->head.kind);
        if (f.index < args.size()) row = &args[f.index];
    } else {
        row = event_arg(s.event->head.kind, f.argument);
    }
    if (row == nullptr) return false;
    const Rendered rendered = render_arg(s, *row);
    if (!rendered.present) return false;
    v.text = rendered.resolved.empty() ? rendered.raw : rendered.resolved;
    if (v.text.empty()) v.text = row->render == Render::data ? "NULL" : "<NA>";
    return true;
}

bool event_raw_arg(Scene& s, const Field& f, Value& v) {
    const ArgRow* row = event_arg(s.event->head.kind, f.argument);
    if (row == nullptr) return false;
    if (f.type == Type::text) {
        const Rendered rendered = render_arg(s, *row);
        v.text = rendered.raw;
        return rendered.present;
    }
    const bl_event& head = s.event->head;
    switch (row->render) {
    case Render::result:
    case Render::made_fd: return number(v, static_cast<std::uint64_t>(head.result));
    case Render::exec_flags:
        return s.process != nullptr && s.process->image && number(v, s.process->image->flags);
    case Render::dev: return s.event->file != nullptr && number(v, s.event->file->dev);
    case Render::ino: return s.event->file != nullptr && number(v, s.event->file->ino);
    case Render::creat_flags: return number(v, 0);
    default:
        return number(v, row->from < 6 ? head.num[row->from]
                                       : static_cast<std::uint64_t>(head.result));
    }
}

bool event_all_args(Scene& s, const Field&, Value& v) {
    // Each argument first, as they use the same arena; then the line.
    Rendered rendered[32];
    const auto args = event_args(s.event->head.kind);
    const std::size_t count = args.size() < 32 ? args.size() : 32;
    for (std::size_t i = 0; i < count; ++i)
        rendered[i] = render_arg(s, args[i]);
    Writer out(s.arena);
    for (std::size_t i = 0; i < count; ++i) {
        if (!rendered[i].present) continue;
        if (!out.empty()) out.add(' ');
        out.add(args[i].name);
        out.add('=');
        out.add(rendered[i].raw.empty() ? std::string_view("<NA>") : rendered[i].raw);
        if (rendered[i].resolved.empty() || rendered[i].resolved == rendered[i].raw) continue;
        out.add('(');
        out.add(rendered[i].resolved);
        out.add(')');
    }
    v.text = out.finish();
    return true;
}

bool event_buffer(Scene& s, const Field&, Value& v) {
    if (!s.event->has(BL_STR_PATH2)) return false;
    v.text = s.event->text[BL_STR_PATH2];
    return true;
}
bool event_buffer_length(Scene& s, const Field&, Value& v) {
    return s.event->head.result >= 0 && number(v, static_cast<std::uint64_t>(s.event->head.result));
}

bool absolute_first(Scene& s, const Field&, Value& v) {
    if (s.reached && s.event->has(BL_STR_RESOLVED)) return text(v, s.event->text[BL_STR_RESOLVED]);
    const int shape = kind_shape(s.event->head.kind);
    if (!s.event->has(BL_STR_PATH) || shape == BL_SHAPE_symlinkat ||
        s.event->head.kind == BL_EVENT_symlink)
        return false;
    v.text = absolute_path(s, s.event->text[BL_STR_PATH], s.event->text[BL_STR_BASE]);
    return true;
}
bool absolute_second(Scene& s, const Field&, Value& v) {
    if (!s.event->has(BL_STR_PATH2)) return false;
    v.text = absolute_path(s, s.event->text[BL_STR_PATH2], s.event->text[BL_STR_BASE2]);
    return true;
}
bool absolute_only(Scene& s, const Field& f, Value& v) {
    if (f.has_argument && f.argument == "dst") return absolute_second(s, f, v);
    return absolute_first(s, f, v);
}

bool event_uring(Scene& s, const Field&, Value& v) {
    return number(v, (s.event->head.flags & BL_EVENT_URING) != 0);
}
bool event_compat(Scene& s, const Field&, Value& v) {
    return number(v, (s.event->head.flags & BL_EVENT_COMPAT) != 0);
}
bool event_tampered(Scene& s, const Field&, Value& v) {
    return number(v, (s.event->head.flags & BL_EVENT_TAMPERED) != 0);
}
bool event_truncated(Scene& s, const Field&, Value& v) {
    return number(v, (s.event->head.flags & BL_EVENT_TRUNCATED) != 0);
}
bool event_reached(Scene& s, const Field&, Value& v) {
    if (!s.event->has(BL_STR_RESOLVED)) return false;
    return text(v, s.event->text[BL_STR_RESOLVED]);
}

bool static_field(Scene& s, const Field& f, Value& v) {
    if (s.statics == nullptr) return false;
    const auto found = s.statics->find(f.argument);
    if (found == s.statics->end()) return false;
    return text(v, found->second);
}

bool has_arg(std::uint16_t kind, std::string_view argument) {
    if (!argument.empty() && argument.find_first_not_of("0123456789") == std::string_view::npos)
        return !event_args(kind).empty();
    return event_arg(kind, argument) != nullptr;
}
bool has_data(std::uint16_t kind, std::string_view) {
    switch (kind_shape(kind)) {
    case BL_SHAPE_io:
    case BL_SHAPE_sock_send:
    case BL_SHAPE_sock_recv: return true;
    default: return false;
    }
}
bool has_path(std::uint16_t kind, std::string_view) { return kind_has_path(kind); }
bool has_two_paths(std::uint16_t kind, std::string_view) {
    switch (kind_shape(kind)) {
    case BL_SHAPE_path2:
    case BL_SHAPE_at2:
    case BL_SHAPE_symlinkat: return true;
    default: return false;
    }
}
bool has_result(std::uint16_t kind, std::string_view) {
    return kind != BL_EVENT_flow && kind != BL_EVENT_lost && kind != BL_EVENT_proc;
}
bool never(std::uint16_t, std::string_view) { return false; }
bool absent(Scene&, const Field&, Value&) { return false; }

constexpr FieldRow kFields[] = {
    {"evt.num", Type::uint64, Many::one, Takes::nothing, 0, one<event_number>, nullptr,
     "number of the event, from 1"},
    {"evt.time", Type::time, Many::one, Takes::nothing, 0, one<event_time>, nullptr,
     "when it happened; in outputs as HH:MM:SS and nanoseconds"},
    {"evt.time.s", Type::time, Many::one, Takes::nothing, 0, one<event_time>, nullptr,
     "the same without nanoseconds"},
    {"evt.time.iso8601", Type::time, Many::one, Takes::nothing, 0, one<event_time>, nullptr,
     "the same as ISO 8601 with nanoseconds and zone"},
    {"evt.datetime", Type::time, Many::one, Takes::nothing, 0, one<event_time>, nullptr,
     "the same with the date"},
    {"evt.datetime.s", Type::time, Many::one, Takes::nothing, 0, one<event_time>, nullptr,
     "date and time without nanoseconds"},
    {"evt.rawtime", Type::time, Many::one, Takes::nothing, 0, one<event_time>, nullptr,
     "nanoseconds since the epoch"},
    {"evt.rawtime.s", Type::uint64, Many::one, Takes::nothing, 0, one<event_seconds>, nullptr,
     "whole seconds since the epoch"},
    {"evt.rawtime.ns", Type::uint64, Many::one, Takes::nothing, 0, one<event_nanoseconds>, nullptr,
     "nanoseconds within the second"},
    {"evt.type", Type::text, Many::one, Takes::nothing, 0, one<event_type>, nullptr,
     "kind of the event: the system call, or flow"},
    {"evt.category", Type::text, Many::one, Takes::nothing, 0, one<event_category>, nullptr,
     "file, net, process, user, memory, io-read, io-write or other"},
    {"evt.dir", Type::text, Many::one, Takes::nothing, kDeprecated, one<event_dir>, nullptr,
     "always <: events are made at the end of a call"},
    {"evt.source", Type::text, Many::one, Takes::nothing, 0, one<event_source>, nullptr,
     "always syscall"},
    {"evt.hostname", Type::text, Many::one, Takes::nothing, 0, one<event_host>, nullptr,
     "name of this machine"},
    {"evt.cpu", Type::int64, Many::one, Takes::nothing, kDeprecated, one<absent>, never,
     "not recorded: always absent"},
    {"evt.latency", Type::duration, Many::one, Takes::nothing, kDeprecated, one<event_wait>,
     nullptr, "always 0"},
    {"evt.latency.s", Type::duration, Many::one, Takes::nothing, kDeprecated, one<event_wait>,
     nullptr, "always 0"},
    {"evt.latency.ns", Type::duration, Many::one, Takes::nothing, kDeprecated, one<event_wait>,
     nullptr, "always 0"},
    {"evt.latency.human", Type::text, Many::one, Takes::nothing, kDeprecated, one<absent>, never,
     "always absent"},
    {"evt.wait_latency", Type::duration, Many::one, Takes::nothing, kDeprecated, one<absent>, never,
     "always absent"},
    {"evt.res", Type::text, Many::one, Takes::nothing, 0, one<event_res>, has_result,
     "SUCCESS, or the name of the error"},
    {"evt.rawres", Type::int64, Many::one, Takes::nothing, 0, one<event_rawres>, has_result,
     "result of the call; negative: the error"},
    {"evt.failed", Type::boolean, Many::one, Takes::nothing, 0, one<event_failed>, has_result,
     "whether the call failed"},
    {"evt.args", Type::text, Many::one, Takes::nothing, kPathView, one<event_all_args>, nullptr,
     "all parameters as name=value, what they mean in parentheses"},
    {"evt.arg", Type::text, Many::one, Takes::name, kPathView, one<event_arg_text>, has_arg,
     "one parameter by name or number, as people read it; the table below lists them"},
    {"evt.rawarg", Type::int64, Many::one, Takes::name, kNoRight | kNoTransform, one<event_raw_arg>,
     has_arg, "one parameter by name as a number, or its text"},
    {"evt.buffer", Type::bytes, Many::one, Takes::nothing, kNeedsData, one<event_buffer>, has_data,
     "first bytes of the data that was read or written"},
    {"evt.buflen", Type::uint64, Many::one, Takes::nothing, 0, one<event_buffer_length>, has_data,
     "how many bytes were read or written"},
    {"evt.is_io", Type::boolean, Many::one, Takes::nothing, 0, one<event_is_io>, nullptr,
     "reads or writes"},
    {"evt.is_io_read", Type::boolean, Many::one, Takes::nothing, 0, one<event_is_read>, nullptr,
     "reads or receives"},
    {"evt.is_io_write", Type::boolean, Many::one, Takes::nothing, 0, one<event_is_write>, nullptr,
     "writes or sends"},
    {"evt.io_dir", Type::text, Many::one, Takes::nothing, 0, one<event_io_dir>, has_data,
     "read or write"},
    {"evt.is_wait", Type::boolean, Many::one, Takes::nothing, 0, one<event_wait>, nullptr,
     "always false: waiting is not recorded"},
    {"evt.is_open_read", Type::boolean, Many::one, Takes::nothing, 0, one<open_read>, nullptr,
     "opens for reading"},
    {"evt.is_open_write", Type::boolean, Many::one, Takes::nothing, 0, one<open_write>, nullptr,
     "opens for writing"},
    {"evt.is_open_exec", Type::boolean, Many::one, Takes::nothing, 0, one<open_exec>, nullptr,
     "makes a file that may be executed"},
    {"evt.is_open_create", Type::boolean, Many::one, Takes::nothing, 0, one<open_create>, nullptr,
     "the open made the file"},
    {"evt.count", Type::uint64, Many::one, Takes::nothing, 0, one<event_count>, nullptr,
     "always 1"},
    {"evt.abspath", Type::path, Many::one, Takes::name, kPathView | kPathType, one<absolute_only>,
     has_path, "path argument, absolute; .src and .dst of calls with two"},
    {"evt.abspath.src", Type::path, Many::one, Takes::nothing, kPathView | kPathType,
     one<absolute_first>, has_two_paths, "the first of two paths, absolute"},
    {"evt.abspath.dst", Type::path, Many::one, Takes::nothing, kPathView | kPathType,
     one<absolute_second>, has_two_paths, "the second of two paths, absolute"},
    {"static", Type::text, Many::one, Takes::name, 0, one<static_field>, nullptr,
     "a constant of the configuration (static_fields), by name"},
    {"beeline.event.path", Type::path, Many::one, Takes::nothing, kPathType, one<event_reached>,
     nullptr, "file that was reached, whatever path was asked for"},
    {"beeline.event.is_uring", Type::boolean, Many::one, Takes::nothing, 0, one<event_uring>,
     nullptr, "asked for through io_uring"},
    {"beeline.event.is_compat", Type::boolean, Many::one, Takes::nothing, 0, one<event_compat>,
     nullptr, "a 32-bit system call"},
    {"beeline.event.is_tampered", Type::boolean, Many::one, Takes::nothing, 0, one<event_tampered>,
     nullptr, "the memory of the path changed during the call"},
    {"beeline.event.is_truncated", Type::boolean, Many::one, Takes::nothing, 0,
     one<event_truncated>, nullptr, "a text was longer than what was recorded"},
};

} // namespace

std::span<const FieldRow> event_fields() { return kFields; }

} // namespace beeline::security::engine
