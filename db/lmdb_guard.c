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

/* Set once, before the first guarded call. */
static struct sigaction guard_before_bus, guard_before_segv;

static void guard_handler(int number, siginfo_t *info, void *context)
{
    (void)context;
    struct guard *guard = guard_current;
    if (guard && info->si_code > 0) { /* the kernel's own, not kill(2)'s */
        *guard->cut_by = number;
        siglongjmp(guard->jump, 1);
    }
    /* A fault comes again as soon as we return, a signal that was sent does not. */
    sigaction(number, number == SIGBUS ? &guard_before_bus : &guard_before_segv, NULL);
    if (info->si_code <= 0)
        raise(number);
}

static void guard_install(void)
{
    /* SA_NODEFER: who jumps out of the handler finds the signal as unblocked as before, without
     * the system call that saving the mask at every lookup would be. */
    struct sigaction action = {.sa_sigaction = guard_handler,
                               .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &guard_before_bus);
    sigaction(SIGSEGV, &action, &guard_before_segv);
}

bool lmdb_guard_run(void (*work)(void *context), void *context, int *cut_by)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, guard_install);

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
