/* The seal of a memcached value, and the file its secret comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "db/memcache_seal.h"

static const char secret[] = "correct horse battery staple";
static const char key[] = "rcpt-milter:r0123456789abcdef0123456789abcdef";
static const char value[] = "rm1 0123456789abcdef0123456789abcdef K 1700000000";

static struct seal seal_of(const char *text)
{
    return (struct seal){.on = true, .key = digest_key_from(text, strlen(text))};
}

static size_t sealed_value(const struct seal *seal, char sealed[SEALED_MAX])
{
    size_t length = seal_close(seal, key, value, strlen(value), sealed);
    assert_int_equal(length, strlen(value) + SEAL_BYTES);
    return length;
}

static void what_was_sealed_opens_as_it_was(void **state)
{
    (void)state;
    char sealed[SEALED_MAX], bytes[SEALED_MAX];
    struct seal seal = seal_of(secret);
    memset(bytes, '\0', sizeof bytes);
    for (size_t length = 0; length <= SEALED_MAX - SEAL_BYTES; length++) {
        size_t got = SEALED_MAX;
        assert_int_equal(seal_close(&seal, key, bytes, length, sealed), length + SEAL_BYTES);
        assert_true(seal_open(&seal, key, sealed, length + SEAL_BYTES, &got));
        assert_int_equal(got, length);
        assert_memory_equal(sealed, bytes, length);
    }
    assert_int_equal(seal_close(&seal, key, bytes, SEALED_MAX - SEAL_BYTES + 1, sealed), 0);
}

static void a_value_with_one_bit_changed_does_not_open(void **state)
{
    (void)state;
    char sealed[SEALED_MAX];
    struct seal seal = seal_of(secret);
    size_t length = sealed_value(&seal, sealed), got;
    for (size_t bit = 0; bit < 8 * length; bit++) {
        sealed[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(seal_open(&seal, key, sealed, length, &got));
        sealed[bit / 8] ^= (char)(1 << bit % 8);
    }
    assert_true(seal_open(&seal, key, sealed, length, &got));
}

static void a_value_that_was_cut_or_added_to_does_not_open(void **state)
{
    (void)state;
    char sealed[SEALED_MAX];
    struct seal seal = seal_of(secret);
    size_t length = sealed_value(&seal, sealed), got;
    for (size_t cut = 1; cut <= length; cut++) {
        assert_false(seal_open(&seal, key, sealed, length - cut, &got));
        assert_false(seal_open(&seal, key, sealed + cut, length - cut, &got));
    }
    sealed[length] = '\0';
    assert_false(seal_open(&seal, key, sealed, length + 1, &got));
}

static void a_value_opens_under_its_own_key_and_secret_only(void **state)
{
    (void)state;
    static const char *const others[] = {
        "rcpt-milter:g0123456789abcdef0123456789abcdef", /* another kind */
        "rcpt-milter:r0123456789abcdef0123456789abcdee", /* another recipient */
        "rcpt-milteR:r0123456789abcdef0123456789abcdef", /* another prefix */
        "rcpt-milter:r0123456789abcdef0123456789abcde", ""};
    char sealed[SEALED_MAX];
    struct seal seal = seal_of(secret);
    size_t length = sealed_value(&seal, sealed), got;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(seal_open(&seal, others[i], sealed, length, &got));
    struct seal other = seal_of("correct horse battery stapler");
    assert_false(seal_open(&other, key, sealed, length, &got));
}

/* The file. */

static struct seal load(const char *path, const char *expected)
{
    struct seal seal = {.on = true};
    struct fault fault = {.text = ""};
    bool good = seal_load(&seal, path, &fault);
    if (good != (expected == NULL) || (expected && !strstr(fault.text, expected)))
        fail_msg("%s: \"%s\", expected \"%s\"", path, fault.text, expected ? expected : "");
    assert_null(strstr(fault.text, "correct"));
    if (!good)
        assert_false(seal.on);
    return seal;
}

static const char *secret_file(char path[256], const char *content, mode_t mode)
{
    scratch_file(path, "secret", content);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static void no_file_means_no_seal(void **state)
{
    (void)state;
    struct seal seal = load("", NULL);
    assert_false(seal.on);
}

static void one_newline_at_the_end_is_not_part_of_the_secret(void **state)
{
    (void)state;
    char path[256], with_two[64];
    struct seal expected = seal_of(secret), seal;
    seal = load(secret_file(path, secret, 0600), NULL);
    assert_memory_equal(&seal.key, &expected.key, sizeof seal.key);
    snprintf(with_two, sizeof with_two, "%s\n\n", secret);
    seal = load(secret_file(path, with_two, 0600), NULL);
    assert_memory_not_equal(&seal.key, &expected.key, sizeof seal.key);
    with_two[strlen(secret) + 1] = '\0';
    seal = load(secret_file(path, with_two, 0640), NULL);
    assert_true(seal.on);
    assert_memory_equal(&seal.key, &expected.key, sizeof seal.key);
}

static void a_secret_of_a_wrong_length_is_refused(void **state)
{
    (void)state;
    char path[256], text[SECRET_MAX + 3];
    load(secret_file(path, "", 0600), "too few");
    load(secret_file(path, "correct-and-15b\n", 0600), "too few");
    load(secret_file(path, "correct-and-16by\n", 0600), NULL);
    memset(text, 'x', sizeof text);
    text[SECRET_MAX] = '\0';
    load(secret_file(path, text, 0600), NULL);
    strcpy(text + SECRET_MAX, "\n");
    load(secret_file(path, text, 0600), NULL);
    strcpy(text + SECRET_MAX, "x");
    load(secret_file(path, text, 0600), "more than");
    strcpy(text + SECRET_MAX, "x\n");
    load(secret_file(path, text, 0600), "more than");
}

static void a_file_that_everybody_may_read_or_change_is_refused(void **state)
{
    (void)state;
    char path[256];
    load(secret_file(path, secret, 0644), "may be read by everybody");
    load(secret_file(path, secret, 0602), "may be changed by everybody");
    load(secret_file(path, secret, 0660), NULL);
}

static void what_is_no_file_is_refused_and_not_waited_for(void **state)
{
    (void)state;
    char path[256];
    load(scratch_path(path, "nothing"), "No such file");
    load(scratch_dir, "not a plain file");
    assert_int_equal(mkfifo(scratch_path(path, "fifo"), 0600), 0);
    load(path, "not a plain file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_sealed_opens_as_it_was),
        cmocka_unit_test(a_value_with_one_bit_changed_does_not_open),
        cmocka_unit_test(a_value_that_was_cut_or_added_to_does_not_open),
        cmocka_unit_test(a_value_opens_under_its_own_key_and_secret_only),
        cmocka_unit_test(no_file_means_no_seal),
        cmocka_unit_test(one_newline_at_the_end_is_not_part_of_the_secret),
        cmocka_unit_test(a_secret_of_a_wrong_length_is_refused),
        cmocka_unit_test(a_file_that_everybody_may_read_or_change_is_refused),
        cmocka_unit_test(what_is_no_file_is_refused_and_not_waited_for),
    };
    if (!digest_init())
        return 1;
    scratch_make();
    int failed = cmocka_run_group_tests_name("memcache_seal", tests, NULL, NULL);
    scratch_remove();
    return failed;
}
