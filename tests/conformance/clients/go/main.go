// Features of pgx: prints a transcript.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

var ctx = context.Background()

func say(facts ...any) {
	for i, fact := range facts {
		if i > 0 {
			fmt.Print(" ")
		}
		fmt.Printf("%+v", fact)
	}
	fmt.Println()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func connect(change func(*pgx.ConnConfig)) *pgx.Conn {
	config, err := pgx.ParseConfig("")
	must(err)
	if change != nil {
		change(config)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	must(err)
	return conn
}

func failure(err error) {
	var server *pgconn.PgError
	switch {
	case err == nil:
		say("NO ERROR")
	case errors.As(err, &server):
		say(server.Severity, server.Code, server.Message, server.Detail, server.Hint, server.Position, server.Where, server.TableName, server.ConstraintName, server.Routine)
	default:
		say(strings.Split(err.Error(), "\n")[0])
	}
}

func exec(conn *pgx.Conn, text string, arguments ...any) {
	tag, err := conn.Exec(ctx, text, arguments...)
	if err != nil {
		failure(err)
		return
	}
	say(tag)
}

func values(conn *pgx.Conn, text string, arguments ...any) {
	rows, err := conn.Query(ctx, text, arguments...)
	if err != nil {
		failure(err)
		return
	}
	defer rows.Close()
	for _, field := range rows.FieldDescriptions() {
		fmt.Print(field.Name, ":", field.DataTypeOID, ":", field.Format, " ")
	}
	for rows.Next() {
		found, err := rows.Values()
		must(err)
		fmt.Printf("| %v ", found)
	}
	fmt.Println(rows.CommandTag())
	if rows.Err() != nil {
		failure(rows.Err())
	}
}

func queries(conn *pgx.Conn) {
	exec(conn, "drop table if exists g")
	exec(conn, "create table g (id int primary key, t text, b bytea)")
	for i := range 30 {
		_, err := conn.Exec(ctx, "insert into g values ($1, $2, $3)", i, fmt.Sprintf("é%d", i), []byte{0, 255, byte(i)})
		must(err)
	}
	values(conn, "select * from g where id < $1 order by id", 3)
	values(conn, "select $1::int[], $2::jsonb, $3::timestamptz, $4::numeric, $5::uuid, $6::text", []int{1, 2}, map[string]any{"k": "é"}, time.Unix(0, 0).UTC(), "1.50", "550e8400-e29b-41d4-a716-446655440000", nil)
	exec(conn, "")
	exec(conn, "selec")
	exec(conn, "select * from nothing where a = $1", 1)
	exec(conn, "insert into g values ($1)", 1)
	exec(conn, "select 1/$1::int", 0)
	values(conn, "select 10/(3-i) as q from generate_series(1, $1::int) i", 5)
}

func batches(conn *pgx.Conn) {
	batch := &pgx.Batch{}
	for i := range 100 {
		batch.Queue("insert into g (id) values ($1)", 1000+i)
	}
	batch.Queue("select count(*) from g")
	results := conn.SendBatch(ctx, batch)
	for range 100 {
		_, err := results.Exec()
		must(err)
	}
	var count int
	must(results.QueryRow().Scan(&count))
	must(results.Close())
	say("count", count)
	failing := &pgx.Batch{}
	failing.Queue("insert into g (id) values (2000)")
	failing.Queue("insert into g (id) values ($1)", 1)
	failing.Queue("insert into g (id) values (2001)")
	results = conn.SendBatch(ctx, failing)
	_, err := results.Exec()
	say(err)
	_, err = results.Exec()
	failure(err)
	_, err = results.Exec()
	failure(err)
	failure(results.Close())
	values(conn, "select count(*) from g where id >= 2000")
	line := conn.PgConn().StartPipeline(ctx)
	line.SendPrepare("piped", "select $1::int * 2", nil)
	line.SendQueryPrepared("piped", [][]byte{[]byte("21")}, nil, nil)
	line.SendQueryParams("select 1/0", nil, nil, nil, nil)
	line.SendQueryParams("select 'skipped'", nil, nil, nil, nil)
	must(line.Sync())
	line.SendFlushRequest()
	line.SendQueryPrepared("piped", [][]byte{[]byte("4")}, nil, nil)
	line.SendDeallocate("piped")
	must(line.Sync())
	for {
		result, err := line.GetResults()
		if err != nil {
			failure(err)
			continue
		}
		if result == nil {
			break
		}
		if reader, ok := result.(*pgconn.ResultReader); ok {
			read := reader.Read()
			say("rows", fmt.Sprintf("%q", read.Rows), read.Err != nil)
			continue
		}
		say(fmt.Sprintf("%T", result))
	}
	must(line.Close())
	multi, err := conn.PgConn().Exec(ctx, "select 1; select 'é', null; select 1/0; select 4").ReadAll()
	for _, result := range multi {
		say(result.CommandTag, fmt.Sprintf("%q", result.Rows))
	}
	failure(err)
}

func transactions(conn *pgx.Conn) {
	for _, level := range []pgx.TxIsoLevel{pgx.Serializable, pgx.RepeatableRead, pgx.ReadCommitted} {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: level, AccessMode: pgx.ReadOnly})
		must(err)
		var name string
		must(tx.QueryRow(ctx, "show transaction_isolation").Scan(&name))
		_, err = tx.Exec(ctx, "delete from g")
		say(name)
		failure(err)
		failure(tx.Commit(ctx))
	}
	tx, err := conn.Begin(ctx)
	must(err)
	inner, err := tx.Begin(ctx)
	must(err)
	_, err = inner.Exec(ctx, "insert into g (id) values (1)")
	failure(err)
	must(inner.Rollback(ctx))
	_, err = tx.Exec(ctx, "insert into g (id) values (5000)")
	must(err)
	must(tx.Commit(ctx))
	say(string(conn.PgConn().TxStatus()))
	values(conn, "select count(*) from g where id = 5000")
}

