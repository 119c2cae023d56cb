#include "datapath/tls_probes.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <fstream>
#include <sstream>
#include <string_view>

#include "abi/drop.h"
#include "abi/l7.h"
#include "base/log.h"
#include "datapath/elf_symbols.h"
#include "ebpf/link.h"
#include "ebpf/system.h"
#include "tls.skel.h"

namespace beeline::datapath {
namespace {

constexpr std::size_t kMostSeen = 16'384;

struct Function {
    std::string_view name;
    const char* program;
    bool returns; // bl_tls_done at its return
};
constexpr std::array kFunctions{
    Function{"SSL_write", "bl_tls_write", true},
    Function{"SSL_read", "bl_tls_read", true},
    Function{"SSL_write_ex", "bl_tls_write_ex", true},
    Function{"SSL_read_ex", "bl_tls_read_ex", true},
    Function{"SSL_set_bio", "bl_tls_begin", false},
    Function{"gnutls_record_send", "bl_tls_write", true},
    Function{"gnutls_record_recv", "bl_tls_read", true},
    Function{"gnutls_transport_set_ptr", "bl_tls_begin", false},
    Function{"gnutls_transport_set_ptr2", "bl_tls_begin", false},
    Function{"gnutls_transport_set_int2", "bl_tls_begin", false},
};
// Go's, whose returns are found in the code.
struct GoFunction {
    std::string_view name;
    const char* program;
};
constexpr std::array kGoFunctions{
    GoFunction{"crypto/tls.(*Conn).Write", "bl_tls_go_write"},
    GoFunction{"crypto/tls.(*Conn).Read", "bl_tls_go_read"},
};
// By what they have that earlier ones had not.
constexpr std::string_view kSince3_0 = "SSL_CTX_new_ex";
constexpr std::string_view kSince3_2 = "SSL_new_stream";
// BoringSSL's sessions look different, and it lacks this.
constexpr std::string_view kOpenssl = "SSL_read_ex";

std::uint64_t layout_of(const Symbols& symbols) {
    if (symbols.contains(kSince3_2)) return BL_TLS_OPENSSL_3_2;
    if (symbols.contains(kSince3_0)) return BL_TLS_OPENSSL_3_0;
    return symbols.contains(kOpenssl) ? BL_TLS_OPENSSL_1_1 : BL_TLS_UNKNOWN;
}

std::string_view base_name(std::string_view path) {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool is_tls_library(std::string_view path) {
    const auto name = base_name(path);
    return name.starts_with("libssl.so") || name.starts_with("libssl-") ||
           name.starts_with("libgnutls.so");
}

// Executable mappings of libraries: the paths as the process sees them.
std::set<std::string> libraries_of(const std::string& process) {
    std::set<std::string> out;
    std::ifstream maps(process + "/maps");
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::string range, permissions, offset, device, inode, path;
        words >> range >> permissions >> offset >> device >> inode >> path;
        if (permissions.find('x') != std::string::npos && path.starts_with('/') &&
            is_tls_library(path))
            out.insert(path);
    }
    return out;
}

} // namespace

Result<std::unique_ptr<TlsProbes>> TlsProbes::load(const Kernel& kernel) {
    std::size_t size = 0;
    const void* elf = tls_bpf__elf_bytes(&size);
    auto object = TRY(ebpf::Object::open("tls", {static_cast<const std::byte*>(elf), size}));
    for (const char* map : {"bl_l7", "bl_l7_account", "bl_endpoint", "bl_ipcache", "bl_identity",
                            "bl_metric", "bl_drop"})
        TRY(object.share_map(map, TRY(kernel.map(map))));
    const bool tracepoints =
        ebpf::has_tracepoint("sock_send_length") && ebpf::has_tracepoint("sock_recv_length");
    if (!tracepoints) {
        TRY(object.leave_out("bl_tls_sent"));
        TRY(object.leave_out("bl_tls_received"));
    }
    TRY(object.load());
    std::unique_ptr<TlsProbes> probes(new TlsProbes(std::move(object), kernel));
    probes->has_sock_tracepoints_ = tracepoints;
    if (const auto metrics = kernel.metrics())
        probes->unknown_ = (*metrics)[BL_METRIC_l7_tls_unknown];
    return probes;
}

void TlsProbes::look_at(std::uint32_t pid, const std::string& proc) {
    const std::string process = proc + "/" + std::to_string(pid);
    const std::string root = process + "/root";
    for (const auto& path : libraries_of(process))
        add_file(root + path);
    std::array<char, PATH_MAX> exe{};
    if (readlink((process + "/exe").c_str(), exe.data(), exe.size() - 1) > 0)
        add_file(root + exe.data());
    for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/lib"}) {
        for (const char* name : {"libssl.so.3", "libssl.so.1.1", "libgnutls.so.30"})
            add_file(root + folder + "/" + name);
    }
}

