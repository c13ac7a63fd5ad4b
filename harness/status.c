/* Filling of the error struct (ldb/status.h). */
#include "ldb/status.h"

#include <stdarg.h>
#include <stdio.h>

ldb_status ldb_fail(ldb_error *err, ldb_status status, const char *remedy, const char *subject,
		    const char *value_format, ...)
{
	if (!err)
		return status;
	snprintf(err->subject, sizeof err->subject, "%s", subject);
	snprintf(err->remedy, sizeof err->remedy, "%s", remedy);
	va_list args;
	va_start(args, value_format);
	vsnprintf(err->value, sizeof err->value, value_format, args);
	va_end(args);
	return status;
}

ldb_status ldb_fail_oom(ldb_error *err, const char *subject, unsigned long long bytes)
{
	return ldb_fail(err, LDB_OOM, "use a smaller size, or raise --memory", subject,
			"%llu bytes could not be allocated", bytes);
}
