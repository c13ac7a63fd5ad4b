/* `ldbench run` and `ldbench verify`: settings into a plan, and the plan conducted. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "conductor.h"
#include "machine.h"
#include "names.h"
#include "progress.h"
#include "report.h"
#include "results.h"

enum {
	MOST_SETTINGS = 64,
	FIRST_KEY = 0x100,
	KEY_OUT,
	KEY_RESUME,
	KEY_SHARD,
	FIRST_SETTING = 0x200
};

typedef struct {
	const char *config, *out;
	ldb_setting settings[MOST_SETTINGS];
	size_t setting_count;
	bool resume;
	size_t shard, shards;
	bool verify;
} arguments;

int ldb_complain(const ldb_error *err)
{
	fprintf(stderr, "ldbench: %s: %s; %s\n", err->subject, err->value, err->remedy);
	return LDB_EXIT_USAGE;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
	arguments *a = state->input;
	char tail;
	switch (key) {
	case KEY_OUT:
		a->out = value;
		return 0;
	case KEY_RESUME:
		a->resume = true;
		return 0;
	case KEY_SHARD:
		if (strchr(value, '-') ||
		    sscanf(value, "%zu/%zu%c", &a->shard, &a->shards, &tail) != 2 || a->shard < 1 ||
		    a->shard > a->shards)
			argp_error(state, "--shard: '%s'; write I/N with 1 <= I <= N", value);
		return 0;
	case ARGP_KEY_ARG:
		if (a->config)
			argp_error(state, "two configs: '%s' and '%s'; give one", a->config, value);
		a->config = value;
		return 0;
	default:
		break;
	}
	if (key < FIRST_SETTING || key >= FIRST_SETTING + MOST_SETTINGS)
		return ARGP_ERR_UNKNOWN;
	if (a->setting_count == MOST_SETTINGS)
		argp_error(state, "too many options");
	a->settings[a->setting_count++] =
		(ldb_setting){ldb_setting_docs[key - FIRST_SETTING].name, value};
	return 0;
}

static int parse(int argc, char **argv, arguments *a)
{
	struct argp_option options[40] = {{0}};
	int count = 0;
	for (; ldb_setting_docs[count].name; count++)
		options[count] = (struct argp_option){
			.name = ldb_setting_docs[count].name,
			.key = FIRST_SETTING + count,
			.arg = ldb_setting_docs[count].arg,
			.flags = a->verify && ldb_setting_docs[count].timing ? OPTION_HIDDEN : 0,
			.doc = ldb_setting_docs[count].help};
	if (!a->verify) {
		options[count++] = (struct argp_option){
			.name = "out",
			.key = KEY_OUT,
			.arg = "DIR",
			.doc = "results folder (default results/<date>-<machine>)",
			.group = 1};
		options[count++] = (struct argp_option){
			.name = "resume",
			.key = KEY_RESUME,
			.doc = "go on in --out: run only cells without a complete set of ok rows",
			.group = 1};
		options[count++] =
			(struct argp_option){.name = "shard",
					     .key = KEY_SHARD,
					     .arg = "I/N",
					     .doc = "run the I-th of N parts of the plan",
					     .group = 1};
	}
	const struct argp run = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[CONFIG.ini]",
		.doc = "Measures competitors side by side, in rounds, every answer checked.\v"
		       "CONFIG.ini is a path or a name from configs/; options override it. "
		       "Example:\n"
		       "  ldbench run --index btree,rmi:root=robust,./mine.so --dataset coast "
		       "--size 1K..1M,max --mode independent,chained --out /tmp/x"};
	const struct argp verify = {
		.options = options,
		.parser = parse_option,
		.args_doc = "[CONFIG.ini]",
		.doc = "Asks every key, its neighbours and the edges in every mode, "
		       "and compares each answer "
		       "with the oracle. Times nothing.\v"};
	char name[32];
	snprintf(name, sizeof name, "ldbench %s", a->verify ? "verify" : "run");
	argv[0] = name;
	argp_err_exit_status = LDB_EXIT_USAGE;
	return argp_parse(a->verify ? &verify : &run, argc, argv, 0, NULL, a);
}

/* Placements that can't be: said before anything runs. */
static ldb_status check_numa(const ldb_plan *plan, ldb_error *err)
{
	const int nodes = ldb_numa_nodes();
	bool said = false;
	for (size_t i = 0; i < plan->count; i++) {
		const char *where = plan->experiments[i].numa;
		if (strcmp(where, "local") == 0)
			continue;
		if (strcmp(where, "interleave") != 0 && atoi(where) >= nodes)
			return ldb_fail(err, LDB_INVALID,
					"`ldbench machine` shows how many there are", "--numa",
					"there is no node %s", where);
		if (nodes == 1 && !said)
			ldb_say("note: --numa %s: this machine has one NUMA node, placement "
				"changes "
				"nothing",
				where);
		said = true;
	}
	return LDB_OK;
}

/* Names once what the CSV will leave empty. */
static void say_what_is_missing(const json_t *machine)
{
	const char *name;
	json_t *event;
	char list[256] = "";
	json_object_foreach(json_object_get(machine, "counters"), name, event)
	{
		if (json_is_null(event))
			snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s",
				 *list ? ", " : "", name);
	}
	if (*list)
		ldb_say("note: this machine does not count %s; those columns stay empty", list);
}

