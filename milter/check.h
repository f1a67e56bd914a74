/*
 * check - one recipient, from the client's words to the reply: gather, judge, say. Any thread; it
 * waits for servers at most lookup_deadline.
 */
#ifndef MILTER_CHECK_H
#define MILTER_CHECK_H

#include <stdbool.h>

#include "db/resolver.h"
#include "milter/app.h"
#include "milter/reply.h"
#include "milter/verdict.h"
#include "shared/address.h"
#include "shared/trace.h"

/* What the MTA said. Every pointer is borrowed; those that may be NULL say so. */
struct check_request {
    const char *argument; /* of RCPT TO, the client's raw text */
    const char *resolved; /* macro {rcpt_addr}: what Postfix will act on; NULL: not sent */
    /* The same {rcpt_addr} came with another argument before: it may be that recipient's. */
    bool resolved_may_be_old;
    const char *client_address; /* {client_addr}; NULL */
    const char *client_name;    /* {client_name}; NULL */
    const char *sender;         /* {mail_addr}; NULL */
    const char *queue_id;       /* i; NULL */
    bool authenticated;         /* {auth_type} is set */
};

struct check_result {
    const char *recipient;  /* as it is named in replies and logs; the client's bytes */
    struct address address; /* of what was looked up; key is "" where nothing was */
    struct outcome outcome; /* UNAVAILABLE where nobody was asked */
    bool asked;             /* the resolver was asked */
    enum role role;
    struct verdict verdict;
    struct reply reply;
};

/* How rcptctl lookup differs from a client. */
struct check_manner {
    enum lookup_mode mode;
    bool role_is_set; /* judge for `role`, whatever role_maps says */
    enum role role;
};

/* `manner` NULL: as for a client. With LOOKUP_CACHED an answer that would bounce on old evidence is
 * asked for again past the caches. */
void check_recipient(const struct snapshot *node, const struct check_request *request,
                     const struct check_manner *manner, struct trace *trace,
                     struct check_result *result);

#endif
