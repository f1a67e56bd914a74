#include "db/slots.h"

enum { PART_OF_DEADLINE = 10 };

struct slot_waiter {
    pthread_cond_t served; /* all of it is covered by the lock of the slots */
    bool has_slot;
    struct slot_waiter *next;
};

void slots_init(struct slots *slots, unsigned count)
{
    *slots = (struct slots){.count = count};
    slots->end = &slots->first;
    pthread_mutex_init(&slots->lock, NULL);
}

void slots_release(struct slots *slots)
{
    pthread_mutex_destroy(&slots->lock);
}

static struct deadline patience(struct deadline deadline)
{
    int64_t part = deadline_left_ms(deadline) / PART_OF_DEADLINE;
    return deadline_in_ms(part < SLOTS_WAIT_MS ? part : SLOTS_WAIT_MS);
}

/* The lock is held, here and in the next ones. */
static void leave_line(struct slots *slots, struct slot_waiter *waiter)
{
    struct slot_waiter **at = &slots->first;
    while (*at != waiter)
        at = &(*at)->next;
    *at = waiter->next;
    if (slots->end == &waiter->next)
        slots->end = at;
    slots->waiting--;
}

static bool wait_in_line(struct slots *slots, struct deadline until)
{
    struct slot_waiter self = {.has_slot = false};
    clock_cond_init(&self.served);
    *slots->end = &self;
    slots->end = &self.next;
    slots->waiting++;
    while (!self.has_slot && clock_cond_wait(&self.served, &slots->lock, until))
        ;
    if (!self.has_slot) {
        leave_line(slots, &self);
        slots->stuck = true;
    }
    pthread_cond_destroy(&self.served);
    return self.has_slot;
}

bool slots_take(struct slots *slots, struct deadline deadline)
{
    bool has_slot = false;
    pthread_mutex_lock(&slots->lock);
    if (slots->taken < slots->count) {
        slots->taken++;
        has_slot = true;
    } else if (!slots->stuck && slots->waiting < SLOTS_WAITING_MAX) {
        has_slot = wait_in_line(slots, patience(deadline));
    }
    pthread_mutex_unlock(&slots->lock);
    return has_slot;
}

/* While somebody waits it stays taken, and is his: whoever comes now stands behind. */
void slots_return(struct slots *slots)
{
    pthread_mutex_lock(&slots->lock);
    struct slot_waiter *first = slots->first;
    slots->stuck = false;
    if (first) {
        leave_line(slots, first);
        first->has_slot = true;
        pthread_cond_signal(&first->served);
    } else {
        slots->taken--;
    }
    pthread_mutex_unlock(&slots->lock);
}

unsigned slots_taken(struct slots *slots)
{
    pthread_mutex_lock(&slots->lock);
    unsigned taken = slots->taken;
    pthread_mutex_unlock(&slots->lock);
    return taken;
}
