#include "db/mysql_statement.h"

#include <stdlib.h>
#include <string.h>

#include "db/mysql_tokens.h"
#include "shared/text.h"

struct table_reference {
    const struct token *schema, *name, *alias; /* NULL: not given */
    unsigned scope;
};

enum { TABLES_MAX = 32 };

struct parse {
    struct token *tokens; /* mysql_tokens.h */
    size_t count;
    struct table_reference tables[TABLES_MAX];
    size_t table_count;
    struct mysql_statement *statement;
};

/* ---- the tables ---- */

/* The reference that begins at i; where it ends. */
static size_t read_table(struct parse *parse, size_t i)
{
    const struct token *tokens = parse->tokens;
    struct table_reference reference = {.scope = tokens[i].scope};
    if (token_is_sign(&tokens[i], '(')) { /* a derived table */
        i = tokens[i].partner ? tokens[i].partner + 1 : parse->count + 1;
    } else if (token_is_name(&tokens[i])) {
        reference.name = &tokens[i++];
        if (token_is_sign(&tokens[i], '.') && token_is_name(&tokens[i + 1])) {
            reference.schema = reference.name;
            reference.name = &tokens[i + 1];
            i += 2;
        }
    }
    i += token_is_word(&tokens[i], "AS");
    if (token_is_name(&tokens[i]))
        reference.alias = &tokens[i++];
    if (reference.name && parse->table_count < TABLES_MAX)
        parse->tables[parse->table_count++] = reference;
    return i;
}

static void read_tables(struct parse *parse)
{
    const struct token *tokens = parse->tokens;
    for (size_t i = 1; i <= parse->count; i++) {
        if (!token_is_word(&tokens[i], "FROM") && !token_is_word(&tokens[i], "JOIN"))
            continue;
        size_t at = i + 1;
        while (token_is_sign(&tokens[at], '(') && !token_is_word(&tokens[at + 1], "SELECT"))
            at++;
        at = read_table(parse, at);
        while (token_is_sign(&tokens[at], ','))
            at = read_table(parse, at + 1);
    }
}

/* ---- the columns ---- */

static bool copy_name(const struct token *token, char name[STATEMENT_NAME_MAX])
{
    struct text text = text_on(name, STATEMENT_NAME_MAX);
    if (token)
        text_add_bytes(&text, token->at, token->length);
    return !text.overflow;
}

static bool same_name(const struct token *a, const struct token *b)
{
    char one[STATEMENT_NAME_MAX], other[STATEMENT_NAME_MAX];
    return a && b && copy_name(a, one) && copy_name(b, other) && text_same_word(one, other);
}

/* What stands on the other side of a comparison with the key. */
struct side {
    const struct token *collation; /* after COLLATE, on either side */
    bool binary, padded;
};

static void add_compared(struct parse *parse, const struct table_reference *table,
                         const struct token *column, const struct side *side)
{
    struct mysql_statement *statement = parse->statement;
    struct statement_compared compared = {.padded = side->padded};
    if (statement->compared_count == STATEMENT_COMPARED_MAX ||
        !copy_name(table->schema, compared.schema) || !copy_name(table->name, compared.table) ||
        !copy_name(column, compared.column) || !copy_name(side->collation, compared.collation))
        return;
    if (side->binary)
        strcpy(compared.collation, "binary");
    statement->compared[statement->compared_count++] = compared;
}

/* The column whose last word is at i; its tables are those of its own SELECT, or where that has
 * none that fits, of any. */
static void add_column(struct parse *parse, size_t i, const struct side *side)
{
    const struct token *column = &parse->tokens[i];
    const struct token *of =
        token_is_sign(&parse->tokens[i - 1], '.') ? &parse->tokens[i - 2] : NULL;
    bool found = false;
    for (int anywhere = 0; anywhere < 2 && !found; anywhere++)
        for (size_t t = 0; t < parse->table_count; t++) {
            const struct table_reference *table = &parse->tables[t];
            bool fits =
                !of || same_name(of, table->alias) || (!table->alias && same_name(of, table->name));
            if (!fits || (!anywhere && table->scope != column->scope))
                continue;
            add_compared(parse, table, column, side);
            found = true;
        }
}

