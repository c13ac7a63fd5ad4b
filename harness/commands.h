/* The subcommands of ldbench: each takes its own argv and returns the exit code. */
#ifndef LDB_COMMANDS_H
#define LDB_COMMANDS_H

#include "ldb/status.h"

enum { LDB_EXIT_OK, LDB_EXIT_FAILED_CELLS, LDB_EXIT_USAGE };

int ldb_command_list(int argc, char **argv);
int ldb_command_run(int argc, char **argv);
int ldb_command_verify(int argc, char **argv);
int ldb_command_dataset(int argc, char **argv);
int ldb_command_inspect(int argc, char **argv);
int ldb_command_machine(int argc, char **argv);

/* Prints "ldbench: subject: value; remedy" on stderr and returns LDB_EXIT_USAGE. */
int ldb_complain(const ldb_error *err);

#endif
