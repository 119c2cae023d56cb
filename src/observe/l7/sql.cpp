#include "observe/l7/sql.h"

#include <algorithm>
#include <vector>

#include "observe/l7/lines.h"
#include "observe/l7/redact.h"

namespace beeline::observe::l7 {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

struct Token {
    enum class Kind : std::uint8_t { end, word, name, literal, sign };
    Kind kind = Kind::end;
    std::string_view text; // of names without their quotes
    bool open = false;     // touches the end of the text
    std::size_t start = 0; // with quotes
    std::size_t stop = 0;
};

class Lexer {
public:
    Lexer(std::string_view text, SqlDialect dialect) : text_(text), dialect_(dialect) {}

    Token next() {
        skip_blanks();
        if (at_ == text_.size()) return {};
        const std::size_t start = at_;
        const char c = text_[at_];
        if (c == '\'' || (c == '"' && dialect_ == SqlDialect::mysql)) {
            quoted(c, dialect_ == SqlDialect::mysql);
            return made(Token::Kind::literal, start);
        }
        if (c == '"' || (c == '`' && dialect_ == SqlDialect::mysql)) {
            quoted(c, false);
            Token token = made(Token::Kind::name, start);
            token.text = token.text.substr(1);
            if (token.text.ends_with(c)) token.text.remove_suffix(1);
            return token;
        }
        if (c == '$' && dialect_ != SqlDialect::mysql) {
            if (dollar_quoted()) return made(Token::Kind::literal, start);
            ++at_;
            while (at_ < text_.size() && is_digit(text_[at_]))
                ++at_;
            return made(Token::Kind::sign, start); // a parameter
        }
        if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) {
            // 1.5e-3, 0x1f, and the UUIDs of CQL
            while (at_ < text_.size() &&
                   (is_word(text_[at_]) || text_[at_] == '.' ||
                    ((text_[at_] == '-' || text_[at_] == '+') && lower(text_[at_ - 1]) == 'e') ||
                    (text_[at_] == '-' && dialect_ == SqlDialect::cql)))
                ++at_;
            return made(Token::Kind::literal, start);
        }
        if (is_word(c)) {
            while (at_ < text_.size() && is_word(text_[at_]))
                ++at_;
            // E'..', N'..', B'..', X'..', U&'..'
            const std::string_view prefix = text_.substr(start, at_ - start);
            if (at_ < text_.size() && text_[at_] == '\'' && prefix.size() == 1) {
                quoted('\'', lower(prefix[0]) == 'e' || dialect_ == SqlDialect::mysql);
                return made(Token::Kind::literal, start);
            }
            return made(Token::Kind::word, start);
        }
        ++at_;
        return made(Token::Kind::sign, start);
    }

private:
    static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }

    Token made(Token::Kind kind, std::size_t start) const {
        return {kind, text_.substr(start, at_ - start), at_ == text_.size(), start, at_};
    }

    void skip_blanks() {
        for (;;) {
            while (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) <= ' ')
                ++at_;
            const std::string_view rest = text_.substr(at_);
            if (rest.starts_with("--") ||
                (rest.starts_with('#') && dialect_ == SqlDialect::mysql) ||
                (rest.starts_with("//") && dialect_ == SqlDialect::cql)) {
                at_ = std::min(text_.find('\n', at_), text_.size());
            } else if (rest.starts_with("/*")) {
                const std::size_t end = text_.find("*/", at_ + 2);
                at_ = end == std::string_view::npos ? text_.size() : end + 2;
            } else {
                return;
            }
        }
    }

    void quoted(char quote, bool escapes) {
        for (++at_; at_ < text_.size(); ++at_) {
            if (text_[at_] == '\\' && escapes) {
                at_ = std::min(at_ + 1, text_.size() - 1);
            } else if (text_[at_] == quote) {
                if (at_ + 1 >= text_.size() || text_[at_ + 1] != quote) {
                    ++at_;
                    return;
                }
                ++at_; // doubled: one of the text
            }
        }
    }

    bool dollar_quoted() {
        std::size_t end = at_ + 1;
        while (end < text_.size() && is_word(text_[end]) && text_[end] != '$')
            ++end;
        if (end == text_.size() || text_[end] != '$' || is_digit(text_[at_ + 1])) return false;
        const std::string_view tag = text_.substr(at_, end + 1 - at_);
        const std::size_t close = text_.find(tag, end + 1);
        at_ = close == std::string_view::npos ? text_.size() : close + tag.size();
        return true;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    SqlDialect dialect_;
};

bool is(const Token& token, std::string_view word) {
    return token.kind == Token::Kind::word && token.text.size() == word.size() &&
           upper(token.text) == word;
}

bool is_any(const Token& token, std::initializer_list<std::string_view> words) {
    return std::any_of(words.begin(), words.end(),
                       [&](std::string_view word) { return is(token, word); });
}

constexpr std::size_t kMaxTokens = 1024;

