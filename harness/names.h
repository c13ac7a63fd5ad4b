/* Small texts of the command line: sizes, lists, nearest names, the root of the project. */
#ifndef LDB_NAMES_H
#define LDB_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* "1000", "1K", "2.5M", "1e6", "1G" (decimal units) -> *out; false when it is none of these. */
bool ldb_size_parse(const char *text, size_t *out);
/* 1000000 -> "1M", 7138872 -> "7138872"; returns buf. */
const char *ldb_size_format(size_t n, char buf[32]);

/* Edit distance: letters changed, added or left out. */
size_t ldb_edit_distance(const char *a, const char *b);
/* The nearest of count names, or NULL when more than about a third of the letters differ. */
const char *ldb_nearest(const char *name, const char *const *names, size_t count);

/*
 * The folder that holds datasets/ and configs/: $LDB_ROOT, or the parent of the folder that holds
 * the running binary, or the current folder. Without a slash at its end.
 */
const char *ldb_root(void);

#endif
