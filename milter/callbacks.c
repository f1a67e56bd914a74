#include "milter/callbacks.h"

#include <libmilter/mfapi.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "milter/check.h"
#include "milter/canary.h"
#include "milter/convoy.h"
#include "milter/listener.h"
#include "milter/remember.h"
#include "milter/report.h"
#include "milter/tally.h"
#include "shared/clock.h"
#include "shared/counters.h"
#include "shared/histogram.h"
#include "shared/log.h"

/* Mostly smfi_main returns at once, sometimes it sleeps for a second; nobody's answer depends on
 * it. And what a worker may take to write a reply. */
enum { STOP_PATIENCE_MS = 500 };

/* libmilter hands callbacks nothing but its own context, so the app is kept here. Set once, before
 * any callback. */
static struct app *the_app;
static struct endpoint the_socket;
static _Atomic bool stopping; /* we asked libmilter to stop */
static _Atomic bool stopped;  /* it has heard */

/*
 * Whether smfi_main returns after a stop is luck: the controller of libmilter's pool destroys the
 * pool's mutex when it ends, and a wake-up that is due at that moment is lost, for the listener in
 * mi_start_session too (worker.c of 8.17; under load with the sanitizers, one stop in five). So it
 * has a thread of its own, which may stand there until the process ends.
 */
static struct {
    pthread_mutex_t lock; /* a leaf; covers what follows */
    pthread_cond_t changed;
    struct deadline patience; /* for smfi_main, once it was told to stop */
    bool ended;               /* smfi_main has returned */
    bool well;                /* and had been told to */
} serving = {.lock = PTHREAD_MUTEX_INITIALIZER, .patience = {INT64_MAX}};

/* What we need to know at RCPT, and nothing else. Postfix evaluates any of its macros at any stage
 * it is asked to (milter_rcpt_macros). */
static char rcpt_macros[] = "i {rcpt_addr} {client_addr} {client_name} {mail_addr} {auth_type}";

/* Every stage but RCPT is waste: each would cost a round trip per session or message. */
static const unsigned long unwanted_stages = SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOMAIL |
                                             SMFIP_NODATA | SMFIP_NOHDRS | SMFIP_NOEOH |
                                             SMFIP_NOBODY | SMFIP_NOUNKNOWN;

/*
 * What is remembered from RCPT to RCPT: {rcpt_addr} as it last changed, and the argument it came
 * with. libmilter keeps a macro until the next packet of macros for its stage, or the next session,
 * so one that has not changed may be that of the argument before; one that has cannot. Messages do
 * not matter: a macro outlives them.
 *
 * It is the connection's private data. Where there is no memory for it, every macro may be old.
 */
struct session {
    struct kept {
        char *text;  /* owned; NULL: there was none */
        size_t room; /* bytes, with the NUL: it seldom has to grow */
    } argument, resolved;
};

static void session_start(SMFICTX *context)
{
    struct session *session = smfi_getpriv(context);
    if (!session)
        smfi_setpriv(context, calloc(1, sizeof *session));
}

/* NULL is fine. */
static void session_free(struct session *session)
{
    if (!session)
        return;
    free(session->argument.text);
    free(session->resolved.text);
    free(session);
}

static void forget(struct kept *kept)
{
    free(kept->text);
    *kept = (struct kept){NULL, 0};
}

/* Without memory there is none, rather than an old one. */
static bool keep(struct kept *kept, const char *text)
{
    size_t size = strlen(text) + 1;
    if (size > kept->room) {
        forget(kept);
        kept->text = malloc(size);
        if (!kept->text)
            return false;
        kept->room = size;
    }
    memcpy(kept->text, text, size);
    return true;
}

static bool is_kept(const struct kept *kept, const char *text)
{
    return kept->text && strcmp(kept->text, text) == 0;
}

static bool may_be_old(struct session *session, const char *argument, const char *resolved)
{
    if (!resolved)
        return false;
    if (!session)
        return true;
    if (is_kept(&session->resolved, resolved))
        return !is_kept(&session->argument, argument);
    bool argument_kept = keep(&session->argument, argument);
    return !keep(&session->resolved, resolved) || !argument_kept;
}

