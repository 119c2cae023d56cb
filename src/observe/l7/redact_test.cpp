#include "observe/l7/redact.h"

#include <gtest/gtest.h>

#include "observe/l7/sql.h"
#include "observe/l7/test_replay.h"

namespace beeline::observe::l7 {
namespace {

TEST(RedactUrl, PasswordsAndSecretParameters) {
    const Options options;
    const std::pair<const char*, const char*> rows[] = {
        {"/a/b?page=2", "/a/b?page=2"},
        {"/a?token=abc&x=1", "/a?token=REDACTED&x=1"},
        {"/a?x=1;API_Key=abc#access_token=q", "/a?x=1;API_Key=REDACTED#access_token=REDACTED"},
        {"/a?access%5Ftoken=abc", "/a?access%5Ftoken=REDACTED"},
        {"/a?X-Amz-Signature=f00&X-Amz-Date=1", "/a?X-Amz-Signature=REDACTED&X-Amz-Date=1"},
        {"/a?key=v&monkey=2&passWord=", "/a?key=REDACTED&monkey=2&passWord=REDACTED"},
        {"http:"
         "//bob:hush@host/x",
         "http:"
         "//bob:REDACTED@host/x"},
        {"http:"
         "//bob@host/x",
         "http:"
         "//bob@host/x"},
        {"http:"
         "//a:b:c@d@host?q",
         "http:"
         "//a:REDACTED@host?q"},
        {"*", "*"},
        {"", ""},
    };
    for (const auto& [in, out] : rows)
        EXPECT_EQ(redact_url(in, options), out);
    EXPECT_EQ(redact_url("/a?ticket=1", {.secrets = {"ticket"}}), "/a?ticket=REDACTED");
    EXPECT_EQ(redact_url("http:"
                         "//bob:hush@h/?token=x",
                         {.redact = false}),
              "http:"
              "//bob:REDACTED@h/?token=x");
}

TEST(RedactText, QuotesAndSecrets) {
    const Options options;
    const std::pair<const char*, const char*> rows[] = {
        {"Table 'shop.x' doesn't exist", "Table '?' doesn't exist"},
        {"relation \"x\" does not exist", "relation \"?\" does not exist"},
        {"near 'selec", "near '?"},
        {"bad password=hush, again", "bad password=REDACTED, again"},
        {"token: abc def", "token: REDACTED def"},
        {"plain words: all of them", "plain words: all of them"},
        {"'", "'?"},
    };
    for (const auto& [in, out] : rows)
        EXPECT_EQ(redact_text(in, options), out);
}

TEST(Text, IsAlwaysUtf8) {
    testing::Recorder sink;
    Stats stats;
    Heads heads;
    const Options options{.max_text = 6};
    const Context context{options, sink, stats, heads, 1, false, model::Protocol::tcp};
    const std::pair<const char*, const char*> rows[] = {
        {"plain", "plain"},
        {"a\tb\x7f", "a b "},
        {"\xc3\xa9t\xc3\xa9!", "\xc3\xa9t\xc3\xa9!"},
        {"\xff\xc3", "??"},
        {"\xc0\x80\xed\xa0\x80", "?????"},
        {"12345\xc3\xa9", "12345"},
        {"\xf0\x9f\x90\x9dxyz", "\xf0\x9f\x90\x9dxy"},
    };
    for (const auto& [in, out] : rows)
        EXPECT_EQ(context.text(in), out);
}

TEST(Sql, VerbTableAndStatement) {
    struct Row {
        SqlDialect dialect;
        const char* text;
        const char* verb;
        const char* table;
        const char* statement;
    };
    using enum SqlDialect;
    const Row rows[] = {
        {standard, "select * from a where b='x'", "SELECT", "a", "select * from a where b=?"},
        {standard, "SELECT extract(year FROM t) FROM \"My Table\"", "SELECT", "My Table",
         "SELECT extract(year FROM t) FROM \"My Table\""},
        {standard, "select 1 where a is distinct from b", "SELECT", "",
         "select ? where a is distinct from b"},
        {standard, "select * from (select * from s.inner1) x", "SELECT", "s.inner1",
         "select * from (select * from s.inner1) x"},
        {standard, "with w as (select 1 from q) update only u set a=E'x\\'y'", "UPDATE", "u",
         "with w as (select ? from q) update only u set a=?"},
        {standard, "insert into t values ($1, $tag$it's$tag$, -1.5e-3)", "INSERT", "t",
         "insert into t values ($1, ?, -?)"},
        {standard, "/* hush */ delete -- hush\n from only x", "DELETE", "x", "delete from only x"},
        {standard, "create table if not exists c (a int)", "CREATE", "c",
         "create table if not exists c (a int)"},
        {standard, "alter user bob password 'hush'", "ALTER", "", "alter user bob password ?"},
        {mysql, "SELECT \"hush\", 'it\\'s' FROM `a`.`b`", "SELECT", "a.b",
         "SELECT ?, ? FROM `a`.`b`"},
        {mysql, "replace into r values (0x1f)", "REPLACE", "r", "replace into r values (?)"},
        {mysql, "set names utf8; select 1 from z", "SELECT", "z",
         "set names utf8; select ? from z"},
        {cql, "select * from k.t where id = 123e4567-e89b-12d3-a456-426614174000", "SELECT", "k.t",
         "select * from k.t where id = ?"},
        {standard, "", "", "", ""},
        {standard, "'only a text", "", "", "?"},
    };
    testing::Recorder sink;
    Stats stats;
    Heads heads;
    const Options options;
    const Context context{options, sink, stats, heads, 1, false, model::Protocol::tcp};
    for (const Row& row : rows) {
        model::L7 message;
        set_statement(message, row.text, false, row.dialect, context);
        EXPECT_EQ(message.method, row.verb) << row.text;
        EXPECT_EQ(message.resource, row.table) << row.text;
        EXPECT_EQ(message.url, row.statement) << row.text;
    }
}

TEST(Sql, NothingIsSaidOfAWordThatMayGoOn) {
    testing::Recorder sink;
    Stats stats;
    Heads heads;
    const Options options;
    const Context context{options, sink, stats, heads, 1, false, model::Protocol::tcp};
    const std::string whole = "SELECT a FROM shop.orders WHERE name = 'hush hush'";
    for (std::size_t size = 0; size < whole.size(); ++size) {
        model::L7 message;
        set_statement(message, whole.substr(0, size), true, SqlDialect::standard, context);
        EXPECT_TRUE(message.method.empty() || message.method == "SELECT") << size;
        EXPECT_TRUE(message.resource.empty() || message.resource == "shop.orders") << size;
        EXPECT_EQ(message.url.find("hush"), std::string::npos) << size;
    }
}

} // namespace
} // namespace beeline::observe::l7
