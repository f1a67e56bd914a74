/*
 * fault - one sentence an operator can act on, carried up in the caller's buffer.
 *
 * A function that can fail takes a `struct fault *` last. It writes the sentence and returns its
 * failure value; it does not log. Only the top (main, app, callbacks, the owner of a state that
 * changed) logs. Every function here accepts NULL and then does nothing. A fault never holds a
 * password. A struct fault belongs to one thread at a time.
 */
#ifndef SHARED_FAULT_H
#define SHARED_FAULT_H

enum { FAULT_MAX = 512 }; /* bytes, with the NUL; longer sentences are cut */

struct fault {
    char text[FAULT_MAX]; /* "" means: nothing went wrong */
};

/* Replaces the sentence. Control characters are written as \xNN, so it is safe to log. */
void fault_set(struct fault *fault, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the sentence. */
void fault_within(struct fault *fault, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Forgets the sentence. */
void fault_clear(struct fault *fault);

#endif
