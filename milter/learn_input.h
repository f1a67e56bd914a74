/* learn_input - where `rcptctl learn` reads recipients. False: learn_batch.h says how. */
#ifndef MILTER_LEARN_INPUT_H
#define MILTER_LEARN_INPUT_H

#include "milter/learn_batch.h"

/* learning->source, "-" for standard input; anything that can be read. */
bool learn_read_file(struct learning *learning);
/* learning->map. */
bool learn_read_map(struct learning *learning);

#endif
