/*
 * inspect_probe - the keys that rcptctl check asks a map for, and what the answers to them say of
 * it. Pure; one thread.
 */
#ifndef MILTER_INSPECT_PROBE_H
#define MILTER_INSPECT_PROBE_H

#include "db/directory.h"
#include "milter/inspect_report.h"
#include "milter/sentinel.h"
#include "shared/address.h"

/* In what way a list of maps is asked. */
enum probe_manner {
    PROBE_RECIPIENTS, /* recipient_maps: addresses, @domain */
    PROBE_DOMAINS,    /* domain_maps: domains */
    PROBE_ACCESS,     /* access_maps: both; nobody need be in it */
    PROBE_ROLES,      /* role_maps: domains; may well say the same of each */
};

enum probe_kind {
    PROBE_STRANGER = 0, /* nobody has this address or domain */
    PROBE_SENTINEL,     /* sentinel_recipients says that it is there */
    PROBE_NEIGHBOUR,    /* nobody has it, but a sentinel is in its domain */
    PROBE_ACCENT,       /* a sentinel, with an accent nobody gave it */
    PROBE_SPACE,        /* a sentinel, with a space at the end of its local part */
};

struct probe {
    enum probe_kind kind;
    unsigned sentinel; /* which one */
    char key[ADDRESS_KEY_MAX + 1];
    enum answer answer; /* the last host's, or the map's */
};

/* Sentinels beyond these are not asked for: any one says what is to be said of the schema. */
enum { PROBE_SENTINELS_MAX = 4, PROBES_MAX = 2 + PROBE_SENTINELS_MAX * 6 };

struct probes {
    enum probe_manner manner;
    const struct sentinel_list *sentinels;
    size_t count;
    struct probe probe[PROBES_MAX];
    /* Of the whole list of maps, over all of them. */
    bool found[PROBE_SENTINELS_MAX], failed[PROBE_SENTINELS_MAX];
};

/* In the order in which they are to be asked. digest_init comes first. */
void probes_make(struct probes *probes, enum probe_manner manner,
                 const struct sentinel_list *sentinels, const char *delimiters);

/* Another map, another host: no answer yet. */
void probes_forget(struct probes *probes);

/* Of one map, from its answers: does it answer for everybody? Then nothing else it said counts, and
 * true comes back. */
bool probes_judge_catch_all(const struct probes *probes, struct inspect_report *report);
/* Does it take different addresses for the same? */
void probes_judge_folding(const struct probes *probes, struct inspect_report *report);
/* Adds a map's answers to those of its list. */
void probes_gather(struct probes *probes);
/* Of the list, at its end: a sentinel that is in no map. True when all were found. */
bool probes_judge_sentinels(const struct probes *probes, struct inspect_report *report);

#endif
