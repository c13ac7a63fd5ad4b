/* `ldbench dataset` and `ldbench inspect`. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../datasets/inspect.h"
#include "commands.h"
#include "dataset.h"
#include "names.h"

enum { MOST_EPSILONS = 16 };

typedef struct {
	const char *spec, *out;
	uint64_t epsilons[MOST_EPSILONS];
	size_t epsilon_count;
	size_t n;
	int key_bits;
	uint64_t seed;
	bool writes;
} arguments;

/* "8,32,4096" as errors to count segments at; false when it is no such list. */
static bool parse_epsilons(const char *text, arguments *a)
{
	for (a->epsilon_count = 0; a->epsilon_count < MOST_EPSILONS; text++) {
		char *end;
		const uint64_t epsilon = strtoull(text, &end, 10);
		if (end == text || *text == '-' || epsilon >= UINT64_C(1) << 60)
			return false;
		a->epsilons[a->epsilon_count++] = epsilon;
		text = end;
		if (*text != ',')
			return *text == '\0';
	}
	return false;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	arguments *a = state->input;
	char *end;
	switch (key) {
	case 'n':
		if (strcmp(value, "max") == 0)
			a->n = 0;
		else if (!ldb_size_parse(value, &a->n) || !a->n)
			argp_error(state, "--size: '%s'; write 1000, 1K, 10M, 1e6 or max", value);
		return 0;
	case 's':
		a->seed = strtoull(value, &end, 0);
		if (end == value || *end || *value == '-')
			argp_error(state, "--seed: '%s'; write a number", value);
		return 0;
	case 'k':
		a->key_bits = atoi(value);
		if (strcmp(value, "32") != 0 && strcmp(value, "64") != 0)
			argp_error(state, "--key-bits: '%s'; write 32 or 64", value);
		return 0;
	case 'o':
		a->out = value;
		return 0;
	case 'e':
		if (!parse_epsilons(value, a))
			argp_error(state, "--epsilon: '%s'; write up to %d ranks like 8,32,4096",
				   value, MOST_EPSILONS);
		return 0;
	case ARGP_KEY_ARG:
		if (a->spec)
			argp_error(state, "two datasets: '%s' and '%s'; give one", a->spec, value);
		a->spec = value;
		return 0;
	case ARGP_KEY_END:
		if (!a->spec)
			argp_error(state, "no dataset given; `ldbench list datasets` names them");
		if (a->writes && !a->out)
			argp_error(state, "no --out FILE given");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static int parse(int argc, char **argv, arguments *a)
{
	struct argp_option options[] = {
		{"size", 'n', "N", 0,
		 "keys: of a file an even sample (default: all; generated: 1M)", 0},
		{"seed", 's', "N", 0, "seed of generated datasets (default 42)", 0},
		{"key-bits", 'k', "32|64", 0,
		 "key width: of a file without suffix; of the one written", 0},
		{"out", 'o', "FILE", a->writes ? 0 : OPTION_HIDDEN, "the SOSD file to write", 0},
		{"epsilon", 'e', "E,..", a->writes ? OPTION_HIDDEN : 0,
		 "count segments at these errors, too", 0},
		{0}};
	const struct argp writer = {
		.options = options,
		.parser = parse_option,
		.args_doc = "SPEC",
		.doc = "Writes a dataset as a SOSD file: u64 count, then sorted keys."};
	const struct argp inspector = {
		.options = options,
		.parser = parse_option,
		.args_doc = "SPEC|FILE",
		.doc = "Prints facts about a dataset: range, duplicates, gaps, and its "
		       "hardness as the number of segments of an optimal piecewise linear "
		       "approximation with error 32 (local) and 4096 (global)."};
	char name[32];
	snprintf(name, sizeof name, "ldbench %s", a->writes ? "dataset" : "inspect");
	argv[0] = name;
	argp_err_exit_status = LDB_EXIT_USAGE;
	return argp_parse(a->writes ? &writer : &inspector, argc, argv, 0, NULL, a);
}

static ldb_status load(const arguments *a, ldb_dataset *data, ldb_error *err)
{
	const ldb_dataset_options options = {
		.pages = LDB_PAGES_THP, .seed = a->seed, .key_bits = a->key_bits};
	return ldb_dataset_load(a->spec, a->n, &options, data, err);
}

int ldb_command_dataset(int argc, char **argv)
{
	arguments a = {.seed = 42, .writes = true};
	ldb_dataset data;
	ldb_error err;
	parse(argc, argv, &a);
	if (load(&a, &data, &err) != LDB_OK)
		return ldb_complain(&err);
	ldb_status status =
		ldb_dataset_write(a.out, data.keys, data.n, a.key_bits == 32 ? 32 : 64, &err);
	if (status == LDB_OK)
		printf("%s: %zu keys of %s, XXH3 %016" PRIx64 "\n", a.out, data.n, data.name,
		       data.checksum);
	ldb_dataset_free(&data);
	return status == LDB_OK ? LDB_EXIT_OK : ldb_complain(&err);
}

static const char *catalog_line(const char *spec)
{
	size_t count;
	ldb_error err;
	const ldb_catalog_entry *entries = ldb_catalog(&count, &err);
	for (size_t i = 0; entries && i < count; i++)
		if (strcmp(entries[i].name, spec) == 0)
			return entries[i].about;
	return NULL;
}

int ldb_command_inspect(int argc, char **argv)
{
	arguments a = {.seed = 42};
	ldb_dataset data;
	ldb_dataset_facts f;
	ldb_error err;
	parse(argc, argv, &a);
	if (load(&a, &data, &err) != LDB_OK)
		return ldb_complain(&err);
	ldb_dataset_inspect(data.keys, data.n, &f);
	const double per_million = 1e6 / (double)f.n;
	printf("dataset        %s\n", data.name);
	if (catalog_line(a.spec))
		printf("about          %s\n", catalog_line(a.spec));
	printf("source         %s\n", data.source);
	if (data.source_n != data.n)
		printf("sampled from   %zu keys, evenly\n", data.source_n);
	printf("keys           %zu\n", f.n);
	printf("distinct       %zu\n", f.distinct);
	printf("duplicates     %zu (longest run of equal keys: %zu)\n", f.n - f.distinct,
	       f.longest_run);
	printf("min            %" PRIu64 "\nmax            %" PRIu64 "\n", f.min, f.max);
	printf("gap min        %" PRIu64 "\ngap median     %" PRIu64 "\n", f.gap_min, f.gap_median);
	printf("gap mean       %.6g\ngap max        %" PRIu64 "\n", f.gap_mean, f.gap_max);
	printf("gap log2 sd    %.3f\n", f.gap_log2_sd);
	printf("outlier share  %.4f of the key range belongs to the outermost 0.1 %% of keys\n",
	       f.outlier_share);
	printf("hardness       %zu segments at error 32 (%.1f per million keys), "
	       "%zu at error 4096 (%.1f)\n",
	       f.segments_eps32, (double)f.segments_eps32 * per_million, f.segments_eps4096,
	       (double)f.segments_eps4096 * per_million);
	for (size_t i = 0; i < a.epsilon_count; i++) {
		const size_t count = inspect_segments(data.keys, data.n, a.epsilons[i], NULL);
		printf("segments       %zu segments at error %" PRIu64 " (%.1f per million keys)\n",
		       count, a.epsilons[i], (double)count * per_million);
	}
	printf("checksum       XXH3 %016" PRIx64 "\n", data.checksum);
	printf("loaded in      %.3f s\n", (double)data.load_ns / 1e9);
	ldb_dataset_free(&data);
	return LDB_EXIT_OK;
}