void TlsProbes::add_file(const std::string& path) {
    struct stat status{};
    if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return;
    if (files_ >= kMostFiles) return;
    if (seen_.size() >= kMostSeen) seen_.clear(); // placing one twice costs time, no more
    if (!seen_.emplace(status.st_dev, status.st_ino).second) return;
    std::vector<std::string_view> names{kSince3_0, kSince3_2};
    for (const auto& function : kFunctions)
        names.push_back(function.name);
    for (const auto& function : kGoFunctions)
        names.push_back(function.name);
    const auto code = read_code(path);
    if (!code) return;
    const Symbols symbols = find_functions(*code, names);
    if (symbols.empty()) return;
    const std::uint64_t layout = layout_of(symbols);
    bool placed = false;
    const auto report = [&](std::string_view name, const Result<>& done) {
        if (done) {
            placed = true;
            return;
        }
        failed_.fetch_add(1, std::memory_order_relaxed);
        log_warn("TLS is not read", kv("function", name), kv("error", done.error().message));
    };
    for (const auto& function : kFunctions) {
        const auto found = symbols.find(function.name);
        if (found == symbols.end()) continue;
        const std::uint64_t at = found->second.offset;
        auto done = place(path, function.program, at, false, layout);
        if (done && function.returns) done = place(path, "bl_tls_done", at, true, layout);
        report(function.name, done);
    }
    for (const auto& function : kGoFunctions) {
        const auto found = symbols.find(function.name);
        if (found == symbols.end()) continue;
        const auto returns = find_go_returns(*code, found->second);
        Result<> done;
        if (returns.empty()) done = fail(Code::invalid, "no return was found in its code");
        // Returns first: an entry without its return would wait for one that belongs to another call.
        for (const std::uint64_t at : returns) {
            if (done) done = place(path, "bl_tls_go_done", at, false, BL_TLS_GO);
        }
        if (done) done = place(path, function.program, found->second.offset, false, BL_TLS_GO);
        report(function.name, done);
    }
    if (!placed) return;
    files_.fetch_add(1, std::memory_order_relaxed);
    log_info("TLS is read", kv("file", path), kv("layout", layout));
}

Result<> TlsProbes::place(const std::string& path, const char* program, std::uint64_t offset,
                          bool at_return, std::uint64_t cookie) {
    links_.push_back(
        TRY(ebpf::attach_uprobe(TRY(object_.program(program)), {path, offset, at_return, cookie})));
    return {};
}

void TlsProbes::help_unknown() {
    const auto metrics = kernel_.metrics();
    if (!metrics) return;
    const std::uint64_t now = (*metrics)[BL_METRIC_l7_tls_unknown];
    if (now != unknown_ && files_ > 0) watch_sockets();
    unknown_ = now;
}

// They run at every call of every socket, so only when something needs them.
void TlsProbes::watch_sockets() {
    if (watching_sockets_ || !has_sock_tracepoints_) return;
    watching_sockets_ = true;
    for (const char* name : {"bl_tls_sent", "bl_tls_received"}) {
        const auto program = object_.program(name);
        auto link = program ? ebpf::attach_tp_btf(*program) : Result<Fd>(Failure(program.error()));
        if (link) {
            links_.push_back(std::move(*link));
        } else {
            failed_.fetch_add(1, std::memory_order_relaxed);
            log_warn("TLS sockets are not seen", kv("error", link.error().message));
        }
    }
}

void TlsProbes::clear() {
    links_.clear();
    seen_.clear();
    watching_sockets_ = false;
    files_ = 0;
}

TlsProbes::Counts TlsProbes::counts() const {
    return {files_.load(std::memory_order_relaxed), failed_.load(std::memory_order_relaxed)};
}

} // namespace beeline::datapath
