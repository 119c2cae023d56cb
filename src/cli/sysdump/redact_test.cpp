#include "cli/sysdump/redact.h"

#include <gtest/gtest.h>

namespace beeline::cli {
namespace {

TEST(Redact, MembersWithSecretNames) {
    auto document = nlohmann::json::parse(R"({
        "web": {"token": "tok-123456789", "listen": "127.0.0.1:1"},
        "kafka": {"sasl": {"mechanism": "PLAIN", "username": "me", "password": "pass-abcdef"},
                  "passwordFile": "/etc/beeline/password"},
        "headers": {"X-Team": "red", "Authorization": "Bearer aaa.bbb.ccc"},
        "tls": {"cert": "/etc/cert.pem", "key": "/etc/key.pem"},
        "counters": {"tokens": 3, "secrets_seen": true}})");
    Redactor redactor;
    redactor.redact(document);
    const auto text = document.dump();
    for (const auto* secret : {"tok-123456789", "PLAIN", "pass-abcdef", "aaa.bbb.ccc", "red"})
        EXPECT_EQ(text.find('"' + std::string(secret) + '"'), std::string::npos) << text;
    EXPECT_EQ(document["kafka"]["passwordFile"], "/etc/beeline/password");
    EXPECT_EQ(document["tls"]["key"], "/etc/key.pem");
    EXPECT_EQ(document["counters"]["tokens"], 3);
    EXPECT_EQ(document["web"]["listen"], "127.0.0.1:1");
    // What was found is found elsewhere too.
    EXPECT_EQ(redactor.scrub("x tok-123456789 y pass-abcdef aaa.bbb.ccc"),
              "x <redacted> y <redacted> <redacted>");
}

TEST(Redact, ArgumentsOfACommand) {
    auto document =
        nlohmann::json::parse(R"({"command": ["/bin/notify", "--api-token", "arg-123456789",
        "--no-password", "--verbose-output", "--token-file", "/etc/token", "--secret=arg-987654321"]})");
    Redactor redactor;
    redactor.redact(document);
    EXPECT_EQ(document["command"].dump(),
              R"(["/bin/notify","--api-token","<redacted>","--no-password","--verbose-output",)"
              R"("--token-file","/etc/token","--secret=<redacted>"])");
    EXPECT_EQ(redactor.scrub("arg-123456789 --verbose-output"), "<redacted> --verbose-output");
}

TEST(Redact, Texts) {
    struct Row {
        const char* in;
        const char* out;
    };
    const Row rows[]{
        {"url=\"http://127.0.0.1:1/#token=abc123def\"",
         "url=\"http://127.0.0.1:1/#token=<redacted>\""},
        {"postgres://x:pw@db:5432/x", "postgres://<redacted>@db:5432/x"},
        {"curl -H 'Authorization: Bearer abc.def.ghi' x",
         "curl -H 'Authorization: Bearer <redacted>' x"},
        {"mysql --password hunter2 -h db", "mysql --password <redacted> -h db"},
        {"mysql --password=hunter2 -h db", "mysql --password=<redacted> -h db"},
        {"env DB_PASSWORD=hunter2 FOO=1", "env DB_PASSWORD=<redacted> FOO=1"},
        {R"({"api_key":"k-1","b":2})", R"({"api_key":"<redacted>","b":2})"},
        {R"(\"password\": \"x1\")", R"(\"password\": \"<redacted>\")"},
        {"GET /a?access_token=abc&b=1", "GET /a?access_token=<redacted>&b=1"},
        {"Cookie: session=abc", "Cookie: <redacted>"},
        {"passwordFile: /etc/beeline/pw", "passwordFile: /etc/beeline/pw"},
        {"nothing to see, 10.0.0.1:80", "nothing to see, 10.0.0.1:80"},
        {"-----BEGIN RSA PRIVATE KEY-----\nMII\nabc\n-----END RSA PRIVATE KEY-----\nx",
         "-----BEGIN RSA PRIVATE KEY-----<redacted>-----END RSA PRIVATE KEY-----\nx"},
        {"-----BEGIN PRIVATE KEY-----\nMII", "-----BEGIN PRIVATE KEY-----<redacted>"},
        {"", ""},
    };
    for (const auto& row : rows) {
        Redactor redactor;
        EXPECT_EQ(redactor.redact(std::string_view(row.in)), row.out);
        // Once more changes nothing.
        EXPECT_EQ(redactor.redact(std::string_view(row.out)), row.out);
    }
}

TEST(Redact, ShortValuesAreNotLookedForElsewhere) {
    Redactor redactor;
    EXPECT_EQ(redactor.redact(std::string_view("password=web")), "password=<redacted>");
    EXPECT_EQ(redactor.scrub("shop/web"), "shop/web");
}

TEST(Redact, Names) {
    for (const auto* name : {"password", "clientSecret", "API_KEY", "x-auth-token", "sasl",
                             "Set-Cookie", "client-key-data"})
        EXPECT_TRUE(is_secret_name(name)) << name;
    for (const auto* name : {"passwordFile", "key", "name", "tls", "caFile"})
        EXPECT_FALSE(is_secret_name(name)) << name;
}

} // namespace
} // namespace beeline::cli