// Where the name of what a statement with this verb is about starts; tokens.size(): nowhere.
std::size_t find_target(const std::vector<Token>& tokens, std::size_t verb) {
    const auto skip = [&](std::size_t at, std::initializer_list<std::string_view> words) {
        while (at < tokens.size() && is_any(tokens[at], words))
            ++at;
        return at;
    };
    const Token& first = tokens[verb];
    if (is_any(first, {"SELECT", "DELETE"})) {
        // FROM of a query, not of extract(year FROM x) or IS DISTINCT FROM.
        std::vector<bool> queries = {true};
        for (std::size_t at = verb + 1; at + 1 < tokens.size(); ++at) {
            if (tokens[at].text == "(" && tokens[at].kind == Token::Kind::sign)
                queries.push_back(is_any(tokens[at + 1], {"SELECT", "WITH"}));
            else if (tokens[at].text == ")" && queries.size() > 1)
                queries.pop_back();
            else if (is(tokens[at], "FROM") && queries.back() && !is(tokens[at - 1], "DISTINCT")) {
                const std::size_t name = skip(at + 1, {"ONLY", "LATERAL"});
                if (name < tokens.size() && tokens[name].kind != Token::Kind::sign) return name;
            }
        }
        return tokens.size();
    }
    if (is_any(first, {"INSERT", "REPLACE", "MERGE"})) {
        for (std::size_t at = verb + 1; at < std::min(tokens.size(), verb + 6); ++at)
            if (is(tokens[at], "INTO")) return at + 1;
        return skip(verb + 1, {"LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE"});
    }
    if (is(first, "UPDATE")) return skip(verb + 1, {"ONLY", "LOW_PRIORITY", "IGNORE"});
    if (is_any(first, {"CREATE", "ALTER", "DROP", "TRUNCATE", "LOCK", "ANALYZE", "VACUUM"})) {
        std::size_t at = verb + 1;
        for (; at < std::min(tokens.size(), verb + 6); ++at)
            if (is_any(tokens[at], {"TABLE", "TABLES", "VIEW", "INDEX", "DATABASE", "SCHEMA",
                                    "KEYSPACE", "SEQUENCE", "TYPE"}))
                return skip(at + 1, {"CONCURRENTLY", "IF", "NOT", "EXISTS", "ONLY"});
        return is(first, "TRUNCATE") ? verb + 1 : tokens.size();
    }
    if (is_any(first, {"COPY", "CALL", "USE", "EXECUTE", "LISTEN", "NOTIFY", "DESCRIBE"}))
        return verb + 1;
    return tokens.size();
}

std::string name_at(const std::vector<Token>& tokens, std::size_t at, bool cut) {
    std::string out;
    for (; at < tokens.size(); at += 2) { // name . name
        const Token& token = tokens[at];
        if (token.kind != Token::Kind::word && token.kind != Token::Kind::name) return {};
        if (token.open && cut) return {};
        out += token.text;
        if (at + 1 >= tokens.size() || tokens[at + 1].text != "." ||
            tokens[at + 1].kind != Token::Kind::sign)
            break;
        if (tokens[at + 1].open && cut) return {};
        out += '.';
    }
    return out;
}

// The data-changing or -reading verb behind WITH names AS (...).
std::size_t main_verb(const std::vector<Token>& tokens) {
    std::size_t verb = 0;
    while (verb < tokens.size() && tokens[verb].text == "(")
        ++verb;
    if (verb == tokens.size() || !is(tokens[verb], "WITH")) return verb;
    int depth = 0;
    for (std::size_t at = verb + 1; at < tokens.size(); ++at) {
        if (tokens[at].kind == Token::Kind::sign && tokens[at].text == "(") ++depth;
        if (tokens[at].kind == Token::Kind::sign && tokens[at].text == ")") --depth;
        if (depth == 0 &&
            is_any(tokens[at], {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"}))
            return at;
    }
    return verb;
}

} // namespace

void set_statement(model::L7& message, std::string_view text, bool cut, SqlDialect dialect,
                   const Context& context) {
    std::vector<Token> tokens;
    std::vector<Token> opening;
    std::string statement;
    std::size_t written = 0; // up to here
    const auto blank = [&](const Token& token) {
        if (!statement.empty() && token.start > written) statement += ' ';
    };
    Lexer lexer(text, dialect);
    for (Token token = lexer.next(); token.kind != Token::Kind::end && tokens.size() < kMaxTokens;
         token = lexer.next()) {
        if (token.kind == Token::Kind::sign && token.text == ";") {
            if (tokens.empty()) continue;
            if (!is_any(tokens[0], {"BEGIN", "START", "SET"}))
                break;            // the first statement speaks for all
            tokens.swap(opening); // but one that only opens a transaction
            tokens.clear();
            statement += ';';
            continue;
        }
        tokens.push_back(token);
        // The last word of what is cut off may be the beginning of another.
        if (statement.size() <= context.options.max_text && !(token.open && cut)) {
            blank(token);
            const char quote = dialect == SqlDialect::mysql ? '`' : '"';
            if (token.kind == Token::Kind::literal && context.options.redact)
                statement += '?';
            else if (token.kind == Token::Kind::name)
                ((statement += quote) += token.text) += quote;
            else
                statement += token.text;
        }
        written = token.stop;
    }
    if (tokens.empty()) tokens.swap(opening);
    message.url = context.text(statement);
    const std::size_t verb = main_verb(tokens);
    if (verb >= tokens.size() || tokens[verb].kind != Token::Kind::word ||
        (tokens[verb].open && cut))
        return;
    message.method = context.text(upper(tokens[verb].text.substr(0, 32)));
    // A verb behind WITH may be of a part that is cut off.
    if (is(tokens[verb], "WITH") && cut) message.method.clear();
    message.resource = context.text(name_at(tokens, find_target(tokens, verb), cut));
}

} // namespace beeline::observe::l7
