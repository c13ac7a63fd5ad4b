/* Results folders (results.h). */
#include "results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"
#include "names.h"
#include "samples.h"

static void utc_now(char *buf, size_t size, const char *format)
{
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(buf, size, format, &tm);
}

static bool make_folders(const char *dir)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s", dir);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0777);
		*slash = '/';
	}
	if (mkdir(path, 0777) != 0 && errno != EEXIST)
		return false;
	return access(path, W_OK | X_OK) == 0;
}

bool ldb_results_exist(const char *dir)
{
	char path[PATH_MAX];
	struct stat st;
	snprintf(path, sizeof path, "%s/samples.csv", dir);
	return stat(path, &st) == 0 && st.st_size > 0;
}

ldb_status ldb_results_folder(const char *dir, char out[PATH_MAX], ldb_error *err)
{
	char date[32], slug[64];
	if (dir && strlen(dir) >= PATH_MAX - 64)
		return ldb_fail(err, LDB_INVALID, "use a shorter path", "--out", "path too long");
	utc_now(date, sizeof date, "%Y-%m-%d");
	ldb_machine_slug(slug);
	for (int i = 1; i < 1000; i++) {
		char suffix[16] = "";
		struct stat st;
		if (i > 1)
			snprintf(suffix, sizeof suffix, "-%d", i);
		if (dir)
			snprintf(out, PATH_MAX, "%s", dir);
		else
			snprintf(out, PATH_MAX, "%.3500s/results/%s-%s%s", ldb_root(), date, slug,
				 suffix);
		if (dir || stat(out, &st) != 0)
			break;
	}
	if (!make_folders(out))
		return ldb_fail(err, LDB_IO, "choose a folder you may write to with --out", out,
				"can't be written: %s", strerror(errno));
	return LDB_OK;
}

ldb_status ldb_results_lock(const char *dir, ldb_error *err)
{
	const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* held until the end */
	if (fd >= 0 && (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
		return LDB_OK; /* not every file system has locks */
	if (fd >= 0)
		close(fd);
	return ldb_fail(err, LDB_IO, "wait for it, or choose another --out", dir,
			fd >= 0 ? "another run is writing here" : "can't be opened");
}

static ldb_status write_json(const ldb_run_json *run, ldb_error *err)
{
	char fresh[PATH_MAX + 8];
	snprintf(fresh, sizeof fresh, "%s.new", run->path);
	if (json_dump_file(run->root, fresh, JSON_INDENT(2)) == 0 && rename(fresh, run->path) == 0)
		return LDB_OK;
	ldb_status status = ldb_fail(err, LDB_IO, "free some space, or choose another --out",
				     run->path, "can't be written: %s", strerror(errno));
	unlink(fresh);
	return status;
}

static json_t *competitors_json(const ldb_plan *plan)
{
	json_t *list = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		const ldb_experiment *e = &plan->experiments[i];
		for (size_t j = 0; j < e->competitor_count; j++) {
			const ldb_competitor *c = &e->competitors[j];
			char hash[24];
			snprintf(hash, sizeof hash, "%016llx", (unsigned long long)c->code_hash);
			json_t *one = json_pack(
				"{s:s, s:s, s:s, s:i, s:s, s:s, s:b, s:b, s:b, s:s}", "experiment",
				e->experiment, "family", ldb_family_names[c->family], "name",
				c->name, "key_bits", (int)c->key_bits, "params", c->params_text,
				"origin", c->origin, "learned", (c->flags & LDB_LEARNED) != 0,
				"reference", (int)ldb_is_reference(e, j), "ordered",
				(c->flags & LDB_ORDERED) != 0, "code_xxh3", hash);
			json_array_append_new(list, one);
		}
	}
	return list;
}

static json_t *experiments_json(const ldb_plan *plan)
{
	json_t *list = json_array();
	for (size_t i = 0; i < plan->count; i++) {
		const ldb_experiment *e = &plan->experiments[i];
		json_array_append_new(list,
				      json_pack("{s:s, s:I, s:I, s:f, s:I, s:s, s:f, s:s}", "name",
						e->experiment, "reps", (json_int_t)e->reps, "ops",
						(json_int_t)e->ops, "pass_ms", e->pass_ms, "seed",
						(json_int_t)e->seed, "numa", e->numa, "timeout_s",
						e->timeout_s, "reference",
						e->competitors[ldb_reference(e)].name));
	}
	return list;
}

ldb_status ldb_run_json_start(const char *dir, const ldb_plan *plan, int argc, char **argv,
			      bool resume, ldb_run_json *out, ldb_error *err)
{
	*out = (ldb_run_json){.number = 1};
	snprintf(out->path, sizeof out->path, "%.4000s/run.json", dir);
	json_t *old = resume ? json_load_file(out->path, 0, NULL) : NULL;
	json_t *sessions = json_incref(json_object_get(old, "sessions"));
	json_t *datasets = json_incref(json_object_get(old, "datasets"));
	json_decref(old);
	if (!json_is_object(datasets)) {
		json_decref(datasets);
		datasets = json_object();
	}
	if (!json_is_array(sessions)) {
		json_decref(sessions);
		sessions = json_array();
	}
	out->number = json_array_size(sessions) + 1;
	char now[40];
	utc_now(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ");
	json_t *command = json_array();
	for (int i = 0; i < argc; i++)
		json_array_append_new(command, json_string(argv[i]));
	out->session = json_pack("{s:I, s:s, s:o, s:s, s:n, s:o}", "session",
				 (json_int_t)out->number, "started", now, "command", command,
				 "status", "running", "ended", "machine", ldb_machine_json());
	json_array_append(sessions, out->session);
	const ldb_experiment *e = &plan->experiments[0];
	json_t *config = plan->config_text ? json_string(plan->config_text) : json_null();
	out->root =
		json_pack("{s:i, s:s, s:s, s:I, s:O, s:o?, s:o, s:o, s:o, s:o}", "format", 1,
			  "date", now, "reference", e->competitors[ldb_reference(e)].name, "seed",
			  (json_int_t)e->seed, "machine", json_object_get(out->session, "machine"),
			  "config", config, "experiments", experiments_json(plan), "competitors",
			  competitors_json(plan), "datasets", datasets, "sessions", sessions);
	if (!out->root || !out->session)
		return ldb_fail_oom(err, out->path, sizeof *out);
	return write_json(out, err);
}

/* Paths within the project are told from its root on. */
static const char *within_root(const char *path)
{
	const size_t length = strlen(ldb_root());
	return strncmp(path, ldb_root(), length) == 0 && path[length] == '/' ? path + length + 1
									     : path;
}

void ldb_run_json_dataset(void *user, const ldb_dataset *data)
{
	ldb_run_json *run = user;
	char checksum[24], key[200];
	snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)data->checksum);
	snprintf(key, sizeof key, "%s/%zu", data->name, data->n);
	json_object_set_new(json_object_get(run->root, "datasets"), key,
			    json_pack("{s:s, s:I, s:I, s:s, s:s, s:I}", "name", data->name, "n",
				      (json_int_t)data->n, "sampled_from",
				      (json_int_t)data->source_n, "xxh3", checksum, "source",
				      within_root(data->source), "load_ns",
				      (json_int_t)data->load_ns));
	write_json(run, NULL);
}

