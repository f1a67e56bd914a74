#include "db/mysql_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "shared/text.h"

enum { NESTING_MAX = 64 };

/* ---- words ---- */

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

/* Past white space and comments. */
static const char *skip_blanks(const char *at)
{
    for (;;) {
        at += strspn(at, " \t\r\n\f\v");
        if (*at == '#' || strncmp(at, "-- ", 3) == 0) {
            at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*' && at[2] != '!') {
            const char *end = strstr(at + 2, "*/");
            at = end ? end + 2 : at + strlen(at);
        } else {
            return at;
        }
    }
}

/* Past the closing quote, or the end. */
static const char *skip_quoted(const char *at)
{
    char quote = *at++;
    for (; *at; at++) {
        if (*at == '\\' && quote != '`' && at[1])
            at++;
        else if (*at == quote && at[1] == quote)
            at++;
        else if (*at == quote)
            return at + 1;
    }
    return at;
}

static const char *next_token(const char *at, struct token *token)
{
    const char *end = at + 1;
    *token = (struct token){.kind = TOKEN_OTHER, .at = at};
    if (*at == '\'' || *at == '"' || *at == '`') {
        end = skip_quoted(at);
        token->kind = *at == '`' ? TOKEN_QUOTED_NAME : TOKEN_STRING;
        token->at = at + 1;
        token->length = end - at >= 2 ? (size_t)(end - at) - 2 : 0;
        return end;
    }
    if (is_name_byte(*at)) {
        token->kind = TOKEN_WORD;
        while (is_name_byte(*end))
            end++;
    } else if (strchr("<>=!", *at)) {
        end = at + strspn(at, "<>=!");
    }
    token->length = (size_t)(end - at);
    return end;
}

bool token_is_word(const struct token *token, const char *word)
{
    size_t length = strlen(word);
    char copy[16];
    if (token->kind != TOKEN_WORD || token->length != length || length >= sizeof copy)
        return false;
    memcpy(copy, token->at, length);
    copy[length] = '\0';
    return text_same_word(copy, word);
}

bool token_is_one_of(const struct token *token, const char *const words[])
{
    for (; *words; words++)
        if (token_is_word(token, *words))
            return true;
    return false;
}

bool token_is_sign(const struct token *token, char c)
{
    return token->kind == TOKEN_OTHER && token->length == 1 && *token->at == c;
}

bool token_is_name(const struct token *token)
{
    static const char *const keywords[] = {
        "ALL",     "AND",      "AS",    "ASC",     "BETWEEN",   "BINARY",
        "BY",      "CASE",     "CAST",  "COLLATE", "CONVERT",   "CROSS",
        "DESC",    "DISTINCT", "DIV",   "ELSE",    "END",       "EXCEPT",
        "EXISTS",  "FALSE",    "FOR",   "FORCE",   "FROM",      "GROUP",
        "HAVING",  "IGNORE",   "IN",    "INNER",   "INTERSECT", "IS",
        "JOIN",    "LEFT",     "LIKE",  "LIMIT",   "LOCK",      "MOD",
        "NATURAL", "NOT",      "NULL",  "ON",      "OR",        "ORDER",
        "OUTER",   "REGEXP",   "RIGHT", "RLIKE",   "SELECT",    "STRAIGHT_JOIN",
        "THEN",    "TRUE",     "UNION", "USE",     "USING",     "WHEN",
        "WHERE",   "XOR",      NULL};
    if (token->kind == TOKEN_QUOTED_NAME)
        return true;
    return token->kind == TOKEN_WORD && !(*token->at >= '0' && *token->at <= '9') &&
           !token_is_one_of(token, keywords);
}

/* ---- tokens, their parentheses and their SELECTs ---- */

static void mark_scopes(struct token *tokens, size_t count)
{
    unsigned scopes = 0, scope = 0, before[NESTING_MAX];
    size_t open[NESTING_MAX], depth = 0;
    for (size_t i = 1; i <= count; i++) {
        struct token *token = &tokens[i];
        if (token_is_word(token, "SELECT"))
            scope = ++scopes;
        token->scope = scope;
        if (token_is_sign(token, '(') && depth < NESTING_MAX) {
            before[depth] = scope;
            open[depth++] = i;
        } else if (token_is_sign(token, ')') && depth > 0) {
            depth--;
            scope = before[depth];
            token->partner = open[depth];
            tokens[open[depth]].partner = i;
        }
    }
}

struct token *tokens_read(const char *query, size_t *count)
{
    /* None is shorter than a byte. */
    struct token *tokens = calloc(strlen(query) + 3, sizeof *tokens);
    *count = 0;
    if (!tokens)
        return NULL;
    for (const char *at = skip_blanks(query); *at; at = skip_blanks(at))
        at = next_token(at, &tokens[++*count]);
    tokens[0].kind = tokens[*count + 1].kind = TOKEN_OTHER;
    tokens[0].at = tokens[*count + 1].at = "";
    mark_scopes(tokens, *count);
    return tokens;
}
