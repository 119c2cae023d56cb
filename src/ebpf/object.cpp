#include "ebpf/object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "base/log.h"

namespace beeline::ebpf {
namespace {

int on_libbpf_message(libbpf_print_level level, const char* format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    const int length = std::vsnprintf(nullptr, 0, format, again);
    va_end(again);
    if (length < 0) return length;
    std::string text(static_cast<std::size_t>(length), '\0');
    std::vsnprintf(text.data(), text.size() + 1, format, arguments);
    std::string_view line(text);
    // The verifier's reason is at the end of what may be megabytes.
    constexpr std::size_t longest = 8192;
    if (line.size() > longest) line.remove_prefix(line.size() - longest);
    while (!line.empty() && line.back() == '\n')
        line.remove_suffix(1);
    // What libbpf says about a clsact hook that is there already, which is no mistake.
    if (line.find("Exclusivity flag on") != std::string_view::npos) level = LIBBPF_INFO;
    switch (level) {
    case LIBBPF_WARN: log_warn("libbpf", kv("text", line)); break;
    case LIBBPF_INFO: log_debug("libbpf", kv("text", line)); break;
    default: break;
    }
    return length;
}

// The kernel's configuration as far as programs ask for it. Its file is not to be relied on: Debian keeps it in /boot, which
// a container does not see. The coarse clock's resolution is one tick.
std::string kernel_config() {
    timespec tick{};
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) != 0 || tick.tv_sec != 0 || tick.tv_nsec <= 0)
        return {};
    return fmt::format("CONFIG_HZ={}\n", (1'000'000'000 + tick.tv_nsec / 2) / tick.tv_nsec);
}

// What to tell whoever starts Beeline on a kernel older than any that it was tried on (docs/kernels.md).
std::string too_old() {
    utsname system{};
    unsigned major = 0, minor = 0;
    if (uname(&system) != 0 || std::sscanf(system.release, "%u.%u", &major, &minor) != 2) return {};
    if (major > 6 || (major == 6 && minor >= 1)) return {};
    return fmt::format("; Beeline needs a kernel of 6.1 or newer, and this is {}", system.release);
}

bool is_data_section(std::string_view map) { return map.find('.') != std::string_view::npos; }

bool same_layout(const bpf_map* map, int pinned) {
    bpf_map_info info{};
    std::uint32_t size = sizeof info;
    return bpf_map_get_info_by_fd(pinned, &info, &size) == 0 &&
           info.type == static_cast<std::uint32_t>(bpf_map__type(map)) &&
           info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
           info.max_entries == bpf_map__max_entries(map) &&
           info.map_flags == bpf_map__map_flags(map);
}

} // namespace

void route_libbpf_logs() { libbpf_set_print(on_libbpf_message); }

Result<Object> Object::open(std::string_view name, std::span<const std::byte> elf) {
    const std::string copy(name);
    bpf_object_open_opts options{};
    options.sz = sizeof options;
    options.object_name = copy.c_str();
    const std::string config = kernel_config();
    if (!config.empty()) options.kconfig = config.c_str();
    bpf_object* object = bpf_object__open_mem(elf.data(), elf.size(), &options);
    if (object == nullptr) return fail_errno(errno, "cannot open BPF object " + copy);
    return Object(object);
}

Object::Object(Object&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}

Object& Object::operator=(Object&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
}

Object::~Object() { bpf_object__close(object_); }

Result<std::vector<Object::Retired>> Object::pin_maps(const std::string& directory) {
    std::vector<Retired> retired;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_) {
        const char* name = bpf_map__name(map);
        if (is_data_section(name)) continue;
        const std::string path = directory + "/" + name;
        Fd old(bpf_obj_get(path.c_str()));
        if (old && !same_layout(map, old.get())) {
            log_warn("a map changed its layout and is made anew", kv("map", name));
            if (unlink(path.c_str()) != 0) return fail_errno(errno, "cannot remove " + path);
            retired.push_back({name, std::move(old)});
        }
        if (const int error = bpf_map__set_pin_path(map, path.c_str()); error != 0) {
            return fail_errno(-error, "cannot set the pin of map " + std::string(name));
        }
    }
    return retired;
}

Result<> Object::set_max_entries(std::string_view map, std::uint32_t entries) {
    const std::string name(map);
    bpf_map* found = bpf_object__find_map_by_name(object_, name.c_str());
    if (found == nullptr)
        return fail(Code::internal, "no map {} in object {}", name, bpf_object__name(object_));
    if (const int error = bpf_map__set_max_entries(found, entries); error != 0) {
        return fail_errno(-error, "cannot size map " + name);
    }
    return {};
}

