// DuckDB as a join: a process started by duckdb_join.c.
//
//   node serve.mjs PACKAGES THREADS
//
// Says "ready". Answers a line "BUILD PROBE", two files with a key on each line, by the numbers of
// rows of the tables that it makes of them; and an empty line by count and checksum of their join
// (harness/include/ldb/join.h), which DuckDB plans every time.

import readline from 'node:readline';

import { connect, fetchRow, say } from '../../scripts/duckdb.mjs';

const [packages, threads] = process.argv.slice(2);
const connection = await connect(packages, ':memory:', { threads });

// Returns its rows. They are in the order of the file, so that rowid is the row's number.
async function load(table, file) {
	await connection.run(`CREATE TABLE ${table} AS SELECT key FROM read_csv('${file}',
		auto_detect = false, header = false, columns = {'key': 'UBIGINT'})`);
	return (await fetchRow(connection, `SELECT count(*) FROM ${table}`))[0];
}

// The product is of 64 bits, and an error where that is too little; the sum is of 128.
const join = `SELECT count(*), coalesce(sum((build.rowid + 1) * (2 * probe.rowid + 1)), 0)
	FROM build JOIN probe ON build.key = probe.key`;

say('ready');
for await (const line of readline.createInterface({ input: process.stdin })) {
	if (line) {
		const [build, probe] = line.split(' ');
		say(`${await load('build', build)} ${await load('probe', probe)}`);
	} else {
		const [count, sum] = await fetchRow(connection, join);
		say(`${count} ${BigInt.asUintN(64, BigInt(sum))}`);
	}
}
