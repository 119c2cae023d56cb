#include "observe/history/database.h"

#include <fcntl.h>
#include <sqlite3.h>

#include "base/fd.h"

namespace beeline::observe::history {
namespace {

constexpr int kBusyMs = 2000;

Failure failure(sqlite3* handle, int code) {
    Code kind = Code::system;
    switch (code & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: kind = Code::invalid; break;
    case SQLITE_FULL: kind = Code::exhausted; break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED: kind = Code::unavailable; break;
    default: break;
    }
    return Failure(Error{
        kind, code, fmt::format("{}", handle ? sqlite3_errmsg(handle) : sqlite3_errstr(code))});
}

} // namespace

void Statement::Close::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
void Database::Close::operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }

Statement& Statement::bind(int at, std::int64_t value) {
    sqlite3_bind_int64(statement_.get(), at, value);
    return *this;
}

Statement& Statement::text(int at, std::string_view value) {
    sqlite3_bind_text(statement_.get(), at, value.data(), static_cast<int>(value.size()),
                      SQLITE_STATIC);
    return *this;
}

Statement& Statement::blob(int at, std::string_view value) {
    sqlite3_bind_blob(statement_.get(), at, value.data(), static_cast<int>(value.size()),
                      SQLITE_STATIC);
    return *this;
}

Result<bool> Statement::step() {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    auto error = failure(sqlite3_db_handle(statement_.get()), code);
    reset();
    return error;
}

Result<> Statement::run() {
    while (TRY(step())) {
    }
    reset();
    return {};
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

std::int64_t Statement::integer(int column) const {
    return sqlite3_column_int64(statement_.get(), column);
}

std::string_view Statement::bytes(int column) const {
    const void* data = sqlite3_column_blob(statement_.get(), column);
    if (!data) return {};
    return {static_cast<const char*>(data),
            static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<Database> Database::open(const std::string& path, Mode mode) {
    if (mode == Mode::write) {
        // SQLite gives its own files the mode of the database.
        const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!file) return fail_errno(errno, "cannot open " + path);
    }
    const int flags =
        (mode == Mode::write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX;
    sqlite3* handle = nullptr;
    const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
    Database database;
    database.handle_.reset(handle);
    if (code != SQLITE_OK) return failure(handle, code);
    sqlite3_extended_result_codes(handle, 1);
    sqlite3_busy_timeout(handle, kBusyMs);
    // The file may be anybody's work: nothing in its schema runs.
    sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
    sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
    return database;
}

Result<Statement> Database::prepare(std::string_view sql) const {
    sqlite3_stmt* raw = nullptr;
    const int code =
        sqlite3_prepare_v2(handle_.get(), sql.data(), static_cast<int>(sql.size()), &raw, nullptr);
    if (code != SQLITE_OK) return failure(handle_.get(), code);
    Statement statement;
    statement.statement_.reset(raw);
    return statement;
}

Result<> Database::execute(const char* sql) const {
    const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
    if (code != SQLITE_OK) return failure(handle_.get(), code);
    return {};
}

Result<std::int64_t> Database::value(std::string_view sql) const {
    Statement statement = TRY(prepare(sql));
    if (!TRY(statement.step())) return 0;
    return statement.integer(0);
}

bool Database::in_transaction() const {
    return handle_ && sqlite3_get_autocommit(handle_.get()) == 0;
}

} // namespace beeline::observe::history
