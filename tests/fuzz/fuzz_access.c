/* The input is what an access_maps entry holds. */
#include "tests/fuzz/fuzz.h"

#include "db/access.h"
#include "db/outcome.h"
#include "milter/reply.h"

/* The text stands in the entry as it is sent, whoever the recipient: a `$` in it is a dollar. */
static void check_text(const char *value, const struct reply_setting *setting)
{
    struct reply reply, other;
    reply_render(setting, "one@example.com", "example.com", ROLE_PRIMARY, &reply);
    reply_render(setting, "other@example.org", "example.org", ROLE_FALLBACK, &other);
    assert(strcmp(reply.text, other.text) == 0);
    assert(reply.text[0] != '\0' && is_clean(reply.text));
    assert(strstr(value, reply.text) || strcmp(reply.text, "Access denied") == 0 ||
           strcmp(reply.text, "Service unavailable") == 0 ||
           strcmp(reply.text, "Address is undeliverable") == 0);
}

/* It is cached as an override. */
static void check_cached(const struct reply_setting *setting)
{
    const struct digest key = {{0}};
    struct outcome outcome = {
        .standing = STANDING_OVERRIDE, .verified = 1700000000, .reply = *setting};
    char text[OUTCOME_TEXT_MAX];
    size_t length = outcome_encode(&outcome, &key, text);
    assert(length > 0);
    assert(outcome_decode(text, length, &key, &outcome));
}

static void check_setting(const char *value, const struct reply_setting *setting)
{
    check_cached(setting);
    if (setting->pass)
        return;
    assert(reply_code_is_valid(setting->code, strlen(setting->code)));
    assert(reply_enhanced_is_valid(setting->enhanced, strlen(setting->enhanced)));
    assert(setting->code[0] == setting->enhanced[0]);
    check_text(value, setting);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *value = input_string((struct input){(const char *)data, size});
    struct reply_setting setting;
    struct fault fault = {""};
    memset(&setting, 'x', sizeof setting);
    enum access_result result = access_parse(value, &setting, &fault);
    assert((result == ACCESS_BAD) == (fault.text[0] != '\0') && is_clean(fault.text));
    if (result == ACCESS_REPLY || result == ACCESS_DEFER_IF_REJECT)
        check_setting(value, &setting);
    assert(result != ACCESS_DEFER_IF_REJECT || setting.code[0] == '4');
    free(value);
    return 0;
}
