#include "observe/history/schema.h"

#include <unistd.h>

#include <array>
#include <cstdio>

#include <fmt/format.h>

namespace beeline::observe::history {
namespace {

// "BLfh": tells the history from other databases.
constexpr std::int64_t kApplication = 0x424c6668;

// Step n brings a file from version n to n + 1. Steps are never changed, only added.
constexpr std::array kSteps{
    R"sql(
CREATE TABLE block(
  number INTEGER PRIMARY KEY, last INTEGER NOT NULL,
  time_min INTEGER NOT NULL, time_max INTEGER NOT NULL,
  entries INTEGER NOT NULL, lost INTEGER NOT NULL,
  contexts BLOB NOT NULL, flows BLOB NOT NULL);
CREATE INDEX block_time_max ON block(time_max);
CREATE INDEX block_time_min ON block(time_min);
CREATE TABLE entry(id INTEGER PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE text(id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
CREATE TABLE edge(
  hour INTEGER NOT NULL, source INTEGER NOT NULL, destination INTEGER NOT NULL,
  service INTEGER NOT NULL, rule INTEGER NOT NULL, port INTEGER NOT NULL,
  protocol INTEGER NOT NULL, verdict INTEGER NOT NULL, reason INTEGER NOT NULL,
  connections INTEGER NOT NULL, closed INTEGER NOT NULL, drops INTEGER NOT NULL,
  packets_out INTEGER NOT NULL, packets_in INTEGER NOT NULL,
  bytes_out INTEGER NOT NULL, bytes_in INTEGER NOT NULL,
  requests INTEGER NOT NULL, responses INTEGER NOT NULL, errors INTEGER NOT NULL,
  latency_ns INTEGER NOT NULL,
  PRIMARY KEY(hour, source, destination, service, rule, port, protocol, verdict, reason))
  WITHOUT ROWID;
CREATE TABLE hour_lost(hour INTEGER PRIMARY KEY, lost INTEGER NOT NULL);
)sql"};
constexpr auto kVersion = static_cast<std::int64_t>(kSteps.size());

Failure foreign(std::string_view what) { return fail(Code::invalid, "{}", what); }

Result<> migrate(const Database& database) {
    const auto version = TRY(database.value("PRAGMA user_version"));
    const auto application = TRY(database.value("PRAGMA application_id"));
    if (version == 0 && application == 0) {
        if (TRY(database.value("SELECT count(*) FROM sqlite_master")) != 0)
            return foreign("it is a database of something else");
        // Only possible while the file is empty.
        TRY(database.execute("PRAGMA auto_vacuum=INCREMENTAL"));
    } else if (application != kApplication) {
        return foreign("it is a database of something else");
    }
    if (version > kVersion) return foreign("a newer version of Beeline wrote it");
    TRY(database.execute("PRAGMA journal_mode=WAL"));
    // A killed process loses nothing that was committed; a power failure may lose the last moments, never more.
    TRY(database.execute("PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=16777216;"
                         "PRAGMA cache_size=-4096; PRAGMA temp_store=MEMORY"));
    if (version == kVersion) return {};
    TRY(database.execute("BEGIN IMMEDIATE"));
    for (auto step = static_cast<std::size_t>(version); step < kSteps.size(); ++step)
        TRY(database.execute(kSteps.at(step)));
    TRY(database.execute(
        fmt::format("PRAGMA application_id={}; PRAGMA user_version={}", kApplication, kVersion)
            .c_str()));
    return database.execute("COMMIT");
}

// A whole check would read the whole file; what is damaged further inside is found when it is used.
Result<> look(const Database& database) {
    for (const char* sql :
         {"SELECT length(contexts) + length(flows) FROM block ORDER BY number LIMIT 1",
          "SELECT length(contexts) + length(flows) FROM block ORDER BY number DESC LIMIT 1",
          "SELECT count(*) FROM (SELECT value FROM entry ORDER BY id DESC LIMIT 1)",
          "SELECT (SELECT max(time_max) FROM block) + (SELECT max(time_min) FROM block)",
          "SELECT count(*) FROM (SELECT latency_ns FROM edge ORDER BY hour DESC LIMIT 1)",
          "SELECT count(*) FROM (SELECT value FROM text LIMIT 1)",
          "SELECT count(*) FROM (SELECT lost FROM hour_lost LIMIT 1)"})
        TRY(database.value(sql));
    return {};
}

Result<Database> open_once(const std::string& path) {
    Database database = TRY(Database::open(path, Database::Mode::write));
    TRY(migrate(database));
    TRY(look(database));
    return database;
}

// A table that is not there, or not like ours, is damage too; SQLite reports it as a plain error.
bool is_damage(const Error& error) {
    constexpr int kSqliteError = 1;
    return error.code == Code::invalid ||
           (error.code == Code::system && error.number == kSqliteError);
}

} // namespace

Result<> set_aside(const std::string& path) {
    const std::string aside = path + ".damaged";
    if (std::rename(path.c_str(), aside.c_str()) != 0 && errno != ENOENT)
        return fail_errno(errno, "cannot rename " + path);
    // The log belongs to the file; without it the last changes would be missing.
    ::unlink((aside + "-wal").c_str());
    (void)std::rename((path + "-wal").c_str(), (aside + "-wal").c_str());
    ::unlink((path + "-shm").c_str());
    ::unlink((aside + "-shm").c_str());
    return {};
}

std::string damage_text(const std::string& path, std::string_view why) {
    return fmt::format("{} cannot be used ({}): it was renamed to {}.damaged and a new one begun",
                       path, why, path);
}

Result<Opened> open_history(const std::string& path) {
    auto first = open_once(path);
    if (first) return Opened{std::move(*first), {}};
    if (!is_damage(first.error())) return Failure(first.error().with("flow history " + path));
    TRY(set_aside(path));
    Opened opened;
    opened.damage =
        fmt::format("{} is damaged ({}): it was renamed to {}.damaged and a new one begun", path,
                    first.error().message, path);
    opened.database = TRY(open_once(path));
    return opened;
}

} // namespace beeline::observe::history
