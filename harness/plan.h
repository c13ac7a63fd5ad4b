/*
 * The plan of a run: what the command line and the INI files say, checked and spread into stages.
 *
 * Every setting has one name and one parser, used by `--name value` and by `name = value` alike. An
 * INI file holds one section per experiment; settings before the first section hold for all, and
 * the command line overrides them all.
 *
 * A stage is a dataset at a size under a page policy and a payload: what is loaded once. Within it,
 * points (workload x mode x threads) x competitors are the cells.
 */
#ifndef LDB_PLAN_H
#define LDB_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ldb/status.h"
#include "memory.h"
#include "registry.h"
#include "workload.h"

typedef enum {
	LDB_INDEPENDENT,
	LDB_CHAINED,
	LDB_BATCHED,
	LDB_FENCED,
	LDB_COLD,
	LDB_MIXED,
	LDB_KEYS,
	LDB_PAIRS,
	LDB_COUNT,
	LDB_MODES
} ldb_mode;
const char *ldb_mode_name(ldb_mode mode);

enum { LDB_MAX_LIST = 64 };

/* One experiment: lists are multiplied with each other. */
typedef struct {
	char experiment[64];
	ldb_family family; /* of all competitors: that of the last setting that named any */
	char competitors_text[LDB_MAX_LIST][256];
	char datasets[LDB_MAX_LIST][512];
	size_t sizes[LDB_MAX_LIST]; /* 0: as many as there are */
	ldb_workload workloads[LDB_MAX_LIST];
	ldb_mode modes[LDB_MODES + 1]; /* one more than there are, for the one being added */
	ldb_pages pages[4];
	size_t threads[LDB_MAX_LIST];
	size_t payloads[4]; /* bytes: 0, 8 or 64 */
	size_t competitor_count, dataset_count, size_count, workload_count, mode_count, page_count,
		thread_count, payload_count;
	size_t reps, ops; /* ops 0: calibrated to pass_ms */
	uint64_t seed;
	double pass_ms, timeout_s;
	double preload;              /* share of keys that are there before updates, in percent */
	double rate;                 /* operations per second of all threads; 0: at full speed */
	size_t memory_bytes;         /* 0: what the machine has free */
	int key_bits;                /* of plug-ins: 32, 64, or both: 32 | 64; 0: 64, by default */
	char numa[16];               /* "local", "interleave" or a node number */
	bool optional;               /* left out, and that is said, where its data is not there */
	char reference[64];          /* name of the reference competitor; "" : the first suitable */
	ldb_competitor *competitors; /* opened by ldb_plan_finish */
} ldb_experiment;

typedef struct {
	ldb_experiment *experiments;
	size_t count;
	char *config_text; /* the INI as it was read, for run.json; NULL without one */
} ldb_plan;

typedef struct {
	const ldb_experiment *experiment;
	const char *dataset;
	size_t n;
	ldb_pages pages;
	size_t payload_bytes;
} ldb_stage;

/* A setting from the command line. */
typedef struct {
	const char *name, *value;
} ldb_setting;

/* Documentation of each setting, ends with a NULL name: for --help and for "did you mean". */
typedef struct {
	const char *name, *arg, *help;
	bool timing; /* of no use where nothing is timed */
} ldb_setting_doc;
extern const ldb_setting_doc ldb_setting_docs[];

/*
 * Reads config (NULL: none), applies the settings, opens the competitors and checks everything that
 * can be known before the run: names, sizes against files, memory. Errors carry the line number.
 */
ldb_status ldb_plan_make(const char *config, const ldb_setting *settings, size_t setting_count,
			 ldb_plan *out, ldb_error *err);
void ldb_plan_free(ldb_plan *plan);

/* All stages in the order they run; free() the result. NULL when out of memory. */
ldb_stage *ldb_plan_stages(const ldb_plan *plan, size_t *count);

/* What a worker takes besides its index. */
#define LDB_WORKER_BYTES ((size_t)16 << 20)
/* Bytes a stage takes at most with the reference and the most demanding other competitor. */
size_t ldb_stage_bytes(const ldb_stage *stage);
/* Memory that a run may take: --memory, or 90 % of what the machine and its cgroups have free. */
size_t ldb_memory_budget(const ldb_experiment *e);

/* Is a width of keys among those that the experiment's plug-ins have? */
static inline bool ldb_has_key_bits(const ldb_experiment *e, int key_bits)
{
	return (e->key_bits ? e->key_bits : 64) & key_bits;
}

/* The width of keys in files whose name does not tell it: that of all plug-ins; 0: not known. */
static inline int ldb_file_key_bits(const ldb_experiment *e)
{
	return e->key_bits == (32 | 64) ? 0 : e->key_bits;
}

/* The index in e->competitors of the reference. Of plug-ins for keys of 32 and of 64 bits side by
 * side each width has one, and this is the first. */
size_t ldb_reference(const ldb_experiment *e);
bool ldb_is_reference(const ldb_experiment *e, size_t competitor);

#endif
