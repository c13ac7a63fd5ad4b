/* Drawing of the sides of a join, and the oracle (sides.h). */
#include "sides.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../datasets/tpch.h"
#include "rng.h"
#include "zipf.h"

/* Columns of TPC-H that refer to the key of another table. */
static const struct {
	const char *column, *table, *refers_to;
} columns[] = {
	{"l_orderkey", "lineitem", "o_orderkey"},
	{"l_partkey", "lineitem", "p_partkey"},
	{"l_suppkey", "lineitem", "s_suppkey"},
	{"o_custkey", "orders", "c_custkey"},
};
enum { COLUMNS = sizeof columns / sizeof *columns, DATE = 9204 /* 1995-03-15, since 1970 */ };

/* --- workloads -------------------------------------------------------------------------------- */

/* Cuts "word" or ":word" off the front of *text. */
static bool take(const char **text, const char *word)
{
	const size_t length = strlen(word);
	if (strncmp(*text, word, length) != 0)
		return false;
	*text += length;
	return true;
}

static bool parse_drawn(const char *text, ldb_sides_spec *out)
{
	char *end;
	if (*text != 'x' || text[1] < '1' || text[1] > '9')
		return false;
	out->ratio = strtoull(text + 1, &end, 10);
	text = end;
	if (out->ratio > 1024 || *text++ != ':' || !strchr("su", *text) || !*text ||
	    !strchr("su", text[1]) || !text[1])
		return false;
	out->build_sorted = text[0] == 's';
	out->probe_sorted = text[1] == 's';
	text += 2;
	if (take(&text, ":zipf"))
		out->draw = LDB_DRAW_ZIPF;
	else if (take(&text, ":half"))
		out->draw = LDB_DRAW_HALF;
	return !*text;
}

bool ldb_sides_parse(const char *text, ldb_sides_spec *out)
{
	*out = (ldb_sides_spec){0};
	if (parse_drawn(text, out))
		return true;
	*out = (ldb_sides_spec){0};
	for (size_t i = 0; i < COLUMNS; i++) {
		const char *rest = text;
		if (!take(&rest, columns[i].column))
			continue;
		snprintf(out->column, sizeof out->column, "%s", columns[i].column);
		out->dated = i == 0 && take(&rest, ":dated");
		out->shuffled = take(&rest, ":shuffled");
		return !*rest;
	}
	return false;
}

void ldb_sides_list(FILE *to)
{
	fputs("xR:OO[:zipf|:half] joins: R probe keys for each build key; OO: build and probe\n"
	      "                 side sorted (s) or not (u); uniform, skewed, or half anywhere\n"
	      "l_orderkey[:dated][:shuffled] joins, on tpch:orders.o_orderkey@SF: with lineitem; "
	      "only\n"
	      "                 orders before 1995-03-15; lineitem in random order\n"
	      "l_partkey, l_suppkey, o_custkey [:shuffled] the same for part, supplier, customer\n",
	      to);
}

/* --- memory ----------------------------------------------------------------------------------- */

size_t ldb_sides_probe_rows(const ldb_sides_spec *spec, size_t n)
{
	/* 30 rows of lineitem for each part, up to 600 for each supplier. */
	return n * (spec->ratio                               ? spec->ratio
		    : strcmp(spec->column, "l_orderkey") == 0 ? 5
		    : strcmp(spec->column, "l_partkey") == 0  ? 31
		    : strcmp(spec->column, "l_suppkey") == 0  ? 610
							      : 11);
}

size_t ldb_sides_bytes(size_t build_most, size_t probe_most)
{
	return sizeof(ldb_sides) + 64 + (build_most + probe_most) * sizeof(ldb_key);
}

ldb_status ldb_sides_make(size_t build_most, size_t probe_most, ldb_sides **out, ldb_error *err)
{
	const size_t bytes = ldb_sides_bytes(build_most, probe_most);
	void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return ldb_fail_oom(err, "sides of a join", bytes);
	ldb_sides *s = shared;
	*s = (ldb_sides){.build_most = build_most, .probe_most = probe_most};
	s->build = (ldb_key *)(s + 1);
	s->probe = s->build + build_most;
	*out = s;
	return LDB_OK;
}

void ldb_sides_free(ldb_sides *sides)
{
	if (sides)
		munmap(sides, ldb_sides_bytes(sides->build_most, sides->probe_most));
}

/* --- order ------------------------------------------------------------------------------------ */

static bool is_sorted(const ldb_key *keys, size_t n)
{
	for (size_t i = 1; i < n; i++)
		if (keys[i] < keys[i - 1])
			return false;
	return true;
}

/* Sorts by bytes, from the last to the first, those that all keys share left out. */
static void sort_keys(ldb_key *keys, ldb_key *scratch, size_t n)
{
	for (unsigned shift = 0; shift < 64; shift += 8) {
		size_t start[257] = {0};
		for (size_t i = 0; i < n; i++)
			start[(keys[i] >> shift & 255) + 1]++;
		if (n == 0 || start[(keys[0] >> shift & 255) + 1] == n)
			continue;
		for (size_t b = 0; b < 256; b++)
			start[b + 1] += start[b];
		for (size_t i = 0; i < n; i++)
			scratch[start[keys[i] >> shift & 255]++] = keys[i];
		memcpy(keys, scratch, n * sizeof *keys);
	}
}