/* Every column from first to last; a subquery there gives the one it selects. */
static void add_columns(struct parse *parse, size_t first, size_t last, struct side side)
{
    const struct token *tokens = parse->tokens;
    for (size_t i = first; i <= last; i++) {
        side.binary |= token_is_word(&tokens[i], "BINARY");
        if (token_is_word(&tokens[i], "COLLATE") && i < last)
            side.collation = &tokens[i + 1];
    }
    for (size_t i = first; i <= last; i++) {
        if (token_is_word(&tokens[i], "SELECT")) {
            last = i + 1 + token_is_word(&tokens[i + 1], "DISTINCT");
            last += token_is_sign(&tokens[last + 1], '.') ? 2 : 0;
        }
        bool is_column =
            token_is_name(&tokens[i]) && !token_is_sign(&tokens[i + 1], '(') &&
            !token_is_sign(&tokens[i + 1], '.') && !token_is_word(&tokens[i - 1], "COLLATE") &&
            !token_is_word(&tokens[i - 1], "AS") && !token_is_word(&tokens[i - 1], "USING");
        if (is_column)
            add_column(parse, i, &side);
    }
}

/* ---- the comparisons ---- */

static bool is_comparison(const struct token *token)
{
    static const char *const words[] = {"LIKE", "REGEXP", "RLIKE", NULL};
    return (token->kind == TOKEN_OTHER && token->length > 0 && strchr("<>=!", *token->at)) ||
           token_is_one_of(token, words);
}

static bool ends_operand(const struct token *token)
{
    static const char *const words[] = {"AND",   "OR",    "XOR",     "ON",     "WHERE", "HAVING",
                                        "WHEN",  "THEN",  "ELSE",    "SELECT", "NOT",   "FROM",
                                        "GROUP", "ORDER", "LIMIT",   "UNION",  "END",   "CASE",
                                        "IS",    "IN",    "BETWEEN", NULL};
    return token->length == 0 || token_is_sign(token, ',') || token_is_sign(token, ';') ||
           is_comparison(token) || token_is_one_of(token, words);
}

/* The operand that ends at `last`: where it begins. */
static size_t operand_begin(const struct parse *parse, size_t last)
{
    size_t i = last;
    for (;;) {
        if (token_is_sign(&parse->tokens[i], ')') && parse->tokens[i].partner)
            i = parse->tokens[i].partner;
        if (i <= 1 || ends_operand(&parse->tokens[i - 1]) ||
            token_is_sign(&parse->tokens[i - 1], '('))
            return i;
        i--;
    }
}

static size_t operand_end(const struct parse *parse, size_t first)
{
    size_t i = first;
    for (;;) {
        if (token_is_sign(&parse->tokens[i], '(') && parse->tokens[i].partner)
            i = parse->tokens[i].partner;
        if (i >= parse->count || ends_operand(&parse->tokens[i + 1]) ||
            token_is_sign(&parse->tokens[i + 1], ')'))
            return i;
        i++;
    }
}

static bool is_word_before(const struct parse *parse, size_t i, const char *word)
{
    return i >= 1 && token_is_word(&parse->tokens[i - 1], word);
}

/* The operand of which the key is a part: is it compared at this level of parentheses? */
static bool add_comparison(struct parse *parse, size_t first, size_t last, struct side side)
{
    const struct token *tokens = parse->tokens;
    for (size_t i = first; i < last; i++)
        if (token_is_word(&tokens[i], "COLLATE"))
            side.collation = &tokens[i + 1];
    side.binary = token_is_word(&tokens[first], "BINARY");
    if (is_comparison(&tokens[first - 1])) {
        side.padded &= tokens[first - 1].kind == TOKEN_OTHER;
        size_t end = first - 2 - is_word_before(parse, first - 1, "NOT");
        add_columns(parse, operand_begin(parse, end), end, side);
        return true;
    }
    size_t after = last + 1 + token_is_word(&tokens[last + 1], "NOT");
    if (is_comparison(&tokens[after]) || token_is_word(&tokens[after], "IN")) {
        side.padded &= tokens[after].kind == TOKEN_OTHER || token_is_word(&tokens[after], "IN");
        add_columns(parse, after + 1, operand_end(parse, after + 1), side);
        return true;
    }
    return false;
}

