/*
 * metrics_request - reads an HTTP/1 request for metrics. Pure: bytes in, what to answer out. Only
 * the request line means anything to us; of the headers it only looks for their end (RFC 9112).
 */
#ifndef MILTER_METRICS_REQUEST_H
#define MILTER_METRICS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum { METRICS_REQUEST_MAX = 8192 }; /* bytes of the request line and all headers */

struct metrics_request {
    unsigned status; /* 0: it goes on; 200, 400, 404, 405, 431, 505 */
    bool head;       /* HEAD: the answer has no body, whatever the status */
};

/* What has come so far, at most METRICS_REQUEST_MAX bytes; called again with more while status
 * is 0. A status other than 200 may come before the end of the request. */
struct metrics_request metrics_request_read(const char *bytes, size_t length);

const char *metrics_status_text(unsigned status); /* "OK", "Not Found" ... */

#endif
