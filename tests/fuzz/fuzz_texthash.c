/* The input is a texthash file. */
#include "tests/fuzz/fuzz.h"

#include "db/texthash_table.h"
#include "shared/digest.h"
#include "shared/log.h"

/* Between two copies of a file: it takes what would go on with the last line of the first one. */
static const char between_key[] = "between@fuzz.invalid";

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct texthash_table *read_file(const char *bytes, size_t length)
{
    struct fault fault = {""};
    struct texthash_table *table =
        texthash_table_read("input", input_string((struct input){bytes, length}), length, &fault);
    assert(!table == (memchr(bytes, '\0', length) != NULL));
    assert(!table == (fault.text[0] != '\0'));
    return table;
}

static void check_value(const char *value)
{
    size_t length = strlen(value);
    assert(length > 0 && !is_blank(value[0]) && !is_blank(value[length - 1]));
    assert(!strchr(value, '\n') && text_is_utf8(value, length));
}

/* Whatever may be a key: the first words of the lines. Both tables must say the same of it. */
static unsigned compare_lines(struct input input, const struct texthash_table *table,
                              const struct texthash_table *twice)
{
    unsigned lines = 0;
    while (input.length > 0) {
        char *line = input_line(&input);
        size_t end = 0;
        while (line[end] && !is_blank(line[end]))
            end++;
        line[end] = '\0';
        text_lower_ascii(line);
        const char *value = texthash_table_find(table, line);
        const char *same = texthash_table_find(twice, line);
        assert(value ? same && strcmp(value, same) == 0 : !same || strcmp(line, between_key) == 0);
        if (value)
            check_value(value);
        free(line);
        lines++;
    }
    return lines;
}

/* "The first one counts": a file twice in a row means what it means once. */
static void check_twice(struct input input, const struct texthash_table *table)
{
    char *bytes;
    size_t length;
    FILE *out = open_memstream(&bytes, &length);
    assert(out);
    fwrite(input.bytes, 1, input.length, out);
    fprintf(out, "\n%s value\n", between_key);
    fwrite(input.bytes, 1, input.length, out);
    fclose(out);
    struct texthash_table *twice = read_file(bytes, length);
    size_t count = texthash_table_count(table), count_twice = texthash_table_count(twice);
    assert(count_twice == count || count_twice == count + 1);
    assert(compare_lines(input, table, twice) >= count);
    texthash_table_free(twice);
    free(bytes);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LEVEL_ERROR); /* every line that is left out is a warning */
    return digest_init() ? 0 : 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    struct texthash_table *table = read_file(input.bytes, input.length);
    if (!table)
        return 0;
    check_twice(input, table);
    texthash_table_free(table);
    return 0;
}
