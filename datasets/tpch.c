/* Names and files of TPC-H's columns (tpch.h). */
#include "tpch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catalog.h"
#include "names.h"

static const char *const tables[] = {"customer", "lineitem", "nation", "orders",
				     "part",     "partsupp", "region", "supplier"};
#define TABLES (sizeof tables / sizeof *tables)

/* Copies a span of letters, made lower-case, digits and _; false when it is empty, other or too
 * long. */
static bool copy_word(char *out, size_t size, const char *text, size_t length)
{
	if (length == 0 || length >= size)
		return false;
	for (size_t i = 0; i < length; i++)
		out[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
	out[length] = '\0';
	return strspn(out, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

static bool copy_scale(char out[17], const char *text)
{
	if (strlen(text) > 16 || strspn(text, "0123456789.") != strlen(text) ||
	    strtod(text, NULL) <= 0 || strstr(text, ".."))
		return false;
	strcpy(out, text);
	return true;
}

ldb_status tpch_parse(const char *spec, tpch_name *out, ldb_error *err)
{
	const char *table = strchr(spec, ':'), *dot = table ? strchr(++table, '.') : NULL;
	const char *at = dot ? strchr(dot, '@') : NULL;
	if (!at || strncmp(spec, "tpch:", 5) != 0 ||
	    !copy_word(out->table, sizeof out->table, table, (size_t)(dot - table)) ||
	    !copy_word(out->column, sizeof out->column, dot + 1, (size_t)(at - dot - 1)) ||
	    !copy_scale(out->scale, at + 1))
		return ldb_fail(err, LDB_INVALID,
				"write tpch:TABLE.COLUMN@SF, for example "
				"tpch:lineitem.l_orderkey@1",
				"dataset", "'%s' is not a TPC-H column", spec);
	for (size_t i = 0; i < TABLES; i++)
		if (strcmp(tables[i], out->table) == 0)
			return LDB_OK;
	const char *near = ldb_nearest(out->table, tables, TABLES);
	char remedy[128];
	snprintf(remedy, sizeof remedy, near ? "did you mean '%s'?" : "%suse one of TPC-H's tables",
		 near ? near : "");
	return ldb_fail(err, LDB_INVALID, remedy, "dataset", "unknown table '%s' in '%s'",
			out->table, spec);
}

/* --- columns ---------------------------------------------------------------------------------- */

/* The column's file, of whichever width; 0 when there is none, else its width. */
static unsigned open_column(const tpch_name *name, char path[PATH_MAX], int *fd)
{
	static const unsigned widths[] = {1, 2, 4, 8};
	for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
		char inside[256];
		snprintf(inside, sizeof inside, "data/tpch/sf%s/tables/%s.%s.u%u", name->scale,
			 name->table, name->column, 8 * widths[i]);
		*fd = catalog_data_path(inside, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
		if (*fd >= 0)
			return widths[i];
	}
	return 0;
}

static bool read_all(int fd, char *to, size_t bytes)
{
	while (bytes) {
		const ssize_t got = read(fd, to, bytes);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		to += got;
		bytes -= (size_t)got;
	}
	return true;
}

static ldb_status read_column(int fd, const char *path, const char *again, ldb_pages pages,
			      ldb_column *out, ldb_error *err)
{
	struct stat st;
	uint64_t count;
	if (fstat(fd, &st) != 0 || !read_all(fd, (char *)&count, sizeof count))
		return ldb_fail(err, LDB_IO, again, path, "has no count of 8 bytes at its start");
	const uint64_t bytes = (uint64_t)st.st_size - sizeof count;
	if (bytes % out->width || count != bytes / out->width)
		return ldb_fail(err, LDB_INVALID, again, path,
				"count is %" PRIu64 ", but %" PRIu64 " bytes of %u each follow",
				count, bytes, out->width);
	out->n = (size_t)count;
	if (!count)
		return LDB_OK;
	out->values = ldb_map((size_t)bytes, pages, err);
	if (!out->values)
		return LDB_OOM;
	out->mapped_bytes = (size_t)bytes;
	if (read_all(fd, out->values, (size_t)bytes))
		return LDB_OK;
	ldb_column_free(out);
	return ldb_fail(err, LDB_IO, again, path, "can't be read to its end");
}

ldb_status ldb_column_load(const char *spec, ldb_pages pages, ldb_column *out, ldb_error *err)
{
	tpch_name name;
	char path[PATH_MAX], again[64];
	int fd = -1;
	memset(out, 0, sizeof *out);
	ldb_status status = tpch_parse(spec, &name, err);
	if (status != LDB_OK)
		return status;
	snprintf(again, sizeof again, "run scripts/tpch %s", name.scale);
	out->width = open_column(&name, path, &fd);
	if (!out->width)
		return ldb_fail(err, LDB_IO, again, spec, "no such column in data/tpch/sf%s",
				name.scale);
	status = read_column(fd, path, again, pages, out, err);
	close(fd);
	return status;
}

void ldb_column_free(ldb_column *column)
{
	if (column->values)
		ldb_unmap(column->values, column->mapped_bytes);
	memset(column, 0, sizeof *column);
}

void ldb_column_keys(const ldb_column *column, size_t first, size_t count, ldb_key *keys)
{
	switch (column->width) {
	case 1:
		for (size_t i = 0; i < count; i++)
			keys[i] = ((const uint8_t *)column->values)[first + i];
		break;
	case 2:
		for (size_t i = 0; i < count; i++)
			keys[i] = ((const uint16_t *)column->values)[first + i];
		break;
	case 4:
		for (size_t i = 0; i < count; i++)
			keys[i] = ((const uint32_t *)column->values)[first + i];
		break;
	default:
		for (size_t i = 0; i < count; i++)
			keys[i] = ((const uint64_t *)column->values)[first + i];
	}
}
