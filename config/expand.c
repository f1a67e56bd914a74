#include "config/expand.h"

#include <stddef.h>
#include <string.h>

enum {
    EXPAND_NAME_MAX = 64,    /* bytes, with the NUL; no parameter's name is as long */
    EXPAND_DEPTH_MAX = 100,  /* Postfix mac_expand.c has the same limit */
    EXPAND_STEPS_MAX = 10000 /* twenty parameters that each use the next twice are a million */
};

struct span {
    const char *start, *end;
};

struct expansion {
    struct text *out;
    bool for_reply; /* a dollar is written as $$ */
    expand_lookup *lookup;
    void *context;
    struct fault *fault;
    unsigned steps;
};

/* The parameters being expanded, innermost first. */
struct frame {
    const char *name;
    const struct frame *outer;
    unsigned depth;
    bool in_reply; /* it is a reply, in a reply: $recipient, $domain and $role stay */
};

static bool expand_span(struct expansion *expansion, struct span span, const struct frame *frame);

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_space(struct span span)
{
    while (span.start < span.end && is_space(*span.start))
        span.start++;
    return span.start;
}

static bool stays_for_the_reply(const struct frame *frame, const char *name)
{
    return frame->in_reply && (strcmp(name, "recipient") == 0 || strcmp(name, "domain") == 0 ||
                               strcmp(name, "role") == 0);
}

static bool fault_at(struct expansion *expansion, const char *what, struct span span)
{
    ptrdiff_t length = span.end - span.start;
    fault_set(expansion->fault, "%s: \"%.*s\"", what, length > 60 ? 60 : (int)length, span.start);
    return false;
}

static bool expand_name(struct expansion *expansion, struct span name_span,
                        const struct frame *frame)
{
    char name[EXPAND_NAME_MAX];
    size_t length = (size_t)(name_span.end - name_span.start);
    if (length >= sizeof name)
        return fault_at(expansion, "there is no parameter of such a long name", name_span);
    memcpy(name, name_span.start, length);
    name[length] = '\0';

    for (const struct frame *outer = frame; outer; outer = outer->outer)
        if (strcmp(outer->name, name) == 0)
            return fault_at(expansion, "runs in a circle", name_span);
    bool is_reply = false;
    const char *raw = expansion->lookup(expansion->context, name, &is_reply, expansion->fault);
    if (!raw)
        return false;
    struct frame inner = {.name = name,
                          .outer = frame,
                          .depth = frame->depth + 1,
                          .in_reply = frame->in_reply && is_reply};
    if (expand_span(expansion, (struct span){raw, raw + strlen(raw)}, &inner))
        return true;
    fault_within(expansion->fault, "$%s", name); /* so that one sees whose text is wrong */
    return false;
}

/* The end of {text} that starts at span.start, past its '}'; NULL where the braces do not match. */
static const char *braces_end(struct span span)
{
    unsigned level = 0;
    for (const char *c = span.start; c < span.end; c++) {
        if (*c == '{')
            level++;
        if (*c == '}' && --level == 0)
            return c + 1;
    }
    return NULL;
}

/* Takes one operand of '?' or ':' off the span: {text} with white space around it, or all of the
 * rest. */
static bool take_operand(struct expansion *expansion, struct span *span, struct span *operand)
{
    const char *open = skip_space(*span);
    if (open == span->end || *open != '{') {
        *operand = *span;
        span->start = span->end;
        return true;
    }
    const char *close = braces_end((struct span){open, span->end});
    if (!close)
        return fault_at(expansion, "braces do not match", *span);
    *operand = (struct span){open + 1, close - 1};
    span->start = skip_space((struct span){close, span->end});
    return true;
}

/* What the condition was about is expanded to see whether it is empty, and forgotten. */
static bool test_name(struct expansion *expansion, struct span name, const struct frame *frame,
                      bool *empty)
{
    size_t before = expansion->out->length;
    if (!expand_name(expansion, name, frame))
        return false;
    *empty = expansion->out->length == before;
    expansion->out->length = before;
    expansion->out->bytes[before] = '\0';
    return true;
}

/* `rest` starts at the '?' or ':'. */
static bool expand_condition(struct expansion *expansion, struct span name, struct span rest,
                             const struct frame *frame)
{
    struct span whole = rest, when_set = {0}, when_empty = {0};
    char sign = *rest.start;
    rest.start++;
    if (sign == '?') {
        if (!take_operand(expansion, &rest, &when_set))
            return false;
        if (rest.start < rest.end && *rest.start != ':')
            return fault_at(expansion, "expected ':' after {text} in", whole);
        if (rest.start < rest.end) {
            sign = ':';
            rest.start++;
        }
    }
    if (sign == ':' && !take_operand(expansion, &rest, &when_empty))
        return false;
    if (rest.start < rest.end)
        return fault_at(expansion, "something follows {text} in", whole);

    bool empty;
    if (!test_name(expansion, name, frame, &empty))
        return false;
    struct frame inner = *frame;
    inner.depth++;
    struct span chosen = empty ? when_empty : when_set;
    return !chosen.start || expand_span(expansion, chosen, &inner);
}