ldb_status ldb_run_json_end(ldb_run_json *run, const char *how, ldb_error *err)
{
	char now[40];
	utc_now(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ");
	json_object_set_new(run->session, "status", json_string(how));
	json_object_set_new(run->session, "ended", json_string(now));
	ldb_status status = write_json(run, err);
	json_decref(run->session);
	json_decref(run->root);
	return status;
}

/* --- resume --------------------------------------------------------------------------------- */

typedef struct {
	uint64_t hash;
	size_t ok, bad, reps;
} tally;

typedef struct {
	tally *cells;
	size_t count;
	bool oom;
} tallies;

/* The cell's hash and how many rounds it was to have: "cell=0123456789abcdef/10". */
static uint64_t row_cell(const ldb_read_row *row, size_t *reps)
{
	char text[64];
	unsigned long long hash = 0;
	*reps = 0;
	if (!ldb_note_get(ldb_field(row, "note"), "cell", text, sizeof text) ||
	    sscanf(text, "%llx/%zu", &hash, reps) != 2)
		return 0;
	return hash;
}

static tally *find_tally(tallies *t, uint64_t hash)
{
	for (size_t i = t->count; i-- > 0;) /* rows of a cell stand close together, near the end */
		if (t->cells[i].hash == hash)
			return &t->cells[i];
	return NULL;
}

static void count_row(void *user, const ldb_read_row *row)
{
	tallies *t = user;
	size_t reps;
	uint64_t hash = row_cell(row, &reps);
	tally *one = find_tally(t, hash);
	if (!one) {
		tally *more = realloc(t->cells, (t->count + 1) * sizeof *more);
		if (!more) {
			t->oom = true;
			return;
		}
		t->cells = more;
		one = &more[t->count++];
		*one = (tally){.hash = hash, .reps = reps};
	}
	if (strcmp(ldb_field(row, "status"), "ok") == 0)
		one->ok++;
	else
		one->bad++;
}

static bool is_complete(const tally *one)
{
	return one && one->hash && one->ok >= one->reps && !one->bad;
}

static bool keep_row(void *user, const ldb_read_row *row)
{
	tallies *t = user;
	size_t reps;
	return is_complete(find_tally(t, row_cell(row, &reps)));
}

static int compare_hashes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

ldb_status ldb_results_complete(const char *dir, uint64_t **hashes, size_t *count, ldb_error *err)
{
	tallies t = {.count = 0};
	*count = 0;
	ldb_status status = ldb_samples_read(dir, count_row, &t, err);
	*hashes = calloc(t.count + 1, sizeof **hashes);
	if (status == LDB_OK && (t.oom || !*hashes))
		status = ldb_fail_oom(err, "--resume", t.count * sizeof *t.cells);
	for (size_t i = 0; i < t.count && status == LDB_OK; i++)
		if (is_complete(&t.cells[i]))
			(*hashes)[(*count)++] = t.cells[i].hash;
	if (status == LDB_OK) {
		qsort(*hashes, *count, sizeof **hashes, compare_hashes);
		status = ldb_samples_retain(dir, keep_row, &t, err);
	}
	free(t.cells);
	return status;
}
