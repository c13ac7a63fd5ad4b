// DuckDB's side of scripts/tpch and of the Q6 benchmark. Reads one job (JSON) from standard input
// and answers with lines of JSON; numbers beyond 2^53 stand in strings.
//
//   generate  TPC-H into a database file, by its dbgen extension, in steps that bound the memory
//   columns   SELECTs of unsigned integers into column files (u64 count, then the values)
//   answers   queries of one row each: the oracle
//   serve     stays, and times one query for each line it reads: the number of the query

import fs from 'node:fs';
import readline from 'node:readline';

import { connect, fetchRow, say as sayLine } from './duckdb.mjs';

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const job = JSON.parse((await lines.next()).value);

const say = (message) => sayLine(JSON.stringify(message));

function writeAll(file, bytes) {
	for (let done = 0; done < bytes.length; ) done += fs.writeSync(file, bytes, done);
}

// Rows that one dbgen step or one SELECT handles at once: as many as scale factor 1 has.
async function generate(connection, { scale, steps }) {
	for (let step = 0; step < steps; step++) {
		const part = steps > 1 ? `, children = ${steps}, step = ${step}` : '';
		await connection.run(`CALL dbgen(sf = ${scale}${part})`);
		say({ step: step + 1 });
	}
	await connection.run('CHECKPOINT');
}

// A result is held whole before its first chunk comes, so a large table is read by ranges of its
// first column, which ascends.
async function writeColumns(connection, { table, order, files, select, span }) {
	const handles = files.map((path) => fs.openSync(path, 'w'));
	const count = Buffer.alloc(8);
	for (const handle of handles) writeAll(handle, count);
	const [first, last] = (await fetchRow(connection, `SELECT min(${order}), max(${order}) FROM ${table}`))
		.map(Number);
	let rows = 0;
	for (let low = first; low <= last; low += span) {
		const result = await connection.run(
			`SELECT ${select} FROM ${table} WHERE ${order} >= ${low} AND ${order} < ${low + span}`);
		for (;;) {
			const chunk = await result.fetchChunk();
			if (chunk.rowCount === 0) break;
			rows += chunk.rowCount;
			handles.forEach((handle, i) => {
				const { items } = chunk.getColumnVector(i);
				writeAll(handle, new Uint8Array(items.buffer, items.byteOffset, items.byteLength));
			});
		}
	}
	count.writeBigUInt64LE(BigInt(rows));
	for (const handle of handles) {
		fs.writeSync(handle, count, 0, 8, 0);
		fs.closeSync(handle);
	}
	say({ table, rows });
}

const connection = await connect(job.packages, job.database, job.settings);
say({ version: (await fetchRow(connection, 'SELECT version()'))[0] });
if (job.generate) await generate(connection, job.generate);
for (const columns of job.columns ?? []) await writeColumns(connection, columns);
for (const sql of job.answers ?? []) say({ answer: await fetchRow(connection, sql) });
