/*
 * outcome - what is known about one recipient, and on what evidence. This is what is cached.
 *
 * The cached form is one line of text, the same in the process cache and in memcached:
 *
 *     rm1 KEYHASH STANDING VERIFIED [SINCE ASKED | REPLY]
 *
 * KEYHASH    32 hex digits: the digest of the key the value belongs to. A value that carries
 *            another's is not ours, whatever the server says.
 * STANDING   one letter: K known, A absent, F foreign, O override
 * VERIFIED   seconds since 1970 when the directory said so, decimal, no sign
 * SINCE      A only: since when it has said so without a break, seconds since 1970
 * ASKED      A only: how many queries have said so, at most 9999
 * REPLY      O only: "pass" or "CODE X.Y.Z text"
 *
 * Single spaces, no newline, nothing after it. Decoding is strict: what is not exactly this is a
 * miss. UNAVAILABLE and UNCHECKED have no letter: they are never cached.
 */
#ifndef DB_OUTCOME_H
#define DB_OUTCOME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/reply_setting.h"
#include "shared/address.h"
#include "shared/digest.h"
#include "shared/fault.h"

enum standing {
    STANDING_UNAVAILABLE = 0, /* we do not know */
    STANDING_KNOWN,           /* the directory has, or had, this recipient */
    STANDING_ABSENT,          /* the directory says there is no such recipient */
    STANDING_FOREIGN,         /* domain_maps says the domain is not ours */
    STANDING_OVERRIDE,        /* access_maps decides: see reply */
    STANDING_UNCHECKED,       /* recipient_maps is empty */
};

enum tier {
    TIER_NONE = 0, /* nobody vouches */
    TIER_PROCESS_CACHE,
    TIER_MEMCACHE,
    TIER_DIRECTORY,
    TIER_STALE,      /* a memcached answer past positive_ttl */
    TIER_KNOWN_GOOD, /* the directory once confirmed it to this host */
};

/* Why an outcome must not turn into a 5xx although its row would say one. The resolver and the
 * callbacks set the first ones, the verdict finds old evidence, the guard knows the rest. */
enum interlock {
    INTERLOCK_NONE = 0,
    INTERLOCK_SHED,          /* lookup_slots were taken */
    INTERLOCK_LATE,          /* lookup_deadline passed, or this process is short of means */
    INTERLOCK_BAD_ACTION,    /* access_maps holds something that is no action */
    INTERLOCK_TWO_ADDRESSES, /* {rcpt_addr} does not fit the RCPT argument: the one before's? */
    INTERLOCK_KNOWN_GOOD,    /* it was known good, and gone for less than removal_grace */
    INTERLOCK_REPLICA_LAG,   /* who said so may be max_replica_lag behind, or nobody knows */
    INTERLOCK_OLD_EVIDENCE,  /* no directory query in this transaction says so */
    INTERLOCK_HOLD,          /* rcptctl hold */
    INTERLOCK_NO_ANSWER_YET, /* the directory has not answered since the start */
    INTERLOCK_OUTAGE,        /* the directory has been out of reach for less than outage_patience */
    INTERLOCK_SENTINEL,      /* a sentinel recipient is missing, or was not yet found */
    INTERLOCK_VANISHING,     /* known-good recipients vanish faster than vanish_limit */
    INTERLOCK_COUNT
};

/* For how long the directory has said ABSENT, and nothing else. */
struct absence {
    int64_t since;  /* wall clock, seconds: the first time */
    unsigned asked; /* in so many queries, at most ABSENCE_ASKED_MAX */
};
enum { ABSENCE_ASKED_MAX = 9999 };

/* Made by outcome_clear, or all zero. The short fields stand first: see there. */
struct outcome {
    enum standing standing;
    enum tier tier;
    enum interlock interlock;
    bool asked_now;             /* a directory query made for this recipient now says so */
    bool directory_failed;      /* it was asked, or is resting, and gave no answer */
    unsigned char probe;        /* asked_now, KNOWN: which of address_probes() was found */
    bool vanished;              /* asked_now, ABSENT: it was known good until now */
    struct digest vanished_key; /* its key in the known-good store */
    int64_t verified;           /* wall clock, seconds: when the directory said so; 0 never */
    struct absence absence;     /* STANDING_ABSENT */
    struct reply_setting reply; /* STANDING_OVERRIDE */
    struct fault why;           /* STANDING_UNAVAILABLE: the reason */
    /* Asked now, not KNOWN: the domain of the alias that was followed, or "". */
    char alias_target[ADDRESS_DOMAIN_MAX + 1];
};

/* What nobody has said anything about. Of the buffers only the beginning is cleared: with all their
 * bytes that was a tenth of what a cached answer costs. */
void outcome_clear(struct outcome *outcome);

enum { OUTCOME_TEXT_MAX = 512 }; /* bytes of the cached form, with the NUL */

/* The length, or 0 where the outcome is none that may be cached. */
size_t outcome_encode(const struct outcome *outcome, const struct digest *key,
                      char text[OUTCOME_TEXT_MAX]);

/* False unless it is exactly a value of this key. Sets standing, verified (which may lie in the
 * future: clocks differ, and step), absence and reply; tier and the rest are the caller's. */
bool outcome_decode(const char *bytes, size_t length, const struct digest *key,
                    struct outcome *outcome);

const char *standing_name(enum standing standing);
const char *tier_name(enum tier tier); /* one word */

#endif
