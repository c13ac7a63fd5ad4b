/*
 * Reading and writing of SOSD files (sosd.h).
 *
 * A whole file is read by a few threads in chunks of 1 MiB. Each chunk is read and its order
 * checked by whichever thread takes it; then the threads take turns in file order to join it to the
 * keys before it and to hash it, while it is still in cache. So the checksum is that of one stream,
 * and the first bad key of the file is the one that is reported, however many threads there are.
 */
#include "sosd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xxhash.h>

#include "dataset.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "SOSD files are little-endian");

#define CHUNK_KEYS ((size_t)1 << 17)
#define MAX_THREADS 4
/* A sampled key every 64 KiB or less often: reading ahead would fetch what nobody asked for. */
#define SPARSE_BYTES ((size_t)64 << 10)

static const char again[] = "fetch or write the file again: it must hold a u64 count and then "
			    "that many sorted keys";

static size_t key_bytes(const sosd_file *file)
{
	return (size_t)file->key_bits / 8;
}

static size_t offset_of(const sosd_file *file, size_t i)
{
	return SOSD_HEADER_BYTES + i * key_bytes(file);
}

static bool ends_with(const char *text, size_t length, const char *suffix)
{
	size_t s = strlen(suffix);
	return length >= s && memcmp(text + length - s, suffix, s) == 0;
}

int sosd_key_bits_of_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');
	const size_t lengths[] = {strlen(name), dot ? (size_t)(dot - name) : 0};
	for (int i = 0; i < 2; i++) {
		if (ends_with(name, lengths[i], "_uint64"))
			return 64;
		if (ends_with(name, lengths[i], "_uint32"))
			return 32;
	}
	return 0;
}

