/*
 * Emits the read loops of an index from one inlined find.
 *
 *   static inline ldb_val rmi_find(const rmi *self, ldb_key q);   // lower bound (or get) of q
 *   LDB_INDEX_LOOPS(rmi, rmi_find)
 *
 * gives static functions rmi_lookup and rmi_chase to put into the table. The type must be called
 * like the prefix.
 */
#ifndef LDB_LOOPS_H
#define LDB_LOOPS_H

#include "ldb/index.h"

#define LDB_INDEX_LOOPS(prefix, find)                                                              \
	__attribute__((unused)) static void prefix##_lookup(const void *self, const ldb_key *q,    \
							    size_t n, ldb_val *out)                \
	{                                                                                          \
		const prefix *index = (const prefix *)self;                                        \
		for (size_t i = 0; i < n; i++)                                                     \
			out[i] = find(index, q[i]);                                                \
	}                                                                                          \
	__attribute__((unused)) static void prefix##_chase(const void *self, const ldb_key *q,     \
							   size_t n, ldb_val carry, ldb_val *out)  \
	{                                                                                          \
		const prefix *index = (const prefix *)self;                                        \
		for (size_t i = 0; i < n; i++)                                                     \
			out[i] = carry = find(index, (ldb_key)(q[i] + ldb_chain_step(carry)));     \
	}

#endif