static sfsistat on_negotiate(SMFICTX *context, unsigned long actions, unsigned long stages,
                             unsigned long reserved_2, unsigned long reserved_3,
                             unsigned long *want_actions, unsigned long *want_stages,
                             unsigned long *want_2, unsigned long *want_3)
{
    (void)reserved_2, (void)reserved_3;
    *want_actions = 0;
    *want_stages = unwanted_stages & stages;
    *want_2 = *want_3 = 0;
    session_start(context);
    if (actions & SMFIF_SETSYMLIST) {
        *want_actions = SMFIF_SETSYMLIST;
        if (smfi_setsymlist(context, SMFIM_ENVRCPT, rcpt_macros) != MI_SUCCESS)
            *want_actions = 0;
    }
    if (app_verbosity(the_app) >= 2)
        log_info("milter: session opens, MTA offers actions %#lx stages %#lx, we take %#lx %#lx",
                 actions, stages, *want_actions, *want_stages);
    return SMFIS_CONTINUE;
}

static void gather(SMFICTX *context, char **arguments, struct check_request *request)
{
    const char *auth_type = smfi_getsymval(context, (char *)"{auth_type}");
    *request =
        (struct check_request){.argument = arguments && arguments[0] ? arguments[0] : "",
                               .resolved = smfi_getsymval(context, (char *)"{rcpt_addr}"),
                               .client_address = smfi_getsymval(context, (char *)"{client_addr}"),
                               .authenticated = auth_type && *auth_type};
    session_start(context); /* the second and further ones of a connection come without greeting */
    request->resolved_may_be_old =
        may_be_old(smfi_getpriv(context), request->argument, request->resolved);
}

/* What only a log tells, or the ledger: libmilter compares a macro with all that came, so finding
 * these took a fifth of what an answer from the process cache costs. */
static void gather_names(SMFICTX *context, struct check_request *request)
{
    request->client_name = smfi_getsymval(context, (char *)"{client_name}");
    request->sender = smfi_getsymval(context, (char *)"{mail_addr}");
    request->queue_id = smfi_getsymval(context, (char *)"i");
}

/* The code decides the action: libmilter drops, without a word, a code that does not match the
 * action it comes with. */
static sfsistat give(SMFICTX *context, const struct reply *reply)
{
    /* CONTINUE and never ACCEPT: that would let every later recipient of the message by unseen. */
    if (reply->pass)
        return SMFIS_CONTINUE;
    char text[REPLY_ESCAPED_MAX + 1];
    reply_escape_for_libmilter(reply->text, text, sizeof text);
    if (smfi_setreply(context, (char *)reply->code, (char *)reply->enhanced, text) != MI_SUCCESS) {
        log_error("libmilter refused the reply \"%s %s %s\" - the recipient is deferred with its "
                  "own text",
                  reply->code, reply->enhanced, reply->text);
        return SMFIS_TEMPFAIL;
    }
    return reply->code[0] == '5' ? SMFIS_REJECT : SMFIS_TEMPFAIL;
}

static void log_dialogue(const struct check_request *r)
{
    log_info("milter: RCPT argument \"%s\" {rcpt_addr} \"%s\" {client_addr} \"%s\" {mail_addr} "
             "\"%s\" i \"%s\"%s",
             r->argument, r->resolved ? r->resolved : "",
             r->client_address ? r->client_address : "", r->sender ? r->sender : "",
             r->queue_id ? r->queue_id : "", r->authenticated ? " authenticated" : "");
}

