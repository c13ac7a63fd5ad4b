/* ldbench: the driver's entry, which hands over to a subcommand. */
#include <stdio.h>
#include <string.h>

#include "build_info.h"
#include "commands.h"
#include "ldb/index.h"
#include "names.h"

static const struct {
	const char *name, *help;
	int (*run)(int, char **);
} commands[] = {
	{"list", "indexes, sorts, joins, q6, datasets, workloads, counters, configs",
	 ldb_command_list},
	{"run", "measure and write samples.csv and run.json", ldb_command_run},
	{"verify", "check every answer against the oracle, no timing", ldb_command_verify},
	{"dataset", "write a dataset as a SOSD file", ldb_command_dataset},
	{"inspect", "facts about a dataset: range, duplicates, gaps, hardness",
	 ldb_command_inspect},
	{"machine", "what run.json will say of this machine", ldb_command_machine},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *f)
{
	fprintf(f, "Usage: ldbench COMMAND [OPTION...]\n"
		   "Measures learned indexes against the best others on sorted keys.\n\n");
	for (int i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-9s %s\n", commands[i].name, commands[i].help);
	fprintf(f,
		"\n`ldbench COMMAND --help` has the options. A first run:\n"
		"  ldbench run --index btree,rmi --dataset uniform_sparse --size 1K..1M --out out\n"
		"Exit code: 0 all ok, 1 some cells failed, 2 usage or set-up error.\n");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return LDB_EXIT_USAGE;
	}
	const char *names[COMMANDS];
	for (int i = 0; i < COMMANDS; i++) {
		names[i] = commands[i].name;
		if (strcmp(argv[1], names[i]) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return LDB_EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("ldbench, plug-in interface %d, revision %s\n", LDB_INDEX_ABI,
		       *LDB_GIT_REVISION ? LDB_GIT_REVISION : "unknown");
		return LDB_EXIT_OK;
	}
	const char *near = ldb_nearest(argv[1], names, COMMANDS);
	fprintf(stderr, "ldbench: unknown command '%s'", argv[1]);
	if (near)
		fprintf(stderr, "; did you mean %s?", near);
	fprintf(stderr, " `ldbench --help` lists them\n");
	return LDB_EXIT_USAGE;
}
