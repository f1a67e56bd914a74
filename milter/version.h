#ifndef MILTER_VERSION_H
#define MILTER_VERSION_H

#define VERSION "0.1.0"

#endif
