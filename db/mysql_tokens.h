/*
 * mysql_tokens - the words of an SQL statement, with their parentheses and the SELECT each belongs
 * to. For mysql_statement.c only. Pure.
 */
#ifndef DB_MYSQL_TOKENS_H
#define DB_MYSQL_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

enum token_kind { TOKEN_WORD, TOKEN_QUOTED_NAME, TOKEN_STRING, TOKEN_OTHER };

struct token {
    enum token_kind kind;
    const char *at; /* in the query; without the quotes of a name or a string */
    size_t length;
    unsigned scope; /* the SELECT it belongs to */
    size_t partner; /* of a parenthesis: the other one; 0: none */
};

/* tokens[1] to tokens[*count]; before and behind them stands one of no length, so that neighbours
 * can be looked at. The caller frees them; they point into the query. NULL: memory is short. */
struct token *tokens_read(const char *query, size_t *count);

bool token_is_word(const struct token *token, const char *word); /* not quoted, in any case */
bool token_is_one_of(const struct token *token, const char *const words[]); /* ended by NULL */
bool token_is_sign(const struct token *token, char c);
/* It may stand for a column, a table or an alias. */
bool token_is_name(const struct token *token);

#endif
