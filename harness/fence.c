/* Memory that pushes everything else out of the caches (fence.h). */
#include "fence.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

enum { LINE = 64, UNKNOWN_CACHE = 64 << 20 };

const ldb_filler *ldb_filler_get(void)
{
	static ldb_filler filler;
	if (filler.bytes)
		return &filler;
	const size_t cache = ldb_last_cache_bytes();
	const size_t size = 2 * (cache ? cache : UNKNOWN_CACHE);
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	madvise(at, size, MADV_NOHUGEPAGE);
	memset(at, 1, size); /* untouched pages would all be the one zero page */
	filler = (ldb_filler){at, size};
	return &filler;
}

void ldb_fill_caches(const ldb_filler *filler)
{
	static volatile uint64_t sink;
	uint64_t sum = 0;
	for (int time = 0; time < 2; time++)
		for (size_t at = 0; at < filler->size; at += LINE)
			sum += filler->bytes[at];
	sink = sink + sum;
}
