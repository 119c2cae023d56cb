// Just enough of SQL to say what a statement does, without what it does it with.
#pragma once

#include <string>
#include <string_view>

#include "observe/l7/parser.h"

namespace beeline::observe::l7 {

enum class SqlDialect : std::uint8_t {
    standard, // "x" is a name, backslashes are plain but in E'...'
    mysql,    // "x" is a text, `x` a name, backslashes escape
    cql
};

// Method (the verb), resource (the first table), url (the statement, literals as ? when options.redact) of the first
// statement in `text`. `cut`: the text goes on, so that its last word may be the beginning of a longer one.
void set_statement(model::L7& message, std::string_view text, bool cut, SqlDialect dialect,
                   const Context& context);

} // namespace beeline::observe::l7
