/* The input is a file in main.cf syntax. */
#include "tests/fuzz/fuzz.h"

#include "config/conf.h"

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void check_entry(const struct conf_entry *entry, unsigned first_line, unsigned last_line)
{
    assert(entry->name[0] != '\0' && entry->name[0] != '#');
    for (const char *c = entry->name; *c; c++)
        assert(!is_space(*c) && *c != '=');
    size_t length = strlen(entry->value);
    assert(length == 0 || (!is_space(entry->value[0]) && !is_space(entry->value[length - 1])));
    assert(!strchr(entry->value, '\n'));
    assert(entry->line >= first_line && entry->line <= last_line);
}

/* Written as plainly as one can, it is read as the same. */
static void check_written_again(const struct conf *conf)
{
    char *bytes;
    size_t length;
    FILE *out = open_memstream(&bytes, &length);
    assert(out);
    for (size_t i = 0; i < conf->count; i++)
        fprintf(out, "%s=%s\n", conf->entries[i].name, conf->entries[i].value);
    fclose(out);

    struct conf *again = conf_read_bytes("again", bytes, length, NULL);
    assert(again && again->count == conf->count);
    for (size_t i = 0; i < conf->count; i++) {
        assert(strcmp(again->entries[i].name, conf->entries[i].name) == 0);
        assert(strcmp(again->entries[i].value, conf->entries[i].value) == 0);
        assert(again->entries[i].line == i + 1);
    }
    conf_free(again);
    free(bytes);
}

static void check_conf(const struct conf *conf, unsigned lines)
{
    unsigned line = 1;
    for (size_t i = 0; i < conf->count; i++) {
        check_entry(&conf->entries[i], line, lines);
        line = conf->entries[i].line + 1;
        const struct conf_entry *found = conf_find(conf, conf->entries[i].name);
        assert(found >= &conf->entries[i]); /* the last of that name */
    }
    check_written_again(conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct fault fault = {""};
    struct conf *conf = conf_read_bytes("input", bytes, size, &fault);
    if (!conf) {
        assert(strncmp(fault.text, "input:", 6) == 0 && is_clean(fault.text));
        return 0;
    }
    assert(fault.text[0] == '\0' && !memchr(bytes, '\0', size));
    unsigned lines = 1;
    for (size_t i = 0; i < size; i++)
        lines += bytes[i] == '\n';
    check_conf(conf, lines);
    conf_free(conf);
    return 0;
}