/* --- the oracle ------------------------------------------------------------------------------- */

/* The build side in order: keys, and the row of each rank (NULL: the rank itself). */
typedef struct {
	const ldb_key *keys;
	const uint32_t *rows;
	size_t n;
} ordered;

/* Adds the matches of a probe, given the rank of the first build key >= it. */
static void add_matches(ldb_sides *s, const ordered *build, size_t rank, size_t probe_row)
{
	const ldb_key q = s->probe[probe_row];
	for (; rank < build->n && build->keys[rank] == q; rank++) {
		const uint32_t row = build->rows ? build->rows[rank] : (uint32_t)rank;
		s->checksum += ldb_match_hash(row, (uint32_t)probe_row);
		s->count++;
	}
}

/* Bisection, nothing shared with any competitor; a probe that is not less than the last one starts
 * from there. */
static void find_matches(ldb_sides *s, const ordered *build)
{
	s->count = s->checksum = 0;
	for (size_t p = 0, rank = 0; p < s->probe_n; p++) {
		const ldb_key q = s->probe[p];
		size_t low = p && q >= s->probe[p - 1] ? rank : 0, step = 1;
		while (build->n - low > step && build->keys[low + step - 1] < q) {
			low += step;
			step *= 2;
		}
		size_t high = build->n - low < step ? build->n : low + step;
		while (low < high) {
			const size_t middle = low + (high - low) / 2;
			if (build->keys[middle] < q)
				low = middle + 1;
			else
				high = middle;
		}
		rank = low;
		add_matches(s, build, rank, p);
	}
}

/* --- drawn sides ------------------------------------------------------------------------------ */

/* Puts the dataset's keys into the build side, in order or shuffled; rows[rank] is where. */
static void place_build(ldb_sides *s, const ldb_dataset *data, uint32_t *rows, ldb_rng *rng)
{
	for (size_t i = 0; i < data->n; i++)
		rows[i] = (uint32_t)i;
	for (size_t i = data->n; i > 1 && !s->build_sorted; i--) {
		const size_t j = ldb_rng_below(rng, i);
		const uint32_t row = rows[i - 1];
		rows[i - 1] = rows[j];
		rows[j] = row;
	}
	for (size_t i = 0; i < data->n; i++)
		s->build[rows[i]] = data->keys[i];
}

static void draw_probe(ldb_sides *s, const ldb_dataset *data, ldb_draw draw, ldb_rng *rng)
{
	const ldb_key first = data->keys[0], range = data->keys[data->n - 1] - first;
	const ldb_zipf zipf = ldb_zipf_make(data->n, 0.99);
	const size_t scatter = ldb_scatter_multiplier(data->n);
	for (size_t i = 0; i < s->probe_n; i++) {
		size_t rank = ldb_rng_below(rng, data->n);
		if (draw == LDB_DRAW_ZIPF) /* popular keys lie anywhere */
			rank = (size_t)((unsigned __int128)ldb_zipf_draw(&zipf, rng) * scatter %
					data->n);
		s->probe[i] = data->keys[rank];
		if (draw == LDB_DRAW_HALF && i % 2)
			s->probe[i] =
				first + (range == LDB_KEY_MAX ? ldb_rng_next(rng)
							      : ldb_rng_below(rng, range + 1));
	}
}

static ldb_status draw_sides(ldb_sides *s, const ldb_sides_spec *spec, const ldb_dataset *data,
			     uint64_t seed, ldb_error *err)
{
	const size_t most = s->probe_n * sizeof(ldb_key) + data->n * sizeof(uint32_t);
	ldb_key *scratch = malloc(s->probe_n * sizeof *scratch + 1);
	uint32_t *rows = malloc(data->n * sizeof *rows + 1);
	if (scratch && rows) {
		ldb_rng rng;
		ldb_rng_seed(&rng, seed);
		place_build(s, data, rows, &rng);
		draw_probe(s, data, spec->draw, &rng);
		if (s->probe_sorted)
			sort_keys(s->probe, scratch, s->probe_n);
		find_matches(s, &(ordered){data->keys, rows, data->n});
	}
	const bool good = scratch && rows;
	free(scratch);
	free(rows);
	return good ? LDB_OK : ldb_fail_oom(err, "sides of a join", most);
}

/* --- TPC-H ------------------------------------------------------------------------------------ */

static ldb_status name_columns(const ldb_sides_spec *spec, const char *dataset, char probe[160],
			       char date[160], ldb_error *err)
{
	size_t i = 0;
	tpch_name name;
	while (i < COLUMNS && strcmp(columns[i].column, spec->column) != 0)
		i++;
	if (tpch_parse(dataset, &name, err) != LDB_OK ||
	    strcmp(name.column, columns[i].refers_to) != 0)
		return ldb_fail(err, LDB_INVALID, "name the column that it refers to", dataset,
				"%s does not refer to it, but to %s", spec->column,
				columns[i].refers_to);
	snprintf(probe, 160, "tpch:%s.%s@%s", columns[i].table, spec->column, name.scale);
	snprintf(date, 160, "tpch:orders.o_orderdate@%s", name.scale);
	return LDB_OK;
}