/* What stands inside ${...} or $(...). */
static bool expand_inside(struct expansion *expansion, struct span inside,
                          const struct frame *frame)
{
    struct span name = {skip_space(inside), NULL};
    for (name.end = name.start; name.end < inside.end && is_name_char(*name.end);)
        name.end++;
    struct span rest = {skip_space((struct span){name.end, inside.end}), inside.end};
    bool condition = rest.start < rest.end && (*rest.start == '?' || *rest.start == ':');
    if (name.start == name.end && name.start < inside.end && *name.start == '{')
        return fault_at(expansion, "comparisons are not supported here", inside);
    if (name.start == name.end || (rest.start < rest.end && !condition))
        return fault_at(expansion, "not a parameter's name", inside);

    char text[EXPAND_NAME_MAX] = "";
    if ((size_t)(name.end - name.start) < sizeof text)
        memcpy(text, name.start, (size_t)(name.end - name.start));
    if (stays_for_the_reply(frame, text)) {
        if (condition)
            return fault_at(expansion,
                            "known only when there is a recipient, so it cannot be tested", name);
        text_addf(expansion->out, "${%s}", text);
        return true;
    }
    return condition ? expand_condition(expansion, name, rest, frame)
                     : expand_name(expansion, name, frame);
}

/* $name. What stays for the reply keeps its form, unless what will be put behind it could be read
 * as part of the name. */
static bool expand_plain(struct expansion *expansion, struct span name, struct span after,
                         const struct frame *frame)
{
    char text[EXPAND_NAME_MAX] = "";
    if ((size_t)(name.end - name.start) < sizeof text)
        memcpy(text, name.start, (size_t)(name.end - name.start));
    if (!stays_for_the_reply(frame, text))
        return expand_name(expansion, name, frame);
    bool alone = after.start < after.end ? *after.start != '$' : frame->depth == 0;
    text_addf(expansion->out, alone ? "$%s" : "${%s}", text);
    return true;
}

/* At a dollar: expands it, and moves span->start past it. */
static bool expand_dollar(struct expansion *expansion, struct span *span, const struct frame *frame)
{
    const char *next = span->start + 1;
    if (next < span->end && *next == '$') {
        text_add(expansion->out, expansion->for_reply ? "$$" : "$");
        span->start = next + 1;
        return true;
    }
    if (next < span->end && (*next == '{' || *next == '(')) {
        char open = *next, close = open == '{' ? '}' : ')';
        unsigned level = 1;
        const char *end = next + 1;
        for (; end < span->end && level > 0; end++)
            level += (*end == open) - (*end == close);
        if (level > 0)
            return fault_at(expansion, "the closing bracket is missing in", *span);
        span->start = end;
        return expand_inside(expansion, (struct span){next + 1, end - 1}, frame);
    }
    struct span name = {next, next};
    while (name.end < span->end && is_name_char(*name.end))
        name.end++;
    if (name.end == name.start)
        return fault_at(expansion, "no name after the dollar (write $$ for a dollar) in", *span);
    span->start = name.end;
    return expand_plain(expansion, name, *span, frame);
}

static bool expand_span(struct expansion *expansion, struct span span, const struct frame *frame)
{
    if (frame->depth > EXPAND_DEPTH_MAX || ++expansion->steps > EXPAND_STEPS_MAX)
        return fault_at(expansion, "nested too deeply", span);
    while (span.start < span.end) {
        const char *dollar = memchr(span.start, '$', (size_t)(span.end - span.start));
        const char *literal_end = dollar ? dollar : span.end;
        text_add_bytes(expansion->out, span.start, (size_t)(literal_end - span.start));
        span.start = literal_end;
        if (dollar && !expand_dollar(expansion, &span, frame))
            return false;
        if (expansion->out->overflow) {
            fault_set(expansion->fault, "becomes longer than %zu bytes when its $names are put in",
                      expansion->out->capacity - 1);
            return false;
        }
    }
    return true;
}

bool expand_value(const char *name, const char *raw, bool in_reply, expand_lookup *lookup,
                  void *context, struct text *out, struct fault *fault)
{
    struct expansion expansion = {
        .out = out, .for_reply = in_reply, .lookup = lookup, .context = context, .fault = fault};
    struct frame frame = {.name = name, .in_reply = in_reply};
    return expand_span(&expansion, (struct span){raw, raw + strlen(raw)}, &frame);
}
