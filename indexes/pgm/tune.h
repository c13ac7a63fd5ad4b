/* tune.c */
#ifndef PGM_TUNE_H
#define PGM_TUNE_H

#include "ldb/index.h"

/* 0: no memory. */
uint64_t pgm_choose_epsilon(const ldb_key *keys, size_t n);

#endif
