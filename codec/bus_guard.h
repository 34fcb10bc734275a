/*
 * Reading a mapped file that may shrink or fail under the reader: what would be a signal (SIGBUS) becomes a
 * return value of the thread that reads. The handler is the program's to install; a library does not.
 */
#ifndef ENTRO_BUS_GUARD_H
#define ENTRO_BUS_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Installs the handler of SIGBUS for the whole process, once, before threads start. A SIGBUS outside of what
 * is guarded has its default effect. False where the system refuses. */
bool entro_bus_guard_install(void);
bool entro_bus_guard_is_installed(void);

/*
 * Runs function(context). False where it touched a page of begin..begin+size_bytes that could not be read:
 * then it was left in the middle. So it must hold no lock and own nothing while it runs, and what it has
 * written is undefined. Guards do not nest.
 */
bool entro_bus_guard_run(const void *begin, size_t size_bytes, void (*function)(void *context),
                         void *context);

#endif
