#include "milter/metrics_request.h"

#include <string.h>

struct word {
    const char *bytes;
    size_t length;
};

static bool is(struct word word, const char *text)
{
    return word.length == strlen(text) && memcmp(word.bytes, text, word.length) == 0;
}

static bool begins(struct word word, const char *text)
{
    return word.length >= strlen(text) && memcmp(word.bytes, text, strlen(text)) == 0;
}

/* To the next single space, or all of it. */
static struct word take_word(struct word *line)
{
    const char *space = memchr(line->bytes, ' ', line->length);
    struct word word = {line->bytes, space ? (size_t)(space - line->bytes) : line->length};
    size_t taken = word.length + (space != NULL);
    *line = (struct word){line->bytes + taken, line->length - taken};
    return word;
}

/* A token's characters are more (RFC 9110, 5.6.2), but no method has others. */
static bool is_method(struct word word)
{
    for (size_t i = 0; i < word.length; i++)
        if (word.bytes[i] < 'A' || word.bytes[i] > 'Z')
            return false;
    return word.length > 0;
}

/* A target without control characters and spaces: those have no place in a request line. */
static bool is_target(struct word word)
{
    for (size_t i = 0; i < word.length; i++)
        if ((unsigned char)word.bytes[i] <= ' ' || word.bytes[i] == 0x7f)
            return false;
    return word.length > 0;
}

/* A query behind the path is nothing to us. */
static bool is_metrics(struct word target)
{
    return is(target, "/metrics") || begins(target, "/metrics?");
}

static struct metrics_request read_line(struct word line)
{
    struct word method = take_word(&line), target = take_word(&line), version = line;
    struct metrics_request request = {.status = 400, .head = is(method, "HEAD")};
    if (!is_method(method) || !is_target(target) || !begins(version, "HTTP/") ||
        version.length != strlen("HTTP/1.1"))
        return request;
    if (!begins(version, "HTTP/1."))
        request.status = 505;
    else if (!is_metrics(target))
        request.status = 404;
    else if (!request.head && !is(method, "GET"))
        request.status = 405;
    else
        request.status = 200;
    return request;
}

/* An empty line; a lone LF ends one as well (RFC 9112, 2.2). */
static bool has_end(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != '\n')
            continue;
        size_t next = i + 1 < length && bytes[i + 1] == '\r' ? i + 2 : i + 1;
        if (next < length && bytes[next] == '\n')
            return true;
    }
    return false;
}

struct metrics_request metrics_request_read(const char *bytes, size_t length)
{
    const struct metrics_request more = {0}, too_long = {.status = 431}, bad = {.status = 400};
    const char *end = memchr(bytes, '\n', length);
    if (memchr(bytes, '\0', length))
        return bad;
    if (!end)
        return length >= METRICS_REQUEST_MAX ? too_long : more;
    struct word line = {bytes, (size_t)(end - bytes)};
    if (line.length > 0 && line.bytes[line.length - 1] == '\r')
        line.length--;
    struct metrics_request request = read_line(line);
    if (request.status != 200 || has_end(end, length - (size_t)(end - bytes)))
        return request;
    return length >= METRICS_REQUEST_MAX ? too_long : more;
}

const char *metrics_status_text(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Bad Request";
    }
}
