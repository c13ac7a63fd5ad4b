/*
 * SOSD files: u64 count, then that many sorted little-endian keys of 32 or 64 bits.
 *
 * The format of Kipf et al., "SOSD: A Benchmark for Learned Indexes", 2019. The width of a key is
 * not in the file; it stands in the file's name (_uint32, _uint64) or is told. Keys of 32 bits are
 * widened to ldb_key. Every file is taken for hostile: a wrong count, a missing tail or unsorted
 * keys are errors that name the file, the offset and what was expected.
 */
#ifndef DATASETS_SOSD_H
#define DATASETS_SOSD_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "ldb/index.h"

#define SOSD_HEADER_BYTES 8u

typedef struct {
	int fd;
	int key_bits;     /* 32 or 64 */
	size_t n;         /* keys in the file, at least 1 */
	struct stat stat; /* as of sosd_open */
	char path[PATH_MAX];
} sosd_file;

/* Width by the name's suffix, a further extension (.bin) left aside: 32, 64, or 0: none. */
int sosd_key_bits_of_name(const char *path);

/*
 * Opens the file and checks its header against its size. key_bits (0, 32 or 64) counts only where
 * the name has no suffix. On LDB_OK the caller closes *out with sosd_close.
 */
ldb_status sosd_open(const char *path, int key_bits, sosd_file *out, ldb_error *err);
void sosd_close(sosd_file *file);

/*
 * Reads all keys into keys[0..n) and gives their XXH3-64 (of the keys as 64-bit numbers, whatever
 * the file's width). keys == NULL: reads, checks and hashes only. Two to four threads.
 */
ldb_status sosd_read(const sosd_file *file, ldb_key *keys, uint64_t *checksum, ldb_error *err);

/* keys[i] = key floor(i * N / n) of the file's N, for 0 < n <= N. */
ldb_status sosd_sample(const sosd_file *file, ldb_key *keys, size_t n, ldb_error *err);

/* The first i with keys[i] < keys[i - 1], or n when there is none. */
size_t sosd_first_unsorted(const ldb_key *keys, size_t n);

#endif
