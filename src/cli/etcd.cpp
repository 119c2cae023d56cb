#include "cli/etcd.h"

#include <curl/curl.h>

#include <array>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>

namespace beeline::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kLargestAnswer = 256U << 20;
constexpr int kPage = 500;
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::size_t on_data(char* data, std::size_t, std::size_t size, void* out) {
    auto& text = *static_cast<std::string*>(out);
    if (text.size() + size > kLargestAnswer) return 0;
    text.append(data, size);
    return size;
}

std::string end_of(std::string prefix) {
    prefix.back() = static_cast<char>(prefix.back() + 1); // '/' or a letter: never the last byte
    return prefix;
}

// Numbers of 64 bits are texts in this JSON.
std::int64_t number(const json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end()) return 0;
    if (found->is_number_integer()) return found->get<std::int64_t>();
    return found->is_string()
               ? std::strtoll(found->get_ref<const std::string&>().c_str(), nullptr, 10)
               : 0;
}

std::string field(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

} // namespace

std::string to_base64(std::string_view bytes) {
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        unsigned group = 0;
        for (std::size_t j = 0; j < 3; ++j)
            group =
                group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
        for (std::size_t j = 0; j < 4; ++j)
            out += i + j > bytes.size() ? '=' : kAlphabet[group >> (18 - 6 * j) & 63];
    }
    return out;
}

Result<std::string> from_base64(std::string_view text) {
    while (text.ends_with('='))
        text.remove_suffix(1);
    std::string out;
    unsigned group = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const auto at = kAlphabet.find(c);
        if (at == std::string_view::npos) return fail(Code::invalid, "no base64 text");
        group = group << 6 | static_cast<unsigned>(at);
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        out += static_cast<char>(group >> bits & 0xff);
    }
    return out;
}

Result<EtcdGateway> EtcdGateway::connect(EtcdFlags flags) {
    for (const auto& url : flags.endpoints) {
        if (!url.starts_with("http://") && !url.starts_with("https://"))
            return fail(Code::invalid, "--etcd: expected http:// or https://, HOST:PORT");
    }
    if (flags.certificate.empty() != flags.key.empty())
        return fail(Code::invalid, "--etcd-cert and --etcd-key belong together");
    while (flags.prefix.ends_with('/'))
        flags.prefix.pop_back();
    if (!flags.prefix.starts_with('/'))
        return fail(Code::invalid, "--etcd-prefix: expected a path such as /beeline");
    EtcdGateway out(std::move(flags));
    if (out.flags_.user.empty()) return out;
    // Not an argument: those are seen by every user of the machine.
    const char* secret = std::getenv("BEELINE_ETCD_PASSWORD");
    const json answer =
        TRY(out.call("/v3/auth/authenticate",
                     {{"name", out.flags_.user}, {"password", secret != nullptr ? secret : ""}}));
    out.token_ = field(answer, "token");
    return out;
}

Result<json> EtcdGateway::post(const std::string& url, const std::string& body) {
    const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                   curl_easy_cleanup);
    if (!curl) return fail(Code::internal, "libcurl cannot start");
    std::string answer;
    curl_slist* list = curl_slist_append(nullptr, "Content-Type: application/json");
    if (!token_.empty()) list = curl_slist_append(list, ("Authorization: " + token_).c_str());
    const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(list,
                                                                              curl_slist_free_all);
    auto* handle = curl.get();
    curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, 3000L);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, 20'000L);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &answer);
    if (!flags_.ca_file.empty()) curl_easy_setopt(handle, CURLOPT_CAINFO, flags_.ca_file.c_str());
    if (!flags_.certificate.empty()) {
        curl_easy_setopt(handle, CURLOPT_SSLCERT, flags_.certificate.c_str());
        curl_easy_setopt(handle, CURLOPT_SSLKEY, flags_.key.c_str());
    }
    if (const auto done = curl_easy_perform(handle); done != CURLE_OK)
        return fail(Code::unavailable, "etcd at {}: {}", url.substr(0, url.find("/v3")),
                    curl_easy_strerror(done));
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    json parsed = json::parse(answer, nullptr, false);
    if (status == 200 && parsed.is_object()) return parsed;
    std::string reason = parsed.is_object() ? field(parsed, "message") : "";
    if (reason.empty() && parsed.is_object()) reason = field(parsed, "error");
    if (reason.empty()) reason = fmt::format("HTTP status {}", status);
    return fail(status == 401 || status == 403 ? Code::denied : Code::invalid, "etcd at {}: {}",
                url.substr(0, url.find("/v3")), reason);
}

Result<json> EtcdGateway::call(const std::string& path, const json& body) {
    Error last{Code::invalid, 0, "no endpoint of etcd is given"};
    for (auto url : flags_.endpoints) {
        while (url.ends_with('/'))
            url.pop_back();
        auto answer = post(url + path, body.dump());
        if (answer || answer.error().code != Code::unavailable) return answer;
        last = answer.error();
    }
    return Failure(std::move(last));
}

Result<std::vector<EtcdGateway::Entry>> EtcdGateway::range(const std::string& prefix) {
    std::vector<Entry> out;
    std::string from = prefix;
    json revision;
    for (;;) {
        json request{
            {"key", to_base64(from)}, {"range_end", to_base64(end_of(prefix))}, {"limit", kPage}};
        if (!revision.is_null()) request["revision"] = revision;
        const json answer = TRY(call("/v3/kv/range", request));
        if (revision.is_null() && answer.contains("header"))
            revision = std::to_string(number(answer["header"], "revision"));
        const json& list = answer.contains("kvs") ? answer["kvs"] : json::array();
        for (const auto& each : list) {
            out.push_back({TRY(from_base64(field(each, "key"))),
                           TRY(from_base64(field(each, "value"))), number(each, "mod_revision")});
        }
        if (!answer.value("more", false) || list.empty()) return out;
        from = out.back().key + std::string(1, '\0');
    }
}

Result<bool> EtcdGateway::change(const std::vector<Change>& changes) {
    json compare = json::array();
    json success = json::array();
    for (const auto& each : changes) {
        const auto key = to_base64(each.key);
        compare.push_back({{"key", key},
                           {"target", "MOD"},
                           {"result", "EQUAL"},
                           {"mod_revision", std::to_string(each.modified)}});
        if (each.removal) {
            success.push_back({{"request_delete_range", {{"key", key}}}});
        } else {
            success.push_back({{"request_put", {{"key", key}, {"value", to_base64(each.value)}}}});
        }
    }
    const json answer = TRY(call("/v3/kv/txn", {{"compare", compare}, {"success", success}}));
    return answer.value("succeeded", false);
}

} // namespace beeline::cli
