/* The first line is a recipient, the second its domain, the rest a reply as an admin writes it. */
#include "tests/fuzz/fuzz.h"

#include "config/reply_setting.h"
#include "milter/reply.h"

static bool settings_equal(const struct reply_setting *a, const struct reply_setting *b)
{
    return a->pass == b->pass && strcmp(a->code, b->code) == 0 &&
           strcmp(a->enhanced, b->enhanced) == 0 && strcmp(a->text, b->text) == 0;
}

static void check_setting(const struct reply_setting *setting)
{
    char line[REPLY_TEXT_MAX + 32];
    if (setting->pass) {
        assert(!setting->code[0] && !setting->enhanced[0] && !setting->text[0]);
        return;
    }
    assert(reply_code_is_valid(setting->code, strlen(setting->code)));
    assert(reply_enhanced_is_valid(setting->enhanced, strlen(setting->enhanced)));
    assert(setting->code[0] == setting->enhanced[0]);
    assert(reply_is_5xx(setting) == (setting->code[0] == '5'));
    assert(is_clean(setting->text));

    struct reply_setting again;
    snprintf(line, sizeof line, "%s %s %s", setting->code, setting->enhanced, setting->text);
    assert(reply_setting_parse(line, &again, NULL) && settings_equal(setting, &again));
}

/* libmilter takes it for a format: it must have no conversions, and print as what was meant. */
static void check_escaped(const char *text)
{
    char escaped[2 * REPLY_LINE_MAX + 1];
    reply_escape_for_libmilter(text, escaped, sizeof escaped);
    const char *c = escaped;
    for (; *text; text++, c++) {
        assert(*c == *text);
        c += *c == '%';
        assert(*c == *text);
    }
    assert(*c == '\0');
}

static void check_reply(const struct reply_setting *setting, const char *recipient,
                        const char *domain, enum role role)
{
    struct reply reply;
    memset(&reply, 'x', sizeof reply);
    reply_render(setting, recipient, domain, role, &reply);
    assert(reply.pass == setting->pass && strlen(reply.text) <= REPLY_LINE_MAX);
    assert(strcmp(reply.code, setting->code) == 0);
    assert(strcmp(reply.enhanced, setting->enhanced) == 0);
    assert(is_clean(reply.text));
    if (!strchr(setting->text, '$'))
        assert(strcmp(reply.text, setting->text) == 0);
    check_escaped(reply.text);
}

/* A client that writes $names gets nothing put in: each recipient counts as many bytes as it has.
 */
static void check_nothing_is_put_in_twice(const struct reply_setting *setting)
{
    static const char *const recipients[] = {"", "x", "$role$$"};
    struct reply reply;
    size_t length[3];
    for (size_t i = 0; i < 3; i++) {
        reply_render(setting, recipients[i], "", ROLE_FALLBACK, &reply);
        length[i] = strlen(reply.text);
    }
    size_t times = length[1] - length[0], expected = length[0] + times * strlen(recipients[2]);
    assert(length[2] == (expected < REPLY_LINE_MAX ? expected : REPLY_LINE_MAX));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {(const char *)data, size};
    char *recipient = input_line(&input), *domain = input_line(&input);
    char *text = input_string(input);
    struct reply_setting setting;
    struct fault fault = {""};
    memset(&setting, 'x', sizeof setting);
    if (reply_setting_parse(text, &setting, &fault)) {
        check_setting(&setting);
        check_reply(&setting, recipient, domain, ROLE_PRIMARY);
        check_reply(&setting, recipient, domain, ROLE_FALLBACK);
        check_nothing_is_put_in_twice(&setting);
    } else {
        assert(fault.text[0] != '\0' && is_clean(fault.text));
    }
    free(recipient);
    free(domain);
    free(text);
    return 0;
}