static sfsistat answer(SMFICTX *context, struct snapshot *snapshot, struct check_request *request)
{
    unsigned verbosity = app_verbosity(the_app);
    struct trace *trace = verbosity > 0 ? malloc(sizeof *trace) : NULL;
    if (trace)
        trace_start(trace);
    if (verbosity >= 2) {
        gather_names(context, request);
        log_dialogue(request);
    }

    struct check_result result;
    check_recipient(snapshot, request, NULL, trace, &result);
    if (!result.reply.pass || snapshot->settings->log_known)
        gather_names(context, request);
    if (trace)
        report_trace(request, trace);
    free(trace);
    report_count(&result);
    tally_recipient(&result);
    report_recipient(snapshot->settings, request, &result);
    remember_recipient(snapshot, request, &result);
    canary_note(snapshot->canary, &result);
    return give(context, &result.reply);
}

/* What is in flight: a recipient we are at, and a reply that libmilter has and the MTA has not. */
static _Atomic unsigned inside, unwritten;
static _Atomic int64_t progress_at_ms; /* monotonic: the last was answered, or the first came */
static _Thread_local bool owes_reply;  /* this worker: one of `unwritten` is its own */

static void reply_written(void)
{
    if (!owes_reply)
        return;
    owes_reply = false;
    atomic_fetch_sub(&unwritten, 1);
}

static void reply_owed(void)
{
    reply_written(); /* or never will be: the MTA went away */
    owes_reply = true;
    atomic_fetch_add(&unwritten, 1);
}

/* In place of the C library's, for libmilter: it writes a reply with this, after the callback has
 * returned, on the same thread, and a process that ends in between has answered nobody. Nothing
 * else tells. */
ssize_t writev(int fd, const struct iovec *parts, int count)
{
    ssize_t written = pwritev2(fd, parts, count, -1, 0); /* -1: no offset, as writev */
    reply_written();
    return written;
}

/* Until nothing is in flight. With nobody inside, what is left is a write. */
static void drain(int64_t lookup_deadline_ms)
{
    struct deadline lookups = deadline_in_ms(2 * lookup_deadline_ms + 1000);
    while (atomic_load(&inside) > 0 && !deadline_passed(lookups))
        poll(NULL, 0, 5);
    struct deadline writes = deadline_in_ms(STOP_PATIENCE_MS);
    while (atomic_load(&unwritten) > 0 && !deadline_passed(writes))
        poll(NULL, 0, 1);
}

static sfsistat check(SMFICTX *context, char **arguments)
{
    struct check_request request;
    gather(context, arguments, &request);
    /* Stopping: the MTA says 451, and the sender comes again. */
    struct snapshot *snapshot = atomic_load(&stopping) ? NULL : app_take(the_app);
    if (!snapshot)
        return SMFIS_TEMPFAIL;
    uint64_t entered = convoy_enter();
    sfsistat action = answer(context, snapshot, &request);
    convoy_leave(entered);
    app_drop(the_app, snapshot);
    return action;
}

int64_t callbacks_stuck_ms(void)
{
    return atomic_load(&inside) > 0 ? clock_mono_ms() - atomic_load(&progress_at_ms) : 0;
}

static sfsistat on_recipient(SMFICTX *context, char **arguments)
{
    int64_t begun_us = clock_mono_us();
    if (atomic_load(&inside) == 0)
        atomic_store(&progress_at_ms, begun_us / 1000);
    atomic_fetch_add(&inside, 1);
    sfsistat action = check(context, arguments);
    int64_t ended_us = clock_mono_us();
    atomic_store(&progress_at_ms, ended_us / 1000);
    histogram_add(HISTOGRAM_lookup_seconds, ended_us - begun_us);
    reply_owed();
    atomic_fetch_sub(&inside, 1);
    return action;
}

/* Also called for a connection that came with nothing: a port probe, or one of our own (convoy.h).
 */
static sfsistat on_close(SMFICTX *context)
{
    struct session *session = smfi_getpriv(context);
    if (!session)
        return SMFIS_CONTINUE;
    session_free(session);
    smfi_setpriv(context, NULL);
    counter_add(COUNT_sessions);
    if (app_verbosity(the_app) >= 2)
        log_info("milter: session closes");
    return SMFIS_CONTINUE;
}

