/* The input is an rcpt-milter.conf. */
#include "tests/fuzz/fuzz.h"

#include "config/conf.h"
#include "config/settings.h"
#include "config/values.h"

static void check_same(const struct settings *a, const struct settings *b)
{
    size_t count;
    const struct setting_row *rows = settings_rows(&count);
    for (size_t i = 0; i < count; i++) {
        assert(strcmp(a->origins[i].value, b->origins[i].value) == 0);
        assert(a->origins[i].changed == b->origins[i].changed);
        /* Two lists of networks cannot be compared. */
        assert(rows[i].type == VALUE_NETWORKS || value_same(&rows[i], a, b));
    }
    assert(!settings_restart_needed(a, b));
}

/* -T: "the output is itself a configuration file with the same effect". */
static void check_printed(const struct settings *settings)
{
    char *bytes;
    size_t length;
    FILE *out = open_memstream(&bytes, &length);
    assert(out);
    settings_print(settings, out);
    fclose(out);
    if (length <= CONF_FILE_MAX) { /* expansion can make it longer than any file may be */
        struct fault fault = {""};
        struct settings *again =
            settings_load(input_file((struct input){bytes, length}), NULL, 0, &fault);
        assert(again && fault.text[0] == '\0');
        check_same(settings, again);
        settings_free(again);
    }
    free(bytes);
}

/* Given with -o, one by one, the settings of a file have the same effect. */
static void check_overrides(struct input input, const struct settings *settings)
{
    struct conf *conf = conf_read_bytes("input", input.bytes, input.length, NULL);
    if (!conf) {
        assert(!settings);
        return;
    }
    char **overrides = calloc(conf->count + 1, sizeof *overrides);
    assert(overrides);
    for (size_t i = 0; i < conf->count; i++)
        assert(asprintf(&overrides[i], "%s=%s", conf->entries[i].name, conf->entries[i].value) > 0);
    struct settings *other = settings_load(NULL, (const char *const *)overrides, conf->count, NULL);
    assert(!other == !settings);
    if (settings)
        check_same(settings, other);
    settings_free(other);
    for (size_t i = 0; i < conf->count; i++)
        free(overrides[i]);
    free(overrides);
    conf_free(conf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    struct fault fault = {""};
    struct settings *settings = settings_load(input_file(input), NULL, 0, &fault);
    assert(!settings == (fault.text[0] != '\0'));
    assert(is_clean(fault.text));
    if (settings) {
        assert(settings->held_reply.code[0] != '5');
        check_printed(settings);
    }
    check_overrides(input, settings);
    settings_free(settings);
    return 0;
}