/* Reads `bytes` at `offset`; fewer only at the file's end. -1: errno says why not. */
static ssize_t read_at(int fd, void *buffer, size_t bytes, size_t offset)
{
	size_t done = 0;
	while (done < bytes) {
		ssize_t got =
			pread(fd, (char *)buffer + done, bytes - done, (off_t)(offset + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static ldb_status fail_errno(ldb_error *err, const char *path, const char *what)
{
	const int code = errno;
	const char *remedy = code == ENOENT         ? "check the path"
			     : code == EACCES       ? "give yourself the right to read and write it"
			     : code == ENOSPC       ? "free space on that disk"
			     : code == ENAMETOOLONG ? "use a shorter path"
						    : "check the disk and try again";
	return ldb_fail(err, LDB_IO, remedy, path, "%s: %s", what, strerror(code));
}

/* --- opening ---------------------------------------------------------------------------------- */

static ldb_status choose_key_bits(sosd_file *file, int told_key_bits, ldb_error *err)
{
	if (told_key_bits != 0 && told_key_bits != 32 && told_key_bits != 64)
		return ldb_fail(err, LDB_INVALID, "use --key-bits 32 or --key-bits 64", file->path,
				"keys of %d bits asked for", told_key_bits);
	file->key_bits = sosd_key_bits_of_name(file->path);
	if (file->key_bits == 0)
		file->key_bits = told_key_bits;
	if (file->key_bits == 0)
		return ldb_fail(
			err, LDB_INVALID,
			"use --key-bits 32 or --key-bits 64, or let its name end in _uint32 "
			"or _uint64",
			file->path, "width of the keys unknown: its name doesn't say");
	return LDB_OK;
}

/* Compares the count in the header with what the size leaves room for. */
static ldb_status check_count(sosd_file *file, uint64_t count, ldb_error *err)
{
	const uint64_t body_bytes = (uint64_t)file->stat.st_size - SOSD_HEADER_BYTES;
	const uint64_t held = body_bytes / key_bytes(file);
	if (count == 0)
		return ldb_fail(err, LDB_INVALID, again, file->path,
				"offset 0: count is 0, expected at least 1 key");
	/* The other width fits exactly: then the name or --key-bits is wrong, not the file. */
	const uint64_t other_bytes = file->key_bits == 64 ? 4 : 8;
	const char *remedy = again;
	if (count <= UINT64_MAX / 8 && count * other_bytes == body_bytes)
		remedy = file->key_bits == 64
				 ? "its size is that of 32-bit keys: name it _uint32, or without "
				   "suffix use --key-bits 32"
				 : "its size is that of 64-bit keys: name it _uint64, or without "
				   "suffix use --key-bits 64";
	if (count > held)
		return ldb_fail(err, LDB_INVALID, remedy, file->path,
				"offset 0: count is %" PRIu64 ", but the file holds only %" PRIu64
				" keys of %d bits (truncated)",
				count, held, file->key_bits);
	const uint64_t end = SOSD_HEADER_BYTES + count * key_bytes(file);
	if ((uint64_t)file->stat.st_size != end)
		return ldb_fail(err, LDB_INVALID, remedy, file->path,
				"offset %" PRIu64 ": %" PRIu64 " bytes follow the last of %" PRIu64
				" keys of %d bits, expected the end of the file",
				end, (uint64_t)file->stat.st_size - end, count, file->key_bits);
	file->n = (size_t)count;
	return LDB_OK;
}

static ldb_status check_header(sosd_file *file, int told_key_bits, ldb_error *err)
{
	if (fstat(file->fd, &file->stat) != 0)
		return fail_errno(err, file->path, "reading its size");
	if (!S_ISREG(file->stat.st_mode))
		return ldb_fail(err, LDB_INVALID, "give the path of a SOSD file", file->path,
				"%s, expected a regular file",
				S_ISDIR(file->stat.st_mode) ? "a folder" : "a device or pipe");
	ldb_status status = choose_key_bits(file, told_key_bits, err);
	if (status != LDB_OK)
		return status;
	if (file->stat.st_size < (off_t)SOSD_HEADER_BYTES)
		return ldb_fail(err, LDB_INVALID, again, file->path,
				"offset 0: %lld bytes, expected a count of 8 bytes",
				(long long)file->stat.st_size);
	uint64_t count;
	ssize_t got = read_at(file->fd, &count, sizeof count, 0);
	if (got < 0)
		return fail_errno(err, file->path, "reading at offset 0");
	if (got != sizeof count)
		return ldb_fail(err, LDB_IO, again, file->path,
				"offset 0: the file shrank while it was read");
	return check_count(file, count, err);
}

ldb_status sosd_open(const char *path, int key_bits, sosd_file *out, ldb_error *err)
{
	memset(out, 0, sizeof *out);
	out->fd = -1;
	if (strlen(path) >= sizeof out->path) {
		errno = ENAMETOOLONG;
		return fail_errno(err, path, "opening");
	}
	strcpy(out->path, path);
	/* O_NONBLOCK: a pipe must be refused, not waited for. */
	out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (out->fd < 0)
		return fail_errno(err, path, "opening");
	ldb_status status = check_header(out, key_bits, err);
	if (status != LDB_OK)
		sosd_close(out);
	return status;
}

void sosd_close(sosd_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

/* --- order ------------------------------------------------------------------------------------ */

size_t sosd_first_unsorted(const ldb_key *keys, size_t n)
{
	enum { BLOCK = 4096 };
	for (size_t begin = 1; begin < n; begin += BLOCK) {
		const size_t end = n - begin < BLOCK ? n : begin + BLOCK;
		unsigned bad = 0; /* without a branch in it, so that the compiler makes it SIMD */
		for (size_t i = begin; i < end; i++)
			bad |= keys[i] < keys[i - 1];
		for (size_t i = begin; bad && i < end; i++)
			if (keys[i] < keys[i - 1])
				return i;
	}
	return n;
}

static ldb_status fail_unsorted(const sosd_file *file, size_t i, ldb_key key, size_t i_before,
				ldb_key before, ldb_error *err)
{
	const char *remedy = sosd_key_bits_of_name(file->path)
				     ? "sort the keys in ascending order; the width by the file's "
				       "name must be that of its keys"
				     : "sort the keys in ascending order; --key-bits must be the "
				       "width of the file's keys";
	return ldb_fail(err, LDB_INVALID, remedy, file->path,
			"unsorted: key %zu at offset %zu is %" PRIu64 ", expected at least %" PRIu64
			" as key %zu is",
			i, offset_of(file, i), key, before, i_before);
}

/* --- reading whole ---------------------------------------------------------------------------- */

typedef struct {
	const sosd_file *file;
	ldb_key *keys; /* NULL: check only */
	size_t chunks;
	pthread_mutex_t lock;
	pthread_cond_t turn_changed;
	size_t next_chunk; /* the next to be taken */
	size_t turn;       /* the next to be joined */
	ldb_status status; /* of the first chunk that failed */
	ldb_error err;
	/* Of the chunks joined so far; touched only by the thread whose turn it is. */
	ldb_key last;
	XXH3_state_t *hash;
} reader;

typedef struct {
	reader *shared;
	ldb_key *keys; /* a chunk, when the keys are not kept */
	uint32_t *raw; /* a chunk, when they must be widened */
	pthread_t thread;
} read_worker;

static ldb_status read_chunk(const sosd_file *file, size_t first, size_t count, ldb_key *keys,
			     uint32_t *raw, ldb_error *err)
{
	const size_t bytes = count * key_bytes(file), offset = offset_of(file, first);
	ssize_t got = read_at(file->fd, raw ? (void *)raw : (void *)keys, bytes, offset);
	if (got < 0) {
		char what[64];
		snprintf(what, sizeof what, "reading at offset %zu", offset);
		return fail_errno(err, file->path, what);
	}
	if ((size_t)got != bytes)
		return ldb_fail(err, LDB_IO, again, file->path,
				"offset %zu: the file shrank while it was read",
				offset + (size_t)got);
	for (size_t i = 0; raw && i < count; i++)
		keys[i] = raw[i];
	return LDB_OK;
}

static size_t take_chunk(reader *r)
{
	pthread_mutex_lock(&r->lock);
	size_t chunk = r->status == LDB_OK ? r->next_chunk++ : r->chunks;
	pthread_mutex_unlock(&r->lock);
	return chunk;
}

/* False when a chunk before this one failed: then this one is of no interest any more. */
static bool wait_for_turn(reader *r, size_t chunk)
{
	pthread_mutex_lock(&r->lock);
	while (r->status == LDB_OK && r->turn != chunk)
		pthread_cond_wait(&r->turn_changed, &r->lock);
	bool ok = r->status == LDB_OK;
	pthread_mutex_unlock(&r->lock);
	return ok;
}

static void end_turn(reader *r, ldb_status status, const ldb_error *err)
{
	pthread_mutex_lock(&r->lock);
	r->turn++;
	if (status != LDB_OK) {
		r->status = status;
		r->err = *err;
	}
	pthread_cond_broadcast(&r->turn_changed);
	pthread_mutex_unlock(&r->lock);
}

/* Joins a chunk that was read to all before it; `unsorted` is its own first unsorted key. */
static ldb_status join_chunk(reader *r, size_t first, const ldb_key *keys, size_t count,
			     size_t unsorted, ldb_error *err)
{
	if (first && keys[0] < r->last)
		return fail_unsorted(r->file, first, keys[0], first - 1, r->last, err);
	if (unsorted < count)
		return fail_unsorted(r->file, first + unsorted, keys[unsorted],
				     first + unsorted - 1, keys[unsorted - 1], err);
	r->last = keys[count - 1];
	XXH3_64bits_update(r->hash, keys, count * sizeof *keys);
	return LDB_OK;
}

static void *read_chunks(void *argument)
{
	read_worker *self = argument;
	reader *r = self->shared;
	ldb_error err;
	for (size_t chunk; (chunk = take_chunk(r)) < r->chunks;) {
		const size_t first = chunk * CHUNK_KEYS, left = r->file->n - first;
		const size_t count = left < CHUNK_KEYS ? left : CHUNK_KEYS;
		ldb_key *keys = r->keys ? r->keys + first : self->keys;
		ldb_status status = read_chunk(r->file, first, count, keys, self->raw, &err);
		size_t unsorted = status == LDB_OK ? sosd_first_unsorted(keys, count) : 0;
		if (!wait_for_turn(r, chunk))
			break;
		if (status == LDB_OK)
			status = join_chunk(r, first, keys, count, unsorted, &err);
		end_turn(r, status, &err);
	}
	return NULL;
}

static size_t thread_count(size_t chunks)
{
	long online = sysconf(_SC_NPROCESSORS_ONLN);
	size_t threads = online < 1 ? 1 : online > MAX_THREADS ? MAX_THREADS : (size_t)online;
	return threads < chunks ? threads : chunks;
}

/* Runs the workers, the first of them here. Where no thread can be had, fewer do the same work. */
static void run_workers(read_worker *workers, size_t count)
{
	size_t started = 1;
	for (; started < count; started++)
		if (pthread_create(&workers[started].thread, NULL, read_chunks, &workers[started]))
			break;
	read_chunks(&workers[0]);
	for (size_t i = 1; i < started; i++)
		pthread_join(workers[i].thread, NULL);
}

/* Gives each worker the buffers it needs; false when there is no memory for them. */
static bool prepare_workers(read_worker *workers, size_t count, reader *r)
{
	bool ok = true;
	for (size_t i = 0; i < count; i++) {
		workers[i] = (read_worker){.shared = r};
		if (!r->keys)
			ok &= (workers[i].keys = malloc(CHUNK_KEYS * sizeof(ldb_key))) != NULL;
		if (r->file->key_bits == 32)
			ok &= (workers[i].raw = malloc(CHUNK_KEYS * sizeof(uint32_t))) != NULL;
	}
	return ok;
}

ldb_status sosd_read(const sosd_file *file, ldb_key *keys, uint64_t *checksum, ldb_error *err)
{
	reader r = {.file = file,
		    .keys = keys,
		    .chunks = (file->n - 1) / CHUNK_KEYS + 1,
		    .lock = PTHREAD_MUTEX_INITIALIZER,
		    .turn_changed = PTHREAD_COND_INITIALIZER,
		    .hash = XXH3_createState()};
	read_worker workers[MAX_THREADS];
	const size_t count = thread_count(r.chunks);
	if (prepare_workers(workers, count, &r) && r.hash) {
		posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
		XXH3_64bits_reset(r.hash);
		run_workers(workers, count);
		if (r.status != LDB_OK && err)
			*err = r.err;
		*checksum = XXH3_64bits_digest(r.hash);
	} else {
		r.status = ldb_fail_oom(err, "buffers for reading a file",
					count * CHUNK_KEYS * (sizeof *keys + sizeof(uint32_t)));
	}
	for (size_t i = 0; i < count; i++) {
		free(workers[i].keys);
		free(workers[i].raw);
	}
	XXH3_freeState(r.hash);
	return r.status;
}

/* --- sampling --------------------------------------------------------------------------------- */

static size_t sampled_index(size_t i, size_t file_n, size_t n)
{
	return (size_t)((unsigned __int128)i * file_n / n);
}

/* floor(i * N / n) for i = 0, 1, ..., by adding N / n and carrying the rest: no division per key.
 */
#define SAMPLE(type)                                                                               \
	do {                                                                                       \
		const type *from = (const type *)(const void *)body;                               \
		for (size_t i = 0, at = 0, carry = 0; i < n; i++) {                                \
			keys[i] = from[at];                                                        \
			at += step;                                                                \
			carry += rest;                                                             \
			if (carry >= n) {                                                          \
				carry -= n;                                                        \
				at++;                                                              \
			}                                                                          \
		}                                                                                  \
	} while (0)

ldb_status sosd_sample(const sosd_file *file, ldb_key *keys, size_t n, ldb_error *err)
{
	const size_t bytes = (size_t)file->stat.st_size, step = file->n / n, rest = file->n % n;
	char *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, file->fd, 0);
	if (map == MAP_FAILED)
		return fail_errno(err, file->path, "mapping it");
	if (step * key_bytes(file) >= SPARSE_BYTES)
		madvise(map, bytes, MADV_RANDOM);
	const char *body = map + SOSD_HEADER_BYTES;
	if (file->key_bits == 64)
		SAMPLE(uint64_t);
	else
		SAMPLE(uint32_t);
	munmap(map, bytes);
	const size_t i = sosd_first_unsorted(keys, n);
	if (i == n)
		return LDB_OK;
	return fail_unsorted(file, sampled_index(i, file->n, n), keys[i],
			     sampled_index(i - 1, file->n, n), keys[i - 1], err);
}

/* --- writing ---------------------------------------------------------------------------------- */

static bool write_all(int fd, const void *data, size_t bytes)
{
	const char *p = data;
	while (bytes) {
		ssize_t put = write(fd, p, bytes);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return false;
		p += put;
		bytes -= (size_t)put;
	}
	return true;
}

static bool write_keys(int fd, const ldb_key *keys, size_t n, int key_bits)
{
	const uint64_t count = n;
	if (!write_all(fd, &count, sizeof count))
		return false;
	if (key_bits == 64)
		return write_all(fd, keys, n * sizeof *keys);
	uint32_t narrow[4096];
	for (size_t done = 0; done < n;) {
		size_t part = n - done < 4096 ? n - done : 4096;
		for (size_t i = 0; i < part; i++)
			narrow[i] = (uint32_t)keys[done + i];
		if (!write_all(fd, narrow, part * sizeof *narrow))
			return false;
		done += part;
	}
	return true;
}

/* The keys must make a file that sosd_open and sosd_read take back. */
static ldb_status check_writable(const char *path, const ldb_key *keys, size_t n, int key_bits,
				 ldb_error *err)
{
	if (n == 0)
		return ldb_fail(err, LDB_INVALID, "use a size of at least 1", path,
				"no keys to write");
	if (key_bits != 32 && key_bits != 64)
		return ldb_fail(err, LDB_INVALID, "use --key-bits 32 or --key-bits 64", path,
				"keys of %d bits asked for", key_bits);
	const int named = sosd_key_bits_of_name(path);
	if (named && named != key_bits)
		return ldb_fail(
			err, LDB_INVALID,
			key_bits == 64 ? "use --key-bits 32, or let the name end in _uint64"
				       : "use --key-bits 64, or let the name end in _uint32",
			path, "the name says keys of %d bits, asked for are %d", named, key_bits);
	const size_t i = sosd_first_unsorted(keys, n);
	if (i < n)
		return ldb_fail(err, LDB_INVALID, "sort the keys in ascending order", path,
				"key %zu is %" PRIu64 ", less than %" PRIu64 " before it", i,
				keys[i], keys[i - 1]);
	size_t large = n;
	while (key_bits == 32 && large && keys[large - 1] > UINT32_MAX)
		large--;
	if (large < n)
		return ldb_fail(err, LDB_INVALID, "use --key-bits 64", path,
				"key %zu is %" PRIu64 ", which does not fit in 32 bits", large,
				keys[large]);
	struct stat existing;
	if (stat(path, &existing) == 0 && !S_ISREG(existing.st_mode))
		return ldb_fail(err, LDB_INVALID, "give the path of a file", path,
				"there, and not a regular file");
	return LDB_OK;
}

/* Makes the rename itself last; a file system that can't sync a folder does no harm here. */
static void sync_folder(const char *path)
{
	char folder[PATH_MAX];
	snprintf(folder, sizeof folder, "%s", path);
	char *slash = strrchr(folder, '/');
	if (slash == folder)
		slash++;
	if (slash)
		*slash = '\0';
	int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

/* Opens a file beside `path` that nobody else has; its name goes to temporary. */
static int open_temporary(const char *path, char temporary[PATH_MAX])
{
	for (int i = 0; i < 100; i++) {
		int length =
			snprintf(temporary, PATH_MAX, "%s.%ld-%d.part", path, (long)getpid(), i);
		if (length >= PATH_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd >= 0 || errno != EEXIST)
			return fd;
	}
	return -1;
}

ldb_status ldb_dataset_write(const char *path, const ldb_key *keys, size_t n, int key_bits,
			     ldb_error *err)
{
	ldb_status status = check_writable(path, keys, n, key_bits, err);
	if (status != LDB_OK)
		return status;
	char temporary[PATH_MAX];
	int fd = open_temporary(path, temporary);
	if (fd < 0)
		return fail_errno(err, path, "creating a file beside it");
	bool written = write_keys(fd, keys, n, key_bits) && fsync(fd) == 0;
	int write_errno = errno;
	if (close(fd) != 0 && written) {
		written = false;
		write_errno = errno;
	}
	if (written && rename(temporary, path) == 0) {
		sync_folder(path);
		return LDB_OK;
	}
	if (!written)
		errno = write_errno;
	status = fail_errno(err, path, written ? "renaming the finished file" : "writing");
	unlink(temporary);
	return status;
}