bool callbacks_open(struct app *app, const struct endpoint *socket, unsigned mode,
                    struct fault *fault)
{
    struct smfiDesc filter = {.xxfi_name = (char *)"rcpt-milter",
                              .xxfi_version = SMFI_VERSION,
                              .xxfi_flags = SMFIF_SETSYMLIST,
                              .xxfi_negotiate = on_negotiate,
                              .xxfi_envrcpt = on_recipient,
                              .xxfi_close = on_close};
    char where[ENDPOINT_TEXT_MAX];
    the_app = app;
    the_socket = *socket;
    endpoint_print_for_libmilter(socket, where, sizeof where);
    if (smfi_register(filter) != MI_SUCCESS || smfi_setconn(where) != MI_SUCCESS ||
        smfi_setbacklog(SOMAXCONN) != MI_SUCCESS) {
        fault_set(fault, "libmilter refused the socket %s", where);
        return false;
    }
    /* A unix socket gets 0777 less the umask at bind, and its group from a setgid directory. */
    mode_t before = umask(0777 & ~mode);
    bool opened = smfi_opensocket(true) == MI_SUCCESS;
    umask(before);
    clock_cond_init(&serving.changed);
    if (!opened)
        fault_set(fault,
                  "cannot listen on %s - is its directory there and writable, the port free?",
                  where);
    else if (!(opened = convoy_start(socket)))
        fault_set(fault, "cannot start a thread");
    return opened;
}

/*
 * In place of the C library's, for libmilter: smfi_main starts a thread that waits here for HUP,
 * TERM and INT and takes each of them for "stop". They are main's, HUP means reload, and whichever
 * of two waiting threads the kernel picks must not matter. So that thread waits for ever. Nothing
 * else in this process calls sigwait.
 */
int sigwait(const sigset_t *set, int *number)
{
    sigset_t all;
    (void)set, (void)number;
    sigfillset(&all);
    for (;;)
        sigsuspend(&all);
}

static void *serve_main(void *unused)
{
    int result = smfi_main();
    pthread_mutex_lock(&serving.lock);
    serving.ended = true;
    serving.well = result == MI_SUCCESS;
    pthread_cond_signal(&serving.changed);
    pthread_mutex_unlock(&serving.lock);
    return unused;
}

bool callbacks_serve(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve_main, NULL) != 0)
        return false;
    pthread_detach(thread);
    pthread_mutex_lock(&serving.lock);
    while (!serving.ended && !deadline_passed(serving.patience))
        clock_cond_wait(&serving.changed, &serving.lock, serving.patience);
    bool well = serving.well;
    pthread_mutex_unlock(&serving.lock);
    struct snapshot *snapshot = app_take(the_app);
    if (snapshot) {
        int64_t lookup_deadline_ms = snapshot->settings->lookup_deadline_ms;
        app_drop(the_app, snapshot);
        drain(lookup_deadline_ms);
    }
    /* After a stop its result means nothing. */
    return well || atomic_load(&stopping);
}

static void limit_patience(void)
{
    pthread_mutex_lock(&serving.lock);
    serving.patience = deadline_in_ms(STOP_PATIENCE_MS);
    pthread_cond_signal(&serving.changed);
    pthread_mutex_unlock(&serving.lock);
}

static void *stop_main(void *argument)
{
    (void)argument;
    smfi_stop();
    atomic_store(&stopped, true);
    return NULL;
}

void callbacks_stop(void)
{
    pthread_t thread;
    atomic_store(&stopping, true);
    convoy_stop();
    if (pthread_create(&thread, NULL, stop_main, NULL) != 0) {
        smfi_stop();
        limit_patience();
        return;
    }
    /* libmilter's listener looks only every 5 s whether it is to stop, and smfi_stop waits for it;
     * the sessions that come meanwhile get no answer. A connection makes it look. */
    while (!atomic_load(&stopped)) {
        listener_wake(&the_socket);
        poll(NULL, 0, 10);
    }
    pthread_join(thread, NULL);
    limit_patience();
}
