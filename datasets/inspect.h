/* Piecewise linear approximation of sorted keys (inspect.c); used by ldb_dataset_inspect. */
#ifndef DATASETS_INSPECT_H
#define DATASETS_INSPECT_H

#include <stddef.h>
#include <stdint.h>

#include "ldb/index.h"

/*
 * The fewest lines such that each point (distinct key, rank of its first occurrence) is within
 * epsilon ranks of the line of its segment. starts, unless NULL, has room for n numbers and gets
 * the rank at which each segment begins. epsilon < 2^60. Returns 0 for n == 0, and when there was
 * no memory for the hulls.
 */
size_t inspect_segments(const ldb_key *keys, size_t n, uint64_t epsilon, size_t *starts);

#endif
