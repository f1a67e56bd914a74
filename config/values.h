/*
 * values - the types of the parameters: how a value is read from its text, judged and compared.
 *
 * Words are taken in any case. A time is a number with ms, s, m, h, d or w; a bare number is
 * seconds. Pure, any thread.
 */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stdbool.h>

#include "config/settings.h"
#include "shared/fault.h"

/* A row's type, the C type of its field, and what its bounds mean. */
enum value_type {
    VALUE_ROLE,          /* enum role */
    VALUE_LIST,          /* char *: maps, servers, recipients; whoever uses it judges it */
    VALUE_DELIMITERS,    /* char *: a set of ASCII characters */
    VALUE_WORD,          /* char *: printable ASCII without space; bounds of its length */
    VALUE_PATH,          /* char *: absolute; bounds of its length, empty where 0 is within */
    VALUE_UNIX_ENDPOINT, /* struct endpoint: unix only */
    VALUE_ENDPOINT,      /* struct endpoint: unix or inet */
    VALUE_ENDPOINT_NONE, /* struct endpoint: unix, inet or nothing */
    VALUE_MODE,          /* unsigned: octal */
    VALUE_NUMBER,        /* unsigned: bounds of the number */
    VALUE_TIME_MS,       /* int64_t milliseconds; bounds in milliseconds */
    VALUE_TIME_WHOLE,    /* int64_t milliseconds, whole seconds; bounds in milliseconds */
    VALUE_TIME_S,        /* int64_t seconds; bounds in milliseconds all the same */
    VALUE_RATE,          /* struct settings_rate: COUNT/TIME or 0; bounds of the count */
    VALUE_REPLY,         /* struct reply_setting */
    VALUE_NETWORKS,      /* struct networks *: shared/networks.h */
    VALUE_BOOLEAN,       /* bool */
    VALUE_LEVEL,         /* enum log_level */
    VALUE_LOG_FORM,      /* enum log_form */
    VALUE_FACILITY,      /* int: LOG_MAIL and so on */
    VALUE_TYPE_COUNT
};

/* Reads the text, expanded and without white space around it, into the row's field, which is zero.
 * False and a fault, without the parameter's name. */
bool value_read(const struct setting_row *row, const char *text, struct settings *settings,
                struct fault *fault);

/* Do both hold the same value? False where a type cannot say: the caller compares the texts too. */
bool value_same(const struct setting_row *row, const struct settings *a, const struct settings *b);

/* Ends what value_read allocated and sets the field to zero. */
void value_free(const struct setting_row *row, struct settings *settings);

#endif
