/*
 * doctor_socket - can Postfix's user connect to milter_socket? By stat alone: access lists and
 * security modules are not seen.
 */
#ifndef MILTER_DOCTOR_SOCKET_H
#define MILTER_DOCTOR_SOCKET_H

#include "milter/doctor.h"

/* The path with the symbolic links of its directory followed; as it is where that fails. */
void doctor_path_resolve(const char *path, char resolved[DOCTOR_PATH_MAX]);

/* Fills in facts->socket from the rest of the facts. */
void doctor_socket_look(struct doctor_facts *facts);

#endif
