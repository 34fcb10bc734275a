/*
 * The first thing that a program does which opens files: see to it that none of them becomes its stdout.
 */
#ifndef ENTRO_STANDARD_FILES_H
#define ENTRO_STANDARD_FILES_H

#include <stdbool.h>

/*
 * Opens /dev/null for each of 0, 1, 2 that is closed, so that no image or pipe gets such a number and then
 * what is printed. 1 and 2 become read-only: what is printed there fails, as on a closed file. False where
 * that fails. While there is one thread.
 */
bool entro_keep_standard_files(void);

#endif
