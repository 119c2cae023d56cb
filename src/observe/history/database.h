// SQLite behind Result. The only code that includes sqlite3.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace beeline::observe::history {

// Codes of errors: invalid: the file is damaged or not a database; exhausted: no room; unavailable: locked; system: others.

// One thread at a time. Must not outlive its database.
class Statement {
public:
    Statement() = default;

    // Parameters count from 1. Texts and blobs must stay until the next reset().
    Statement& bind(int at, std::int64_t value);
    Statement& bind(int at, std::uint64_t value) {
        return bind(at, static_cast<std::int64_t>(value));
    }
    Statement& text(int at, std::string_view value);
    Statement& blob(int at, std::string_view value);
    // Whether there is a row.
    Result<bool> step();
    // step() until there is none, and reset().
    Result<> run();
    void reset();

    // Of the current row, from 0; views until the next step() or reset().
    [[nodiscard]] std::int64_t integer(int column) const;
    [[nodiscard]] std::uint64_t number(int column) const {
        return static_cast<std::uint64_t>(integer(column));
    }
    [[nodiscard]] std::string_view bytes(int column) const;

private:
    friend class Database;
    struct Close {
        void operator()(sqlite3_stmt* statement) const;
    };
    std::unique_ptr<sqlite3_stmt, Close> statement_;
};

class Database {
public:
    enum class Mode { write, read };

    Database() = default;
    // `write` makes the file when it is not there, with mode 0600.
    static Result<Database> open(const std::string& path, Mode mode);

    Result<Statement> prepare(std::string_view sql) const;
    Result<> execute(const char* sql) const;
    // The first column of the first row; 0 when there is none or it is null.
    [[nodiscard]] Result<std::int64_t> value(std::string_view sql) const;
    [[nodiscard]] bool in_transaction() const;
    explicit operator bool() const { return handle_ != nullptr; }
    void close() { handle_.reset(); }

private:
    struct Close {
        void operator()(sqlite3* handle) const;
    };
    std::unique_ptr<sqlite3, Close> handle_;
};

} // namespace beeline::observe::history
