#include "api/server/web.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "api/server/listen.h"
#include "api/server/v1.h"
#include "base/fd.h"
#include "base/file.h"
#include "net/address.h"

namespace beeline::api {
namespace {

constexpr std::size_t kTokenBytes = 24;
constexpr std::size_t kLeastToken = 16;
constexpr std::size_t kMostToken = 512;
// Paths below which the page shows something: they all get its one document.
constexpr std::array<std::string_view, 6> kViews{"flows", "workloads", "policy",
                                                 "drops", "alerts",    "map"};

Reply refusal(int status, std::string_view message) {
    return error_reply(Error{Code::denied, 0, std::string(message)}, status);
}

std::string_view path_of(std::string_view target) { return target.substr(0, target.find('?')); }

// Takes the same time wherever the two differ.
bool same_secret(std::string_view given, std::string_view secret) {
    volatile unsigned difference = given.size() == secret.size() ? 0 : 1;
    for (std::size_t i = 0; i < secret.size(); ++i) {
        const unsigned char other = i < given.size() ? static_cast<unsigned char>(given[i]) : 0;
        difference = difference | (other ^ static_cast<unsigned char>(secret[i]));
    }
    return difference == 0;
}

// "localhost:12000", "[::1]:12000" without the port; empty when it is neither.
std::string_view host_of(std::string_view authority) {
    if (authority.starts_with('[')) {
        const std::size_t end = authority.find(']');
        return end == std::string_view::npos ? std::string_view{} : authority.substr(1, end - 1);
    }
    return authority.substr(0, authority.find(':'));
}

const Asset* asset_at(std::string_view path) {
    if (path == "/") path = "/index.html";
    const auto assets = web_assets();
    const auto found = std::find_if(assets.begin(), assets.end(),
                                    [&](const Asset& asset) { return asset.path == path; });
    if (found != assets.end()) return &*found;
    const std::string_view first =
        path.size() > 1 ? path.substr(1, path.find('/', 1) - 1) : std::string_view{};
    if (std::find(kViews.begin(), kViews.end(), first) == kViews.end()) return nullptr;
    return asset_at("/index.html");
}

Reply asset_reply(const Asset& asset, std::string_view known) {
    Reply reply;
    reply.content_type = asset.type;
    reply.headers = {{"ETag", std::string(asset.etag)}, {"Cache-Control", "no-cache"}};
    if (known == asset.etag)
        reply.status = 304;
    else
        reply.body = asset.body;
    return reply;
}

bool is_token(std::string_view text) {
    return text.size() >= kLeastToken && text.size() <= kMostToken &&
           std::all_of(text.begin(), text.end(), [](unsigned char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-' || c == '_' || c == '.' || c == '~';
           });
}

Result<std::string> read_token(const std::string& path) {
    struct stat file{};
    if (::stat(path.c_str(), &file) != 0) return fail_errno(errno, path);
    if ((file.st_mode & 07) != 0)
        return fail(Code::denied, "{} can be read by everybody: chmod 600 it", path);
    std::string text = TRY(read_file(path, 4096));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
    if (!is_token(text)) {
        return fail(Code::invalid, "{} is no token: {} to {} letters, digits and -._~ are expected",
                    path, kLeastToken, kMostToken);
    }
    return text;
}

Result<std::string> make_token(const std::string& path) {
    std::array<unsigned char, kTokenBytes> random{};
    if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
        return fail_errno(errno, "getrandom");
    std::string token;
    for (const unsigned char byte : random)
        token += fmt::format("{:02x}", byte);
    // The folder is root's alone, and so is the file from its first moment.
    const Fd file(
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return fail_errno(errno, "create " + path);
    if (::fchmod(file.get(), 0600) != 0) return fail_errno(errno, "chmod " + path);
    const std::string line = token + "\n";
    if (::write(file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()))
        return fail_errno(errno, "write " + path);
    return token;
}

} // namespace

// The page's program is longer than the literals that every compiler must take; those that build this one take it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverlength-strings"
std::span<const Asset> web_assets() {
    static constexpr Asset kAssets[] = {
#include "web_assets.inc"
    };
    return kAssets;
}
#pragma GCC diagnostic pop

WebGate::WebGate(std::string token, std::vector<std::string> hosts)
    : token_(std::move(token)), hosts_(std::move(hosts)) {}

// Pages of other sites must neither read nor cause anything. Following a link to the page is fine.
std::optional<Reply> WebGate::check_origin(const RequestHead& head, bool api) const {
    const std::string_view authority = head.header("Host");
    const std::string_view host = host_of(authority);
    // A name in DNS can be pointed at this machine by whoever owns it; an address or `localhost` cannot.
    const bool own = host == "localhost" || net::Ip::parse(host).has_value() ||
                     std::find(hosts_.begin(), hosts_.end(), host) != hosts_.end();
    if (host.empty() || !own) {
        return refusal(403, "this name is not known here: open the page by address or as "
                            "localhost, or add the name to web.hosts of the configuration");
    }
    const std::string_view origin = head.header("Origin");
    if (!origin.empty() && origin != fmt::format("http://{}", authority) &&
        origin != fmt::format("https://{}", authority))
        return refusal(403, "requests from other sites are refused");
    const std::string_view site = head.header("Sec-Fetch-Site");
    const bool followed = !api && head.header("Sec-Fetch-Mode") == "navigate";
    if (!site.empty() && site != "same-origin" && site != "none" && !followed)
        return refusal(403, "requests from other sites are refused");
    return {};
}

std::optional<Reply> WebGate::operator()(const RequestHead& head) const {
    const std::string_view path = path_of(head.target);
    const bool api = path.starts_with("/v1/");
    if (auto refused = check_origin(head, api)) return refused;
    if (head.method != "GET") {
        Reply reply = refusal(405, "this port only reads: changes go through the unix socket");
        reply.allow = "GET";
        return reply;
    }
    if (api) {
        const std::string_view given = head.header("Authorization");
        constexpr std::string_view kScheme = "Bearer ";
        if (token_.empty() ||
            (given.starts_with(kScheme) && same_secret(given.substr(kScheme.size()), token_)))
            return {};
        Reply reply =
            refusal(401, "a token is needed: 'beeline status' shows the link that has it");
        reply.headers = {{"WWW-Authenticate", "Bearer"}, {"Cache-Control", "no-store"}};
        return reply;
    }
    if (const Asset* asset = asset_at(path))
        return asset_reply(*asset, head.header("If-None-Match"));
    return error_reply(Error{Code::not_found, 0, "there is no such page: the map is at /"});
}

std::vector<std::pair<std::string, std::string>> web_headers() {
    return {{"Content-Security-Policy",
             "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
             "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
             "frame-ancestors 'none'"},
            {"X-Content-Type-Options", "nosniff"},
            {"X-Frame-Options", "DENY"},
            {"Referrer-Policy", "no-referrer"},
            {"Cross-Origin-Opener-Policy", "same-origin"},
            {"Cross-Origin-Resource-Policy", "same-origin"}};
}

Router web_routes(Backend& backend) {
    const Router all = v1_routes(backend);
    Router reading;
    for (const auto& route : all.routes()) {
        // A recording switches sensors on.
        if (route.method == "GET" && route.pattern != "/v1/record") reading.add(route);
    }
    return reading;
}

Result<std::string> web_token(const WebConfig& config, const std::string& folder) {
    if (config.token == "none") {
        const auto address = TRY(TcpAddress::parse(config.listen));
        if (address.is_loopback()) return std::string();
        return fail(Code::invalid, "web.token: none is for loopback only, not for {}",
                    config.listen);
    }
    if (config.token != "auto") return read_token(config.token);
    const std::string path = folder + "/web.token";
    if (auto kept = read_token(path)) return kept;
    return make_token(path);
}

} // namespace beeline::api