/* All rows of a column in the order of its table, into keys[0..most). */
static ldb_status load_column(const char *spec, ldb_key *keys, size_t most, size_t *n,
			      ldb_error *err)
{
	ldb_column column;
	ldb_status status = ldb_column_load(spec, LDB_PAGES_4K, &column, err);
	if (status != LDB_OK)
		return status;
	*n = column.n;
	if (column.n <= most)
		ldb_column_keys(&column, 0, column.n, keys);
	else
		status = ldb_fail(err, LDB_INVALID, "use --size max", spec,
				  "%zu rows where %zu are expected at most", column.n, most);
	ldb_column_free(&column);
	return status;
}

/* Keeps the build rows of orders before DATE, numbered anew. */
static ldb_status keep_dated(ldb_sides *s, const char *spec, ldb_error *err)
{
	size_t n, kept = 0;
	ldb_key *dates = malloc(s->build_most * sizeof *dates);
	if (!dates)
		return ldb_fail_oom(err, spec, s->build_most * sizeof *dates);
	const ldb_status status = load_column(spec, dates, s->build_most, &n, err);
	for (size_t i = 0; status == LDB_OK && i < s->build_n; i++)
		if (dates[i] < DATE)
			s->build[kept++] = s->build[i];
	s->build_n = kept;
	free(dates);
	return status;
}

static int compare_keys(const void *a, const void *b)
{
	const ldb_key *x = *(const ldb_key *const *)a, *y = *(const ldb_key *const *)b;
	return *x != *y ? (*x > *y) - (*x < *y) : (x > y) - (x < y);
}

/* The oracle for a build side in any order. */
static ldb_status find_matches_of_table(ldb_sides *s, ldb_error *err)
{
	if (s->build_sorted) {
		find_matches(s, &(ordered){s->build, NULL, s->build_n});
		return LDB_OK;
	}
	const ldb_key **at = malloc(s->build_n * sizeof *at);
	ldb_key *keys = malloc(s->build_n * sizeof *keys);
	uint32_t *rows = malloc(s->build_n * sizeof *rows);
	const bool good = at && keys && rows;
	for (size_t i = 0; good && i < s->build_n; i++)
		at[i] = &s->build[i];
	if (good)
		qsort(at, s->build_n, sizeof *at, compare_keys);
	for (size_t i = 0; good && i < s->build_n; i++) {
		keys[i] = *at[i];
		rows[i] = (uint32_t)(at[i] - s->build);
	}
	if (good)
		find_matches(s, &(ordered){keys, rows, s->build_n});
	free(at);
	free(keys);
	free(rows);
	return good ? LDB_OK : ldb_fail_oom(err, "oracle of a join", s->build_n * 20);
}

static ldb_status load_tables(ldb_sides *s, const ldb_sides_spec *spec, const char *dataset,
			      uint64_t seed, ldb_error *err)
{
	char probe[160], date[160];
	ldb_status status = name_columns(spec, dataset, probe, date, err);
	if (status == LDB_OK)
		status = load_column(dataset, s->build, s->build_most, &s->build_n, err);
	if (status == LDB_OK && spec->dated)
		status = keep_dated(s, date, err);
	if (status == LDB_OK)
		status = load_column(probe, s->probe, s->probe_most, &s->probe_n, err);
	if (status != LDB_OK)
		return status;
	ldb_rng rng;
	ldb_rng_seed(&rng, seed);
	for (size_t i = s->probe_n; i > 1 && spec->shuffled; i--) {
		const size_t j = ldb_rng_below(&rng, i);
		const ldb_key key = s->probe[i - 1];
		s->probe[i - 1] = s->probe[j];
		s->probe[j] = key;
	}
	s->build_sorted = is_sorted(s->build, s->build_n);
	s->probe_sorted = is_sorted(s->probe, s->probe_n);
	return find_matches_of_table(s, err);
}

/* --- both ------------------------------------------------------------------------------------- */

ldb_status ldb_sides_check(const ldb_sides_spec *spec, const char *dataset, ldb_error *err)
{
	char probe[160], date[160];
	return spec->ratio ? LDB_OK : name_columns(spec, dataset, probe, date, err);
}

ldb_status ldb_sides_draw(ldb_sides *sides, const ldb_sides_spec *spec, const char *dataset,
			  const ldb_dataset *data, uint64_t seed, ldb_error *err)
{
	if (!spec->ratio)
		return load_tables(sides, spec, dataset, seed, err);
	sides->build_n = data->n;
	sides->probe_n = data->n * spec->ratio;
	sides->build_sorted = spec->build_sorted;
	sides->probe_sorted = spec->probe_sorted;
	return draw_sides(sides, spec, data, seed, err);
}
