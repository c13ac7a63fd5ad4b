/* Facts of machine and build (machine.h). */
#include "machine.h"

#include <ctype.h>
#include <math.h>
#include <numa.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "build_info.h"
#include "clock.h"
#include "counters.h"
#include "registry.h"

/* First line of a file without its newline, as JSON text; null when it can't be read. */
static json_t *file_line(const char *path)
{
	char line[512];
	FILE *f = fopen(path, "r");
	if (!f)
		return json_null();
	bool got = fgets(line, sizeof line, f) != NULL;
	fclose(f);
	if (!got)
		return json_null();
	line[strcspn(line, "\n")] = '\0';
	return json_string(line);
}

/* The value of "field : value" in a file like /proc/cpuinfo. */
static bool proc_value(const char *path, const char *field, char *buf, size_t size)
{
	char line[4096];
	bool found = false;
	FILE *f = fopen(path, "r");
	while (f && !found && fgets(line, sizeof line, f)) {
		char *colon = strchr(line, ':');
		if (!colon || strncmp(line, field, strlen(field)) != 0)
			continue;
		colon += 1 + strspn(colon + 1, " \t");
		colon[strcspn(colon, "\n")] = '\0';
		snprintf(buf, size, "%s", colon);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

static void cpu_model(char *buf, size_t size)
{
	if (!proc_value("/proc/cpuinfo", "model name", buf, size) &&
	    !proc_value("/proc/cpuinfo", "Model", buf, size)) {
		struct utsname u;
		uname(&u);
		snprintf(buf, size, "%s", u.machine);
	}
}

long ldb_cpu_count(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		return CPU_COUNT(&set);
	return sysconf(_SC_NPROCESSORS_ONLN);
}

const char *ldb_machine_slug(char buf[64])
{
	char model[128];
	cpu_model(model, sizeof model);
	size_t at = 0;
	for (const char *c = model; *c && at < 40; c++) {
		if (*c == '(')
			c += strcspn(c, ")"); /* (R), (TM) */
		else if (isalnum((unsigned char)*c))
			buf[at++] = (char)tolower((unsigned char)*c);
		else if (at && buf[at - 1] != '-')
			buf[at++] = '-';
		if (!*c)
			break;
	}
	while (at && buf[at - 1] == '-')
		at--;
	snprintf(buf + at, 64 - at, "%s%ldc", at ? "-" : "", sysconf(_SC_NPROCESSORS_ONLN));
	return buf;
}

int ldb_numa_nodes(void)
{
	if (numa_available() < 0)
		return 1;
	int nodes = numa_num_configured_nodes();
	return nodes > 0 ? nodes : 1;
}

void ldb_numa_place(const char *where)
{
	if (numa_available() < 0)
		return;
	if (strcmp(where, "local") == 0) {
		numa_set_localalloc();
	} else if (strcmp(where, "interleave") == 0) {
		numa_set_interleave_mask(numa_all_nodes_ptr);
	} else {
		struct bitmask *mask = numa_allocate_nodemask();
		numa_bitmask_setbit(mask, (unsigned)atoi(where));
		numa_set_membind(mask);
		numa_free_nodemask(mask);
	}
}

/* The number in a file, or the one after `field` in it; SIZE_MAX when there is none ("max"). */
static size_t read_number(const char *path, const char *field)
{
	char line[256];
	size_t value = SIZE_MAX, length = strlen(field);
	FILE *f = fopen(path, "r");
	while (f && value == SIZE_MAX && fgets(line, sizeof line, f))
		if (strncmp(line, field, length) == 0 && sscanf(line + length, " %zu", &value) != 1)
			value = SIZE_MAX;
	if (f)
		fclose(f);
	return value;
}

/* What the cgroup in this folder leaves free. */
static size_t cgroup_free(const char *folder)
{
	char path[4200];
	snprintf(path, sizeof path, "%s/memory.max", folder);
	const size_t limit = read_number(path, "");
	snprintf(path, sizeof path, "%s/memory.current", folder);
	size_t used = read_number(path, "");
	snprintf(path, sizeof path, "%s/memory.stat", folder);
	const size_t cache = read_number(path, "inactive_file ");
	if (limit == SIZE_MAX || used == SIZE_MAX)
		return SIZE_MAX;
	used -= cache < used ? cache : 0;
	return used < limit ? limit - used : 0;
}

size_t ldb_free_memory(void)
{
	const size_t kb = read_number("/proc/meminfo", "MemAvailable:");
	size_t least = kb == SIZE_MAX ? SIZE_MAX : kb * 1024;
	char line[4000], folder[4100];
	FILE *f = fopen("/proc/self/cgroup", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (strncmp(line, "0::/", 4) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		/* This cgroup and all above it. */
		snprintf(folder, sizeof folder, "/sys/fs/cgroup%s", line + 3);
		for (char *end = folder + strlen(folder); end > folder + strlen("/sys/fs/cgroup");
		     end = strrchr(folder, '/')) {
			*end = '\0';
			const size_t here = cgroup_free(folder);
			least = here < least ? here : least;
		}
	}
	if (f)
		fclose(f);
	return least;
}

static json_t *caches(void)
{
	json_t *out = json_object();
	for (int i = 0; i < 8; i++) {
		char path[128], size[32] = "", type[32] = "";
		int level = 0;
		const char *const fields[] = {"size", "type", "level"};
		for (int f = 0; f < 3; f++) {
			snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s",
				 i, fields[f]);
			json_t *line = file_line(path);
			const char *text = json_string_value(line);
			if (text && f == 0)
				snprintf(size, sizeof size, "%s", text);
			if (text && f == 1)
				snprintf(type, sizeof type, "%s", text);
			if (text && f == 2)
				level = atoi(text);
			json_decref(line);
		}
		if (!level || !*size)
			continue;
		char *unit;
		json_int_t bytes = strtoll(size, &unit, 10);
		bytes *= *unit == 'K' ? 1024 : *unit == 'M' ? 1024 * 1024 : 1;
		char name[16];
		snprintf(name, sizeof name, "l%d%s", level,
			 level > 1                   ? ""
			 : strcmp(type, "Data") == 0 ? "d"
						     : "i");
		json_object_set_new(out, name, json_integer(bytes));
	}
	return out;
}

size_t ldb_last_cache_bytes(void)
{
	json_t *all = caches();
	json_int_t bytes = 0;
	for (int level = 1; level <= 4; level++) {
		char name[16];
		snprintf(name, sizeof name, level > 1 ? "l%d" : "l%dd", level);
		const json_t *here = json_object_get(all, name);
		bytes = here ? json_integer_value(here) : bytes;
	}
	json_decref(all);
	return bytes > 0 ? (size_t)bytes : 0;
}

/* Cost of reading the clock and the smallest step it shows. */
static json_t *clock_json(void)
{
	uint64_t best = UINT64_MAX, step = UINT64_MAX;
	for (int i = 0; i < 1000; i++) {
		uint64_t a = ldb_now_ns(), b = a;
		for (int j = 0; j < 16; j++)
			b = ldb_now_ns();
		best = (b - a) / 16 < best ? (b - a) / 16 : best;
		uint64_t c = ldb_now_ns();
		while ((a = ldb_now_ns()) == c)
			;
		step = a - c < step ? a - c : step;
	}
	return json_pack("{s:s, s:I, s:I, s:o}", "name", "CLOCK_MONOTONIC", "read_ns",
			 (json_int_t)best, "step_ns", (json_int_t)step, "kernel_source",
			 file_line("/sys/devices/system/clocksource/clocksource0/"
				   "current_clocksource"));
}

static json_t *counters_json(void)
{
	json_t *out = json_object();
	int groups = ldb_counters_setup();
	for (int i = 0; i < LDB_COUNTERS; i++) {
		const char *event = ldb_counter_event(i);
		json_object_set_new(out, ldb_counter_names[i],
				    event ? json_string(event) : json_null());
	}
	json_object_set_new(out, "groups", json_integer(groups));
	return out;
}

static json_t *memory_json(void)
{
	char kb[64];
	json_t *total = json_null();
	if (proc_value("/proc/meminfo", "MemTotal", kb, sizeof kb))
		total = json_integer(strtoll(kb, NULL, 10) * 1024);
	return json_pack("{s:o, s:o, s:o, s:o}", "total_bytes", total, "thp_enabled",
			 file_line("/sys/kernel/mm/transparent_hugepage/enabled"), "thp_defrag",
			 file_line("/sys/kernel/mm/transparent_hugepage/defrag"),
			 "reserved_huge_pages", file_line("/proc/sys/vm/nr_hugepages"));
}

json_t *ldb_machine_json(void)
{
	struct utsname u;
	uname(&u);
	char model[128], slug[64];
	cpu_model(model, sizeof model);
	const char *level = ldb_isa_level();
	json_t *cpu = json_pack(
		"{s:s, s:s, s:I, s:I, s:s, s:o, s:o}", "model", model, "architecture", u.machine,
		"cores", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "cores_allowed",
		(json_int_t)ldb_cpu_count(), "plugin_level", *level ? level : "baseline",
		"governor", file_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
		"boost", file_line("/sys/devices/system/cpu/cpufreq/boost"));
	json_t *build =
		json_pack("{s:s, s:s, s:s, s:s}", "compiler", LDB_COMPILER, "flags", LDB_FLAGS,
			  "git_revision", LDB_GIT_REVISION, "git_dirty", LDB_GIT_DIRTY);
	char flags[4096] = "";
	bool known = proc_value("/proc/cpuinfo", "flags", flags, sizeof flags);
	json_t *virtual = known ? json_boolean(strstr(flags, " hypervisor") != NULL) : json_null();
	return json_pack("{s:s, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:o, s:o}", "name",
			 ldb_machine_slug(slug), "cpu", cpu, "caches", caches(), "memory",
			 memory_json(), "numa_nodes", (json_int_t)ldb_numa_nodes(), "kernel",
			 u.release, "virtual_machine", virtual, "clock", clock_json(), "counters",
			 counters_json(), "build", build);
}
