/* postmap - for tests: what Postfix's own tables answer to the same keys, by the same map file. */
#ifndef TESTS_UNIT_POSTMAP_H
#define TESTS_UNIT_POSTMAP_H

#include <sys/stat.h>
#include <sys/wait.h>

#include "db/directory.h"
#include "tests/unit/scratch.h"

/* A map as Postfix and as we have it. */
struct both_maps {
    const struct map_type *type;
    void *ours;
    char path[256], name[300]; /* "mysql:/path" */
};

/* Postfix waits up to two seconds for a file that was written just now. */
static inline void old_file(char path[256], const char *name, const char *content)
{
    static const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    scratch_file(path, name, content);
    if (utimensat(AT_FDCWD, path, long_ago, 0) != 0)
        fail_msg("cannot make %s old", path);
}

/* `text` is the map file's. */
static inline struct both_maps both_open(const struct map_type *type, const char *text,
                                         const struct settings *settings)
{
    static unsigned number;
    struct both_maps both = {.type = type};
    struct map_context context = {.settings = settings};
    struct fault fault = {""};
    char name[32];
    snprintf(name, sizeof name, "both%u.cf", number++);
    old_file(both.path, name, text);
    snprintf(both.name, sizeof both.name, "%s:%s", type->name, both.path);
    both.ours = type->open(both.path, &context, &fault);
    if (!both.ours)
        fail_msg("%s", fault.text);
    return both;
}

static inline struct finding both_ask_ours(const struct both_maps *both, const char *key)
{
    struct finding finding = {.answer = UNAVAILABLE};
    both->type->lookup(both->ours, key, deadline_in_ms(20000), NULL, &finding);
    return finding;
}

/* A line of what postmap found: its value if it is of this key, and then the line is taken. */
static inline const char *postmap_value(char **lines, const char *key)
{
    size_t length = strlen(key);
    char *line = *lines, *end = strchr(line, '\n');
    if (!end || strncmp(line, key, length) != 0 || line[length] != '\t')
        return NULL;
    *end = '\0';
    *lines = end + 1;
    return line + length + 1;
}

/* Postfix's answers, in a buffer of the caller's; its exit status. 0: found some, 1: none. */
static inline int postmap_run(const struct both_maps *both, const char *const *keys, char *lines,
                              size_t size)
{
    char config[256], asked[256], command[1024];
    old_file(config, "main.cf", "compatibility_level = 3.6\n");
    FILE *file = fopen(scratch_path(asked, "keys"), "w");
    for (; file && *keys; keys++)
        fprintf(file, "%s\n", *keys);
    if (!file || fclose(file) != 0)
        fail_msg("cannot write %s", asked);
    snprintf(command, sizeof command,
             "PATH=$PATH:/usr/sbin postmap -c '%s' -q - '%s' <'%s' 2>'%s/postmap.err'", scratch_dir,
             both->name, asked, scratch_dir);
    FILE *from = popen(command, "r");
    size_t length = from ? fread(lines, 1, size - 1, from) : 0;
    lines[length] = '\0';
    assert_true(length + 1 < size);
    int status = from ? pclose(from) : -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Where Postfix cannot answer a key it gives up, and so do those after it: such keys one by one. */
static inline void both_fail(const struct both_maps *both, const char *key)
{
    char lines[1024];
    struct finding finding = both_ask_ours(both, key);
    if (finding.answer != UNAVAILABLE)
        fail_msg("%s: %s: we said %s", both->name, key, answer_name(finding.answer));
    assert_string_not_equal(finding.why.text, "");
    assert_int_equal(postmap_run(both, (const char *const[]){key, NULL}, lines, sizeof lines), 1);
    assert_string_equal(lines, "");
    char error[4096] = "", path[256];
    FILE *file = fopen(scratch_path(path, "postmap.err"), "r");
    assert_non_null(file);
    error[fread(error, 1, sizeof error - 1, file)] = '\0';
    fclose(file);
    if (!strstr(error, "fatal"))
        fail_msg("%s: %s: Postfix did not fail: %s", both->name, key, error);
}

/* How many of them are found. */
static inline unsigned both_agree(const struct both_maps *both, const char *const *keys)
{
    static char lines[1 << 16];
    char *rest = lines;
    unsigned found = 0;
    int status = postmap_run(both, keys, lines, sizeof lines);
    for (; *keys; keys++) {
        struct finding finding = both_ask_ours(both, *keys);
        const char *value = postmap_value(&rest, *keys);
        if (finding.answer != (value ? FOUND : ABSENT) || strcmp(finding.value, value ? value : ""))
            fail_msg("%s: %s: Postfix said \"%s\", we %s \"%s\" (%s)", both->name, *keys,
                     value ? value : "nothing", answer_name(finding.answer), finding.value,
                     finding.why.text);
        found += value != NULL;
    }
    assert_string_equal(rest, ""); /* and Postfix found no more than these */
    assert_int_equal(status, found > 0 ? 0 : 1);
    return found;
}

static inline void both_close(struct both_maps *both)
{
    both->type->close(both->ours);
}

#endif