/* The parenthesis that i is inside of; 0: none. */
static size_t enclosing(const struct parse *parse, size_t i)
{
    while (--i > 0) {
        if (token_is_sign(&parse->tokens[i], ')') && parse->tokens[i].partner)
            i = parse->tokens[i].partner;
        else if (token_is_sign(&parse->tokens[i], '('))
            return i;
    }
    return 0;
}

/* From the string with the key outwards: CONCAT('%u', '@', a.target) is compared as a whole. */
static void find_comparison(struct parse *parse, size_t key, bool padded)
{
    const struct token *tokens = parse->tokens;
    struct side side = {.padded = padded};
    size_t inside = key;
    for (;;) {
        size_t first = operand_begin(parse, inside), last = operand_end(parse, inside);
        if (add_comparison(parse, first, last, side))
            return;
        size_t open = enclosing(parse, inside);
        if (!open || !tokens[open].partner || token_is_word(&tokens[open + 1], "SELECT"))
            return;
        if (token_is_word(&tokens[open - 1], "IN")) {
            size_t end = open - 2 - is_word_before(parse, open - 1, "NOT");
            add_columns(parse, operand_begin(parse, end), end, side);
            return;
        }
        side.padded &= last + 1 == tokens[open].partner; /* not CONCAT('%u', '@', ...) */
        inside = open;
    }
}

/* ---- the key ---- */

/* *ends_local: what the text ends with is the local part alone. */
static bool has_key(const char *at, size_t length, bool *ends_local)
{
    bool has = false;
    *ends_local = false;
    for (size_t i = 0; i + 1 < length; i++) {
        if (at[i] != '%')
            continue;
        i++;
        if (strchr("suSdDU123456789", at[i])) {
            has = true;
            *ends_local = i + 1 == length && (at[i] == 'u' || at[i] == 'U');
        }
    }
    return has;
}

static bool takes_all(const struct parse *parse)
{
    const struct token *tokens = parse->tokens;
    for (size_t i = 2; i <= parse->count; i++) {
        if (!token_is_sign(&tokens[i], '*'))
            continue;
        size_t open = enclosing(parse, i);
        bool in_list = is_word_before(parse, i, "SELECT") || is_word_before(parse, i, "DISTINCT") ||
                       is_word_before(parse, i, "ALL") || token_is_sign(&tokens[i - 1], '.');
        if (in_list && !(open && token_is_word(&tokens[open - 1], "EXISTS")))
            return true;
    }
    return false;
}

bool mysql_statement_read(const char *query, struct mysql_statement *statement)
{
    struct parse parse = {.statement = statement};
    bool padded;
    *statement = (struct mysql_statement){0};
    statement->uses_key = has_key(query, strlen(query), &padded);
    parse.tokens = tokens_read(query, &parse.count);
    if (!parse.tokens)
        return false;
    size_t first = 1;
    while (token_is_sign(&parse.tokens[first], '('))
        first++;
    statement->is_select = token_is_word(&parse.tokens[first], "SELECT") ||
                           token_is_word(&parse.tokens[first], "WITH");
    statement->takes_all = takes_all(&parse);
    read_tables(&parse);
    for (size_t i = 1; i <= parse.count; i++)
        if (parse.tokens[i].kind == TOKEN_STRING &&
            has_key(parse.tokens[i].at, parse.tokens[i].length, &padded))
            find_comparison(&parse, i, padded);
    free(parse.tokens);
    return true;
}
