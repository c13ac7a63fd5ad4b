// What all that uses DuckDB from node shares.

import { createRequire } from 'node:module';
import fs from 'node:fs';

// The package lies in the data folder, not beside the scripts.
export async function connect(packages, database, settings) {
	const { DuckDBInstance } = createRequire(packages + '/')('@duckdb/node-api');
	return (await DuckDBInstance.create(database, settings)).connect();
}

// The first row of the result, as strings.
export async function fetchRow(connection, sql) {
	const chunk = await (await connection.run(sql)).fetchChunk();
	const row = [];
	for (let i = 0; i < chunk.columnCount; i++) row.push(String(chunk.getColumnVector(i).getItem(0)));
	return row;
}

export const say = (line) => fs.writeSync(1, line + '\n');