Result<> Object::set_rodata(std::span<const std::byte> data) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_) {
        const std::string_view name = bpf_map__name(map);
        if (!name.ends_with(".rodata")) continue;
        std::size_t size = 0;
        void* value = bpf_map__initial_value(map, &size);
        if (value == nullptr || size != data.size()) {
            return fail(Code::internal, "read-only data of {} has {} bytes, expected {}",
                        bpf_object__name(object_), size, data.size());
        }
        std::memcpy(value, data.data(), size);
        return {};
    }
    return fail(Code::internal, "object {} has no read-only data", bpf_object__name(object_));
}

Result<> Object::set_section(std::string_view section, std::span<const std::byte> data) {
    const std::string name(section);
    bpf_map* map = bpf_object__find_map_by_name(object_, name.c_str());
    std::size_t size = 0;
    void* value = map == nullptr ? nullptr : bpf_map__initial_value(map, &size);
    if (value == nullptr || size != data.size()) {
        return fail(Code::internal, "section {} of {} has {} bytes, expected {}", name,
                    bpf_object__name(object_), size, data.size());
    }
    std::memcpy(value, data.data(), size);
    return {};
}

Result<> Object::share_map(std::string_view map, int fd) {
    const std::string name(map);
    bpf_map* found = bpf_object__find_map_by_name(object_, name.c_str());
    if (found == nullptr)
        return fail(Code::internal, "no map {} in object {}", name, bpf_object__name(object_));
    if (const int error = bpf_map__reuse_fd(found, fd); error != 0)
        return fail_errno(-error, "cannot share map " + name);
    return {};
}

Result<> Object::leave_out(std::string_view program) {
    const std::string name(program);
    bpf_program* found = bpf_object__find_program_by_name(object_, name.c_str());
    if (found == nullptr)
        return fail(Code::internal, "no program {} in object {}", name, bpf_object__name(object_));
    if (const int error = bpf_program__set_autoload(found, false); error != 0)
        return fail_errno(-error, "cannot leave out program " + name);
    return {};
}

Result<> Object::set_target(std::string_view program, const std::string& target) {
    const std::string name(program);
    bpf_program* found = bpf_object__find_program_by_name(object_, name.c_str());
    if (found == nullptr) return fail(Code::internal, "no BPF program {}", name);
    if (const int error = bpf_program__set_attach_target(found, 0, target.c_str()); error != 0)
        return fail_errno(-error, "this kernel has no " + target);
    return {};
}

Result<> Object::load() {
    if (const int error = bpf_object__load(object_); error != 0) {
        return fail_errno(
            -error, std::string("the kernel refused BPF object ") + bpf_object__name(object_) +
                        " (see the log above for the verifier's words" + too_old() + ")");
    }
    return {};
}

Result<int> Object::program(std::string_view name) const {
    const std::string copy(name);
    const bpf_program* program = bpf_object__find_program_by_name(object_, copy.c_str());
    if (program == nullptr) return fail(Code::internal, "no BPF program {}", name);
    return bpf_program__fd(program);
}

Result<int> Object::map(std::string_view name) const {
    const std::string copy(name);
    const bpf_map* map = bpf_object__find_map_by_name(object_, copy.c_str());
    if (map == nullptr) return fail(Code::internal, "no BPF map {}", name);
    return bpf_map__fd(map);
}

Result<> run_program(int program, std::span<std::byte> context) {
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.ctx_in = context.data();
    options.ctx_size_in = static_cast<std::uint32_t>(context.size());
    // The kernel writes the context back to where it came from.
    if (const int error = bpf_prog_test_run_opts(program, &options); error != 0) {
        return fail_errno(-error, "cannot run BPF program");
    }
    return {};
}

Result<PacketRun> run_packet(int program, std::span<const std::uint8_t> packet,
                             const PacketContext& context, unsigned repeat) {
    PacketRun run;
    run.packet.resize(packet.size() + 512);
    __sk_buff skb{};
    skb.ifindex = context.ifindex;
    skb.ingress_ifindex = context.ingress_ifindex;
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.data_in = packet.data();
    options.data_size_in = static_cast<std::uint32_t>(packet.size());
    options.data_out = run.packet.data();
    options.data_size_out = static_cast<std::uint32_t>(run.packet.size());
    options.ctx_in = &skb;
    options.ctx_size_in = sizeof skb;
    options.ctx_out = &skb;
    options.ctx_size_out = sizeof skb;
    options.repeat = static_cast<int>(repeat);
    if (const int error = bpf_prog_test_run_opts(program, &options); error != 0) {
        return fail_errno(-error, "cannot run BPF program on a packet");
    }
    run.verdict = static_cast<int>(options.retval);
    run.packet.resize(options.data_size_out);
    run.mark = skb.mark;
    run.duration_ns = options.duration;
    return run;
}

Result<ProgramInfo> program_info(int program) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (const int error = bpf_prog_get_info_by_fd(program, &info, &size); error != 0) {
        return fail_errno(-error, "cannot read program info");
    }
    return ProgramInfo{info.name, info.run_cnt, info.run_time_ns, info.verified_insns};
}

} // namespace beeline::ebpf
