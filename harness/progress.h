/*
 * Progress on stderr: a bar with the time left on a terminal, a line now and then elsewhere.
 */
#ifndef LDB_PROGRESS_H
#define LDB_PROGRESS_H

#include <stddef.h>

/* Starts a run of `total` units of work (passes, builds). */
void ldb_progress_start(double total);
/* `done` units of the total are behind us; `what` is under way. */
void ldb_progress(double done, const char *what);
/* Prints a message line without tearing the bar. */
void ldb_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void ldb_progress_end(void);

#endif
