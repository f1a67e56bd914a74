/*
 * inspect_watch - an end to a server that neither answers nor hangs up: rcptctl check has one
 * thread, and the client library's timeouts begin again with every byte. SIGALRM's; one at a time.
 */
#ifndef MILTER_INSPECT_WATCH_H
#define MILTER_INSPECT_WATCH_H

/* After so many seconds the socket is shut down, which ends the call that waits for it; without a
 * socket, or where that did not help, the program ends with EXIT_UNAVAILABLE. */
void inspect_watch_begin(unsigned seconds);
void inspect_watch_socket(int fd); /* -1: before it is closed */
void inspect_watch_end(void);

#endif
