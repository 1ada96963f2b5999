// Features of node-postgres with pg-cursor, pg-query-stream and pg-copy-streams: prints a transcript.
"use strict";
const fs = require("fs");
const { pipeline } = require("stream/promises");
const { Readable } = require("stream");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");
const copy = require("pg-copy-streams");

const ssl =
  (process.env.PGSSLMODE || "disable") === "disable"
    ? false
    : { ca: fs.readFileSync(process.env.PGSSLROOTCERT, "utf8") };
const say = (...facts) => console.log(facts.map((fact) => JSON.stringify(fact)).join(" "));
const section = (name) => console.log(`== ${name}`);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function connect() {
  const client = new Client({ ssl });
  await client.connect();
  return client;
}

async function failure(work) {
  try {
    await work();
    say("NO ERROR");
  } catch (error) {
    const { severity, code, detail, hint, position, where, schema, table, column, constraint, routine } = error;
    say({ message: error.message, severity, code, detail, hint, position, where, schema, table, column, constraint, routine });
  }
}

async function queries(client) {
  const show = (result) =>
    say([result].flat().map((r) => [r.command, r.rowCount, r.fields.map((f) => [f.name, f.dataTypeID, f.format]), r.rows]));
  show(await client.query("select 1 as a, null as b, 'é 🐘' as c, '\\x00ff'::bytea as d, array[1,null] as e"));
  show(await client.query("select 1 as a; select 2 as b; create temp table t (i int primary key); insert into t values (1)"));
  show(await client.query(""));
  show(await client.query("select $1::int + $2::int as sum, $3::jsonb as j, $4::timestamptz as t", [1, 2, { k: ["é"] }, "2026-11-23T00:00:00Z"]));
  show(await client.query({ text: "select 1 as one, 2 as one", rowMode: "array" }));
  for (let i = 0; i < 100; i++) {
    const result = await client.query({ name: "named", text: "select $1::int * 2 as twice", values: [i] });
    if (i === 99) show(result);
  }
  show(await client.query("select count(*)::int from pg_prepared_statements"));
  await client.query("deallocate all");
  const together = [];
  for (let i = 0; i < 50; i++) together.push(client.query("select $1::int as n", [i]));
  say((await Promise.all(together)).map((r) => r.rows[0].n).reduce((a, b) => a + b));
  const big = Buffer.alloc(8 << 20, "x");
  say((await client.query("select $1::bytea as b", [big])).rows[0].b.equals(big));
  show(await client.query({ text: "select int8 '7' as n, true as t", binary: true }));
}

async function errors(client) {
  for (const text of ["selec", "select * from nothing", "select 1/0", "insert into t values (1)", "select 1; select 1/0; select 2"]) {
    await failure(() => client.query(text));
  }
  await failure(() => client.query("select $1::int", ["x"]));
  await failure(() => client.query({ name: "bad", text: "select nofunction($1)", values: [1] }));
  await failure(() => client.query("insert into t values ($1)", [1]));
  await client.query("begin");
  await client.query("savepoint a");
  await failure(() => client.query("select $1::int / 0", [1]));
  await failure(() => client.query("select 1"));
  await client.query("rollback to a");
  say((await client.query("select 1 as fine")).rows);
  say((await client.query("commit")).command);
}

async function cursors(client) {
  const cursor = client.query(new Cursor("select generate_series(1, $1::int) as g", [10]));
  say(await cursor.read(3), await cursor.read(4), await cursor.read(10), await cursor.read(10));
  const early = client.query(new Cursor("select generate_series(1, 100000) as g"));
  say((await early.read(2)).length);
  await early.close();
  say((await client.query("select 'after' as word")).rows);
  const failing = client.query(new Cursor("select 10 / (3 - g) as q from generate_series(1, 5) g"));
  say(await failing.read(1));
  await failure(() => failing.read(5));
  let count = 0;
  for await (const row of client.query(new QueryStream("select generate_series(0, 9999) as g", [], { batchSize: 333 }))) count += row.g;
  say(count);
}

async function copies(client) {
  await client.query("create temp table c (i int primary key, t text)");
  const into = client.query(copy.from("copy c from stdin"));
  await pipeline(Readable.from(Array.from({ length: 2000 }, (_, i) => `${i}\té${i}\n`)), into);
  say(into.rowCount);
  const chunks = [];
  for await (const chunk of client.query(copy.to("copy (select * from c where i < 3) to stdout csv header"))) chunks.push(chunk);
  say(Buffer.concat(chunks).toString());
  let bytes = 0;
  for await (const chunk of client.query(copy.to("copy c to stdout (format binary)"))) bytes += chunk.length;
  say(bytes);
  await failure(() => pipeline(Readable.from(["5000\tx\n", "bad\ty\n", "5001\tz\n"]), client.query(copy.from("copy c from stdin"))));
  await failure(() => pipeline(Readable.from(["1\ttaken\n"]), client.query(copy.from("copy c from stdin"))));
  say((await client.query("select count(*)::int from c")).rows);
}

async function notifications(client) {
  const other = await connect();
  const got = [];
  other.on("notification", (note) => got.push([note.channel, note.payload, note.processId === client.processID]));
  other.on("notice", (note) => got.push([note.severity, note.code, note.message]));
  await other.query('listen chan; listen "é"');
  await client.query("select pg_notify('chan', 'one'), pg_notify('é', 'deux é')");
  const started = Date.now();
  while (got.length < 2 && Date.now() - started < 5000) await pause(10);
  say(got, Date.now() - started < 2000);
  await other.query("do $$ begin raise notice 'n é'; end $$");
  say(got.slice(2));
  await other.end();
}

async function cancels(client) {
  const other = await connect();
  const started = Date.now();
  const slow = failure(() => client.query("select pg_sleep(30)"));
  await pause(300);
  const canceller = new Client({ ssl });
  canceller.cancel(client, client._activeQuery || client.activeQuery);
  await slow;
  say(Date.now() - started < 5000);
  say((await client.query("select 'unharmed' as word")).rows);
  const killed = await connect();
  killed.on("error", () => {});
  await other.query("select pg_terminate_backend($1)", [killed.processID]);
  await pause(200);
  await failure(() => killed.query("select 1"));
  await other.end();
}

async function pools() {
  const pool = new Pool({ ssl, max: 5 });
  const all = await Promise.all(Array.from({ length: 200 }, (_, i) => pool.query("select $1::int as n", [i])));
  say(all.reduce((sum, r) => sum + r.rows[0].n, 0));
  await pool.end();
}

async function main() {
  const client = await connect();
  for (const part of [queries, errors, cursors, copies, notifications, cancels]) {
    section(part.name);
    await part(client);
  }
  await client.end();
  section("pools");
  await pools();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