func copies(conn *pgx.Conn) {
	exec(conn, "create temp table c (i int primary key, t text)")
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{i, "é"}
	}
	count, err := conn.CopyFrom(ctx, pgx.Identifier{"c"}, []string{"i", "t"}, pgx.CopyFromRows(rows))
	say(count, err)
	_, err = conn.CopyFrom(ctx, pgx.Identifier{"c"}, []string{"i", "t"}, pgx.CopyFromRows(rows[:3]))
	failure(err)
	var out bytes.Buffer
	tag, err := conn.PgConn().CopyTo(ctx, &out, "copy c to stdout (format binary)")
	say(tag, err, fmt.Sprintf("%x", sha256.Sum256(out.Bytes())))
	tag, err = conn.PgConn().CopyFrom(ctx, strings.NewReader("9000\tx\nbad\ty\n"), "copy c from stdin")
	say(tag)
	failure(err)
	values(conn, "select count(*) from c")
}

func notifications(conn *pgx.Conn) {
	other := connect(func(config *pgx.ConnConfig) {
		config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) { say("notice", notice.Code, notice.Message) }
	})
	defer other.Close(ctx)
	exec(other, "listen chan")
	exec(conn, "select pg_notify('chan', $1)", "payload é")
	waiting, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	note, err := other.WaitForNotification(waiting)
	must(err)
	say(note.Channel, note.Payload, note.PID == conn.PgConn().PID())
	exec(other, "do $$ begin raise notice 'n é'; end $$")
}

func cancels(conn *pgx.Conn) {
	go func() {
		time.Sleep(300 * time.Millisecond)
		must(conn.PgConn().CancelRequest(ctx))
	}()
	started := time.Now()
	exec(conn, "select pg_sleep(30)")
	say("in time", time.Since(started) < 5*time.Second)
	values(conn, "select 'unharmed' as word")
	other := connect(nil)
	short, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	_, err := other.Exec(short, "select pg_sleep(30)")
	say(errors.Is(err, context.DeadlineExceeded), other.IsClosed())
	victim := connect(nil)
	exec(conn, "select pg_terminate_backend($1)", victim.PgConn().PID())
	time.Sleep(200 * time.Millisecond)
	exec(victim, "select 1")
}

func large(conn *pgx.Conn) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var back []byte
	must(conn.QueryRow(ctx, "select $1::bytea", big).Scan(&back))
	say(len(back), bytes.Equal(back, big))
	tx, err := conn.Begin(ctx)
	must(err)
	objects := tx.LargeObjects()
	oid, err := objects.Create(ctx, 616161)
	must(err)
	object, err := objects.Open(ctx, oid, pgx.LargeObjectModeWrite)
	must(err)
	written, err := object.Write(big[:100000])
	say(written, err)
	must(objects.Unlink(ctx, oid))
	must(tx.Commit(ctx))
}

func main() {
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		fmt.Println("== queries", mode)
		conn := connect(func(config *pgx.ConnConfig) { config.DefaultQueryExecMode = mode })
		queries(conn)
		batches(conn)
		must(conn.Close(ctx))
	}
	conn := connect(nil)
	for _, name := range []string{"server_version", "TimeZone", "client_encoding"} {
		say(name, conn.PgConn().ParameterStatus(name))
	}
	fmt.Println("== transactions")
	transactions(conn)
	fmt.Println("== copies")
	copies(conn)
	fmt.Println("== notifications")
	notifications(conn)
	fmt.Println("== cancels")
	cancels(conn)
	fmt.Println("== large")
	large(conn)
	must(conn.Close(ctx))
	fmt.Println("== end")
}
