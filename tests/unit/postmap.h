/* postmap - for tests: what Postfix's own tables answer to the same keys, by the same map file. */
#ifndef TESTS_UNIT_POSTMAP_H
#define TESTS_UNIT_POSTMAP_H

#include <sys/stat.h>
#include <sys/wait.h>

#include "db/directory.h"
#include "tests/unit/scratch.h"

/* What people and others send; folded, as Postfix folds. */
static const char *const hostile_keys[] = {"o'brien@x.test",
                                           "''@x.test",
                                           "'@x.test",
                                           "\\@x.test",
                                           "\\'@x.test",
                                           "\"@x.test",
                                           "\"a b\"@x.test",
                                           "\"a'b\"@x.test",
                                           "\"\"\"\"@x.test",
                                           "100%s@x.test",
                                           "%@x.test",
                                           "%%@x.test",
                                           "_@x.test",
                                           "`x`@x.test",
                                           "[x]@x.test",
                                           "x' or '1'='1",
                                           "x\" or \"1\"=\"1",
                                           "x'; drop table r; --@x.test",
                                           "x'--@x.test",
                                           "x/*@x.test",
                                           "*/x@x.test",
                                           "?@x.test",
                                           "?1@x.test",
                                           ":a@x.test",
                                           "$x@x.test",
                                           "a,b@x.test",
                                           "a;b@x.test",
                                           "\x01@x.test",
                                           "\x7f@x.test",
                                           "\xc3\xa4@x.test",
                                           "a\xcc\x88@x.test",
                                           "\xf0\x9f\x98\x80@x.test",
                                           "value",
                                           "address",
                                           "null",
                                           "1",
                                           "1e3@x.test",
                                           "x\xe2\x80\x8b@x.test",
                                           "a@b@x.test",
                                           "trailing @x.test",
                                           "a|b@x.test",
                                           "-- @x.test",
                                           "\xe2\x80\x99@x.test",
                                           NULL};

enum { HOSTILE = sizeof hostile_keys / sizeof hostile_keys[0] - 1 };

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

/* A postmap that answers these keys; what it says goes to a file of the map's own. */
static inline FILE *postmap_start(const struct both_maps *both, const char *const *keys)
{
    char config[256], command[2048];
    old_file(config, "main.cf", "compatibility_level = 3.6\n");
    snprintf(command, sizeof command, "%s.keys", both->path);
    FILE *file = fopen(command, "w");
    for (; file && *keys; keys++)
        fprintf(file, "%s\n", *keys);
    if (!file || fclose(file) != 0)
        fail_msg("cannot write %s", command);
    snprintf(command, sizeof command,
             "PATH=$PATH:/usr/sbin postmap -c '%s' -q - '%s' <'%s.keys' 2>'%s.said'", scratch_dir,
             both->name, both->path, both->path);
    FILE *from = popen(command, "r");
    if (!from)
        fail_msg("cannot start postmap");
    return from;
}

/* What it found, in a buffer of the caller's; its exit status. 0: found some, 1: none. */
static inline int postmap_end(FILE *from, char *lines, size_t size)
{
    size_t length = fread(lines, 1, size - 1, from);
    lines[length] = '\0';
    assert_true(length + 1 < size);
    int status = pclose(from);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Where Postfix cannot answer a key it gives up, and so do those after it: such keys one by one. */
struct failing {
    const char *key;
    FILE *postmap;
};

static inline struct failing both_fail_begin(const struct both_maps *both, const char *key)
{
    return (struct failing){key, postmap_start(both, (const char *const[]){key, NULL})};
}

static inline void both_fail_end(const struct both_maps *both, struct failing *failing)
{
    char lines[1024], said[300], error[4096] = "";
    struct finding finding = both_ask_ours(both, failing->key);
    if (finding.answer != UNAVAILABLE)
        fail_msg("%s: %s: we said %s", both->name, failing->key, answer_name(finding.answer));
    assert_string_not_equal(finding.why.text, "");
    assert_int_equal(postmap_end(failing->postmap, lines, sizeof lines), 1);
    assert_string_equal(lines, "");
    snprintf(said, sizeof said, "%s.said", both->path);
    FILE *file = fopen(said, "r");
    assert_non_null(file);
    error[fread(error, 1, sizeof error - 1, file)] = '\0';
    fclose(file);
    if (!strstr(error, "fatal"))
        fail_msg("%s: %s: Postfix did not fail: %s", both->name, failing->key, error);
}

static inline void both_fail(const struct both_maps *both, const char *key)
{
    struct failing failing = both_fail_begin(both, key);
    both_fail_end(both, &failing);
}

/* How many of them are found. */
static inline unsigned both_agree(const struct both_maps *both, const char *const *keys)
{
    static char lines[1 << 16];
    char *rest = lines;
    unsigned found = 0;
    int status = postmap_end(postmap_start(both, keys), lines, sizeof lines);
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
