/* Throughput over time (timeline.h). */
#include "timeline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "memory.h"

void ldb_timeline_reset(ldb_timeline *t)
{
	memset(t, 0, sizeof *t);
	t->cpu_start_ns = ldb_cpu_ns();
}

/* Relaxed: what is read from it is read when all threads have ended. */
void ldb_timeline_add(ldb_timeline *t, uint64_t start_ns, uint64_t now_ns, uint64_t ops)
{
	uint64_t none = 0;
	__atomic_compare_exchange_n(&t->start_ns, &none, start_ns, 0, __ATOMIC_RELAXED,
				    __ATOMIC_RELAXED);
	const uint64_t start = __atomic_load_n(&t->start_ns, __ATOMIC_RELAXED);
	const uint64_t since = now_ns > start ? now_ns - start : 0;
	uint64_t slot = since / LDB_SLOT_NS;
	slot = slot < LDB_SLOTS ? slot : LDB_SLOTS - 1;
	__atomic_fetch_add(&t->ops[slot], ops, __ATOMIC_RELAXED);
	uint64_t last = __atomic_load_n(&t->last, __ATOMIC_RELAXED);
	if (slot <= last || !__atomic_compare_exchange_n(&t->last, &last, slot, 0, __ATOMIC_RELAXED,
							 __ATOMIC_RELAXED))
		return;
	/* This thread is the first in a new slot: those before are complete. */
	for (uint64_t done = last; done < slot; done++) {
		t->cpu_ns[done] = ldb_cpu_ns();
		t->held_bytes[done] = ldb_alloc_held();
	}
}

ldb_status ldb_timeline_write(const ldb_timeline *t, const char *dir, const ldb_row *row,
			      ldb_error *err)
{
	char path[4200];
	if (t->last < 2)
		return LDB_OK;
	snprintf(path, sizeof path, "%.4000s/timeline.csv", dir);
	FILE *f = fopen(path, "a");
	if (f && ftell(f) == 0)
		fputs("experiment,family,name,params,dataset,n,workload,mode,threads,pages,rep,"
		      "slot_ms,ops,cpu_ns,held_bytes\n",
		      f);
	/* The last slot is not whole, and is left out. */
	char experiment[256], name[256], params[600], dataset[1200];
	ldb_csv_field(row->experiment, experiment, sizeof experiment);
	ldb_csv_field(row->name, name, sizeof name);
	ldb_csv_field(row->params, params, sizeof params);
	ldb_csv_field(row->dataset, dataset, sizeof dataset);
	for (uint64_t i = 0; f && i < t->last; i++)
		fprintf(f, "%s,%s,%s,%s,%s,%zu,%s,%s,%zu,%s,%zu,%llu,%llu,%llu,%llu\n", experiment,
			row->family, name, params, dataset, row->n, row->workload, row->mode,
			row->threads, row->pages, row->rep,
			(unsigned long long)(i * LDB_SLOT_NS / 1000000),
			(unsigned long long)t->ops[i],
			(unsigned long long)(t->cpu_ns[i] -
					     (i ? t->cpu_ns[i - 1] : t->cpu_start_ns)),
			(unsigned long long)t->held_bytes[i]);
	const bool bad = !f || ferror(f);
	if (f && (fclose(f) != 0 || bad))
		f = NULL;
	return f ? LDB_OK
		 : ldb_fail(err, LDB_IO, "free some space, then go on with --resume", path,
			    "can't be written: %s", strerror(errno));
}
