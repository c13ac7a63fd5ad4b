/* Sizes, nearest names, and where the project's files are (names.h). */
#include "names.h"

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

bool ldb_size_parse(const char *text, size_t *out)
{
	/* No sign, no blank, no "inf"; and none of the hexadecimal numbers that strtod takes. */
	if (text[0] < '0' || text[0] > '9' || text[1] == 'x' || text[1] == 'X')
		return false;
	char *end;
	double value = strtod(text, &end);
	switch (*end) {
	case 'k':
	case 'K':
		value *= 1e3, end++;
		break;
	case 'm':
	case 'M':
		value *= 1e6, end++;
		break;
	case 'g':
	case 'G':
		value *= 1e9, end++;
		break;
	default:
		break;
	}
	/* 2.01M is a whole number, though 2.01 * 1e6 is not quite one. */
	const double whole = rint(value);
	if (*end || !(value >= 0 && value <= 0x1p53) || fabs(value - whole) > value * 0x1p-52)
		return false;
	*out = (size_t)whole;
	return true;
}

const char *ldb_size_format(size_t n, char buf[32])
{
	if (n && n % 1000000 == 0)
		snprintf(buf, 32, "%zuM", n / 1000000);
	else if (n && n % 1000 == 0 && n < 1000000)
		snprintf(buf, 32, "%zuK", n / 1000);
	else
		snprintf(buf, 32, "%zu", n);
	return buf;
}

size_t ldb_edit_distance(const char *a, const char *b)
{
	enum { LIMIT = 64 };
	size_t row[LIMIT + 1], n = strnlen(b, LIMIT);
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] && i <= LIMIT; i++) {
		size_t diagonal = row[0];
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t change = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			size_t edit = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			row[j] = change < edit ? change : edit;
		}
	}
	return row[n];
}

const char *ldb_nearest(const char *name, const char *const *names, size_t count)
{
	const char *best = NULL;
	size_t best_distance = strlen(name) / 3 + 2;
	for (size_t i = 0; i < count; i++) {
		size_t d = ldb_edit_distance(name, names[i]);
		/* What was typed as a part of the name is near, too: "radix" for radixspline. */
		if (strlen(name) >= 3 && strstr(names[i], name))
			d = d < 2 ? d : 2;
		if (d < best_distance) {
			best_distance = d;
			best = names[i];
		}
	}
	return best;
}

static bool has_catalog(const char *folder)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/datasets/catalog.ini", folder);
	return access(path, R_OK) == 0;
}

const char *ldb_root(void)
{
	static char root[PATH_MAX - 64];
	if (root[0])
		return root;
	const char *set = getenv("LDB_ROOT");
	if (set && *set) {
		snprintf(root, sizeof root, "%s", set);
		return root;
	}
	/* Up from the binary: build/ldbench, build/tests/test_x. */
	ssize_t length = readlink("/proc/self/exe", root, sizeof root - 1);
	root[length > 0 ? length : 0] = '\0';
	for (char *slash; (slash = strrchr(root, '/')) && slash > root;) {
		*slash = '\0';
		if (has_catalog(root))
			return root;
	}
	snprintf(root, sizeof root, ".");
	return root;
}