static int verify_plan(const ldb_plan *plan, const ldb_conduct_options *options)
{
	ldb_error err;
	ldb_outcome outcome;
	ldb_status status = ldb_conduct(plan, options, &outcome, &err);
	if (status != LDB_OK)
		return ldb_complain(&err);
	if (outcome.interrupted)
		return 130;
	return outcome.cells_bad ? LDB_EXIT_FAILED_CELLS : LDB_EXIT_OK;
}

static int finish(const char *dir, const ldb_outcome *o, ldb_error *err)
{
	if (ldb_report(stdout, dir, err) != LDB_OK)
		return ldb_complain(err);
	printf("\n%zu cell%s ok, %zu failed", o->cells_ok, o->cells_ok == 1 ? "" : "s",
	       o->cells_bad);
	if (o->cells_unsupported)
		printf(", %zu unsupported", o->cells_unsupported);
	if (o->cells_skipped)
		printf(", %zu complete from before", o->cells_skipped);
	printf("\n%s/samples.csv\n%s/run.json\n", dir, dir);
	if (o->interrupted) {
		fprintf(stderr,
			"interrupted; what was measured is in %s, go on with the same command "
			"and --resume --out %s\n",
			dir, dir);
		return 130;
	}
	return o->cells_bad ? LDB_EXIT_FAILED_CELLS : LDB_EXIT_OK;
}

static int run_plan(const arguments *a, const ldb_plan *plan, int argc, char **argv)
{
	ldb_error err;
	ldb_outcome outcome;
	char dir[PATH_MAX];
	uint64_t *complete = NULL;
	size_t complete_count = 0;
	ldb_run_json run;
	if (a->resume && (!a->out || !ldb_results_exist(a->out))) {
		ldb_fail(&err, LDB_INVALID, "name the folder to go on in with --out", "--resume",
			 "no samples in %s", a->out ? a->out : "a folder that was not named");
		return ldb_complain(&err);
	}
	if (!a->resume && a->out && ldb_results_exist(a->out)) {
		ldb_fail(&err, LDB_INVALID, "go on with --resume, or choose another folder", a->out,
			 "holds samples already, which are not overwritten");
		return ldb_complain(&err);
	}
	ldb_status status = ldb_results_folder(a->out, dir, &err);
	if (status == LDB_OK)
		status = ldb_results_lock(dir, &err);
	if (status == LDB_OK && a->resume)
		status = ldb_results_complete(dir, &complete, &complete_count, &err);
	if (status == LDB_OK)
		status = ldb_run_json_start(dir, plan, argc, argv, a->resume, &run, &err);
	if (status == LDB_OK) {
		say_what_is_missing(json_object_get(run.session, "machine"));
		const ldb_conduct_options options = {.dir = dir,
						     .shard = a->shard,
						     .shards = a->shards,
						     .session = run.number,
						     .complete = complete,
						     .complete_count = complete_count,
						     .on_dataset = ldb_run_json_dataset,
						     .user = &run};
		status = ldb_conduct(plan, &options, &outcome, &err);
		const char *how = status != LDB_OK      ? "error"
				  : outcome.interrupted ? "interrupted"
				  : outcome.cells_bad   ? "some cells failed"
							: "ok";
		ldb_error ignored;
		ldb_run_json_end(&run, how, status == LDB_OK ? &err : &ignored);
	}
	free(complete);
	return status == LDB_OK ? finish(dir, &outcome, &err) : ldb_complain(&err);
}

/* The modes of what is to be verified. */
static const char *every_mode(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--sort", 6) == 0)
			return "keys,pairs";
		else if (strncmp(argv[i], "--join", 6) == 0)
			return "count,pairs";
		else if (strncmp(argv[i], "--q6", 4) == 0)
			return "independent";
	return "independent,chained,batched";
}

static int conduct_command(int argc, char **argv, bool verify)
{
	arguments a = {.shard = 1, .shards = 1, .verify = verify};
	char **copy = calloc((size_t)argc + 1, sizeof *copy); /* argp moves argv about */
	ldb_error err;
	ldb_plan plan;
	if (!copy)
		return LDB_EXIT_USAGE;
	memcpy(copy, argv, (size_t)argc * sizeof *copy);
	/* Verification asks in every mode unless told otherwise. */
	if (verify)
		a.settings[a.setting_count++] = (ldb_setting){"mode", every_mode(argc, argv)};
	int code = LDB_EXIT_USAGE;
	if (parse(argc, argv, &a) == 0) {
		ldb_status status =
			ldb_plan_make(a.config, a.settings, a.setting_count, &plan, &err);
		const bool planned = status == LDB_OK;
		if (planned)
			status = check_numa(&plan, &err);
		const ldb_conduct_options checks = {
			.shard = 1, .shards = 1, .exhaustive_only = true};
		if (status != LDB_OK)
			code = ldb_complain(&err);
		else
			code = verify ? verify_plan(&plan, &checks)
				      : run_plan(&a, &plan, argc, copy);
		if (planned)
			ldb_plan_free(&plan);
	}
	free(copy);
	return code;
}

int ldb_command_run(int argc, char **argv)
{
	return conduct_command(argc, argv, false);
}

int ldb_command_verify(int argc, char **argv)
{
	return conduct_command(argc, argv, true);
}
