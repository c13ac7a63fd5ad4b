/*
 * Status codes and the error struct that every fallible function of LearnedDB fills.
 *
 * Library code and competitors never print, exit or abort. They return a status and, when it is
 * not LDB_OK, say in three fields what went wrong: the subject (what was being handled), the value
 * (what was found) and the remedy (what the reader can do about it).
 */
#ifndef LDB_STATUS_H
#define LDB_STATUS_H

/* What the driver gives to plug-ins. */
#define LDB_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
	LDB_OK = 0,
	LDB_UNSUPPORTED, /* the competitor can't do this by design (e.g. duplicates) */
	LDB_OOM,         /* an allocation was refused; nothing is leaked */
	LDB_INVALID,     /* bad input or a broken invariant */
	LDB_IO,          /* a file could not be read or written */
} ldb_status;

typedef struct {
	char subject[256];
	char value[256];
	char remedy[256];
} ldb_error;

/*
 * Fills *err (which may be NULL) and returns `status`, so that callers can write
 * `return ldb_fail(err, LDB_INVALID, "remedy", "subject", "value %zu", v);`. Texts too long are
 * cut.
 */
LDB_API ldb_status ldb_fail(ldb_error *err, ldb_status status, const char *remedy,
			    const char *subject, const char *value_format, ...)
	__attribute__((format(printf, 5, 6)));

/* ldb_fail for the commonest case: `bytes` of memory for `subject` could not be had. */
LDB_API ldb_status ldb_fail_oom(ldb_error *err, const char *subject, unsigned long long bytes);

#ifdef __cplusplus
}
#endif
#endif
