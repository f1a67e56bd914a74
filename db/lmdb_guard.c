#include "db/lmdb_guard.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

struct guard {
    sigjmp_buf jump;
    int *cut_by;
    struct guard *outer;
};

/* The call this thread is in. The handler runs on the thread that faulted. */
static _Thread_local struct guard *volatile guard_current;

static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction guard_before_bus, guard_before_segv; /* guard_lock; before a fault */

static void guard_handler(int number, siginfo_t *info, void *context)
{
    struct guard *guard = guard_current;
    if (guard && info->si_code > 0) { /* the kernel's own, not kill(2)'s */
        *guard->cut_by = number;
        /* What returning would have done. sigsetjmp could save the mask instead, with a system call
         * at every lookup. */
        pthread_sigmask(SIG_SETMASK, &((ucontext_t *)context)->uc_sigmask, NULL);
        siglongjmp(guard->jump, 1);
    }
    /* A fault comes again as soon as we return, a signal that was sent does not. */
    sigaction(number, number == SIGBUS ? &guard_before_bus : &guard_before_segv, NULL);
    if (info->si_code <= 0)
        raise(number);
}

static void install_for(int number, struct sigaction *before)
{
    struct sigaction present,
        action = {.sa_sigaction = guard_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &present) != 0 || present.sa_sigaction == guard_handler)
        return;
    *before = present;
    sigaction(number, &action, NULL);
}

void lmdb_guard_install(void)
{
    pthread_mutex_lock(&guard_lock);
    install_for(SIGBUS, &guard_before_bus);
    install_for(SIGSEGV, &guard_before_segv);
    pthread_mutex_unlock(&guard_lock);
}

bool lmdb_guard_run(void (*work)(void *context), void *context, int *cut_by)
{
    struct guard guard = {.cut_by = cut_by, .outer = guard_current};
    bool whole = sigsetjmp(guard.jump, 0) == 0;
    if (whole) {
        guard_current = &guard;
        work(context);
    }
    guard_current = guard.outer;
    return whole;
}

void lmdb_guard_leave(void)
{
    struct guard *guard = guard_current;
    if (!guard)
        return;
    *guard->cut_by = 0;
    siglongjmp(guard->jump, 1);
}
