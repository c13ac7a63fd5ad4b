// DuckDB as a path of Q6: a process that answers queries, started by duckdb.c.
//
//   node serve.mjs PACKAGES THREADS DATABASE ORDER
//
// Copies Q6's four columns of DATABASE's lineitem into memory, in the order of rows or sorted by
// ORDER, says "ready", and then answers each line of numbers "from to low high below ..." by a line
// with a revenue for each five. The query is TPC-H's, written out: DuckDB plans it every time.

import readline from 'node:readline';

import { connect, say } from '../../scripts/duckdb.mjs';

const [packages, threads, database, order] = process.argv.slice(2);
const day = (days) => new Date(days * 86400000).toISOString().slice(0, 10);
const decimal = (hundredths) => (hundredths / 100).toFixed(2);

const connection = await connect(packages, ':memory:', { threads });
await connection.run(`ATTACH '${database.replaceAll("'", "''")}' AS disk (READ_ONLY)`);
await connection.run(`CREATE TABLE lineitem AS
	SELECT l_shipdate, l_discount, l_quantity, l_extendedprice FROM disk.lineitem
	${order === 'rows' ? '' : `ORDER BY ${order}`}`);
await connection.run('DETACH disk');
say('ready');

for await (const line of readline.createInterface({ input: process.stdin })) {
	const numbers = line.split(' ').map(Number);
	const revenues = [];
	for (let i = 0; i + 4 < numbers.length; i += 5) {
		const [from, to, low, high, below] = numbers.slice(i, i + 5);
		const result = await connection.run(`SELECT sum(l_extendedprice * l_discount) AS revenue
			FROM lineitem
			WHERE l_shipdate >= DATE '${day(from)}' AND l_shipdate < DATE '${day(to)}'
			AND l_discount BETWEEN ${decimal(low)} AND ${decimal(high)}
			AND l_quantity < ${decimal(below)}`);
		// A decimal with four places, or NULL where no row matches.
		const value = (await result.fetchChunk()).getColumnVector(0).getItem(0);
		revenues.push(value === null ? '0' : String(value.value));
	}
	say(revenues.join(' '));
}
