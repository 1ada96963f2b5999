// Features of pgjdbc: prints a transcript. Compiled by javac, run with the pinned jar only.

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGProperty;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public final class Conformance {
    private interface Work {
        void run() throws Exception;
    }

    private static Connection connect(String... more) throws SQLException {
        Map<String, String> env = System.getenv();
        Properties properties = new Properties();
        properties.setProperty("user", env.get("PGUSER"));
        properties.setProperty("password", env.get("PGPASSWORD"));
        properties.setProperty("sslmode", env.getOrDefault("PGSSLMODE", "disable"));
        if (env.containsKey("PGSSLROOTCERT")) properties.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
        for (int i = 0; i < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
        String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/" + env.get("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    private static void say(Object... facts) {
        System.out.println(Arrays.deepToString(facts));
    }

    private static void failure(Work work) {
        try {
            work.run();
            say("NO ERROR");
        } catch (BatchUpdateException error) {
            say("batch", error.getSQLState(), error.getUpdateCounts(), first(error.getMessage()));
        } catch (PSQLException error) {
            ServerErrorMessage m = error.getServerErrorMessage();
            if (m == null) say(error.getSQLState(), first(error.getMessage()));
            else say(m.getSeverity(), m.getSQLState(), m.getMessage(), m.getDetail(), m.getHint(), m.getPosition(), m.getWhere(), m.getTable(), m.getConstraint(), m.getRoutine());
        } catch (Exception error) {
            say(error.getClass().getSimpleName(), first(error.getMessage()));
        }
    }

    private static String first(String message) {
        return message == null ? null : message.split("\n")[0];
    }

    private static void show(ResultSet rows) throws SQLException {
        ResultSetMetaData meta = rows.getMetaData();
        StringBuilder line = new StringBuilder();
        for (int i = 1; i <= meta.getColumnCount(); i++) line.append(meta.getColumnName(i)).append(':').append(meta.getColumnTypeName(i)).append(' ');
        while (rows.next()) {
            line.append('|');
            for (int i = 1; i <= meta.getColumnCount(); i++) line.append(meta.getColumnType(i) == Types.BINARY ? Arrays.toString(rows.getBytes(i)) : rows.getString(i)).append(' ');
        }
        say(line.toString());
    }

    private static void startup(Connection c) throws Exception {
        DatabaseMetaData meta = c.getMetaData();
        say(meta.getDatabaseProductVersion(), c.getCatalog(), c.getSchema(), c.getTransactionIsolation());
        try (ResultSet types = meta.getTypeInfo()) {
            int count = 0;
            while (types.next()) count++;
            say("types known:", count > 10);
        }
        PGConnection pg = c.unwrap(PGConnection.class);
        for (String name : new String[] {"TimeZone", "DateStyle", "client_encoding", "server_version", "application_name"}) say(name, pg.getParameterStatus(name));
    }

    private static void queries(Connection c, String label) throws Exception {
        try (Statement s = c.createStatement()) {
            s.execute("drop table if exists j; create table j (id int primary key, t text, b bytea, d timestamptz)");
            boolean more = s.execute("select 1 as a; select 'é' as b; update j set t = '' where false; select null::int");
            while (more || s.getUpdateCount() != -1) {
                if (more) show(s.getResultSet()); else say("updated", s.getUpdateCount());
                more = s.getMoreResults();
            }
            s.execute("");
        }
        try (PreparedStatement p = c.prepareStatement("select ? + 1 as n, ?::text as t, ?::numeric as d, ?::timestamptz as ts, ?::bytea as b, ?::int[] as a, ?::bool as f")) {
            for (int i = 0; i < 20; i++) {
                p.setInt(1, i);
                p.setString(2, i % 2 == 0 ? null : "é" + i);
                p.setBigDecimal(3, new java.math.BigDecimal("1234567890.0123456789"));
                p.setTimestamp(4, new Timestamp(0));
                p.setBytes(5, new byte[] {0, (byte) 0xff, 7});
                p.setArray(6, c.createArrayOf("int4", new Object[] {1, null, 3}));
                p.setBoolean(7, true);
                try (ResultSet rows = p.executeQuery()) {
                    if (i == 0 || i == 19) show(rows);
                }
            }
        }
        try (PreparedStatement p = c.prepareStatement("insert into j (id, t, b) values (?, ?, ?)", Statement.RETURN_GENERATED_KEYS)) {
            for (int i = 0; i < 1000; i++) {
                p.setInt(1, i);
                p.setString(2, "row " + i);
                p.setBytes(3, new byte[i % 10]);
                p.addBatch();
            }
            say(label, Arrays.stream(p.executeBatch()).sum());
            try (ResultSet keys = p.getGeneratedKeys()) {
                int count = 0;
                while (keys.next()) count++;
                say("keys", count);
            }
            for (int i = 0; i < 5; i++) {
                p.setInt(1, i == 3 ? 1 : 5000 + i);
                p.setString(2, "x");
                p.setBytes(3, null);
                p.addBatch();
            }
            failure(p::executeBatch);
        }
        try (Statement s = c.createStatement(); ResultSet rows = s.executeQuery("select count(*), max(id) from j")) {
            show(rows);
        }
        c.setAutoCommit(false);
        try (PreparedStatement p = c.prepareStatement("select id, t from j order by id")) {
            p.setFetchSize(64);
            int count = 0;
            try (ResultSet rows = p.executeQuery()) {
                while (rows.next()) count++;
            }
            say("fetched", count);
            p.setMaxRows(5);
            try (ResultSet rows = p.executeQuery()) {
                show(rows);
            }
        }
        c.commit();
        c.setAutoCommit(true);
    }

    private static void errors(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            for (String text : new String[] {"selec", "select * from nothing", "insert into j (id) values (1)", "select 1/0", "select 1; select 1/0; select 2"}) {
                failure(() -> s.execute(text));
            }
            c.setAutoCommit(false);
            s.execute("insert into j (id) values (-1)");
            Savepoint point = c.setSavepoint("a b");
            failure(() -> s.execute("insert into j (id) values (-1)"));
            failure(() -> s.execute("select 1"));
            c.rollback(point);
            s.execute("insert into j (id) values (-2)");
            c.commit();
            c.setAutoCommit(true);
            show(s.executeQuery("select id from j where id < 0 order by id"));
            c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            c.setReadOnly(true);
            c.setAutoCommit(false);
            failure(() -> s.execute("delete from j"));
            c.rollback();
            c.setReadOnly(false);
            c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            c.setAutoCommit(true);
        }
        try (PreparedStatement p = c.prepareStatement("select * from j where id = ?")) {
            for (int i = 0; i < 10; i++) {
                p.setInt(1, i);
                p.executeQuery().close();
            }
            try (Statement s = c.createStatement()) {
                s.execute("alter table j add extra int");
                p.setInt(1, 1);
                failure(() -> p.executeQuery());
                s.execute("deallocate all");
                failure(() -> show(p.executeQuery()));
            }
        }
    }

    private static void copies(Connection c) throws Exception {
        CopyManager copy = c.unwrap(PGConnection.class).getCopyAPI();
        try (Statement s = c.createStatement()) {
            s.execute("create table jc (i int primary key, t text)");
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < 3000; i++) text.append(i).append("\té").append(i).append('\n');
            say(copy.copyIn("copy jc from stdin", new StringReader(text.toString())));
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            say(copy.copyOut("copy (select * from jc where i < 3) to stdout csv header", out), out.toString(StandardCharsets.UTF_8));
            out.reset();
            say(copy.copyOut("copy jc to stdout binary", out), out.size());
            s.execute("truncate jc");
            say(copy.copyIn("copy jc from stdin binary", new ByteArrayInputStream(out.toByteArray())));
            failure(() -> copy.copyIn("copy jc from stdin", new StringReader("9000\tx\nbad\ty\n")));
            CopyIn in = copy.copyIn("copy jc from stdin");
            byte[] row = "8000\tx\n".getBytes(StandardCharsets.UTF_8);
            in.writeToCopy(row, 0, row.length);
            in.cancelCopy();
            show(s.executeQuery("select count(*) from jc"));
        }
    }

    private static void notifications(Connection c) throws Exception {
        try (Connection other = connect(); Statement mine = c.createStatement(); Statement s = other.createStatement()) {
            s.execute("listen chan");
            mine.execute("notify chan, 'payload é'");
            PGNotification[] notes = other.unwrap(PGConnection.class).getNotifications(5000);
            say(notes.length, notes[0].getName(), notes[0].getParameter(), notes[0].getPID() == c.unwrap(PGConnection.class).getBackendPID());
            s.execute("do $$ begin raise notice 'n é'; raise warning 'w'; end $$");
            for (SQLWarning warning = s.getWarnings(); warning != null; warning = warning.getNextWarning()) say(warning.getSQLState(), warning.getMessage());
        }
    }

    private static void cancels(Connection c) throws Exception {
        try (Statement s = c.createStatement()) {
            Thread stopper = new Thread(() -> {
                try {
                    Thread.sleep(400);
                    s.cancel();
                } catch (Exception error) {
                    say("cancel failed", error.getMessage());
                }
            });
            long started = System.nanoTime();
            stopper.start();
            failure(() -> s.execute("select pg_sleep(30)"));
            stopper.join();
            say("in time", System.nanoTime() - started < 5_000_000_000L);
            show(s.executeQuery("select 'unharmed' as word"));
            s.setQueryTimeout(1);
            failure(() -> s.execute("select pg_sleep(30)"));
            s.setQueryTimeout(0);
            show(s.executeQuery("select 'unharmed' as word"));
        }
    }

    private static void largeObjects(Connection c) throws Exception {
        c.setAutoCommit(false);
        LargeObjectManager manager = c.unwrap(PGConnection.class).getLargeObjectAPI();
        long oid = manager.createLO();
        LargeObject object = manager.open(oid, LargeObjectManager.READWRITE);
        byte[] data = new byte[300_000];
        Arrays.fill(data, (byte) 7);
        object.write(data);
        object.seek(0);
        say(Arrays.equals(object.read(400_000), data), object.tell64());
        object.close();
        manager.delete(oid);
        c.commit();
        failure(() -> manager.delete(oid));
        c.rollback();
        c.setAutoCommit(true);
    }

    private static void values(Connection c) throws Exception {
        byte[] big = new byte[8 << 20];
        Arrays.fill(big, (byte) 'x');
        try (PreparedStatement p = c.prepareStatement("select ?::bytea, md5(?::bytea)")) {
            p.setBytes(1, big);
            p.setBinaryStream(2, new ByteArrayInputStream(big), big.length);
            try (ResultSet rows = p.executeQuery()) {
                rows.next();
                say(Arrays.equals(rows.getBytes(1), big), rows.getString(2));
            }
        }
        try (CallableStatement call = c.prepareCall("{? = call upper(?)}")) {
            call.registerOutParameter(1, Types.VARCHAR);
            call.setString(2, "abc é");
            call.execute();
            say(call.getString(1));
        }
        try (Statement s = c.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE); ResultSet rows = s.executeQuery("select id, t from j where id between 1 and 3 order by id")) {
            rows.last();
            rows.updateString("t", "updated");
            rows.updateRow();
            rows.first();
            say(rows.getInt(1), rows.getString(2));
        }
    }

    public static void main(String[] arguments) throws Exception {
        String[][] modes = {{}, {"preferQueryMode", "simple"}, {"preferQueryMode", "extendedForPrepared"}, {"prepareThreshold", "1", "binaryTransfer", "true"}, {"reWriteBatchedInserts", "true"}, {"autosave", "always"}};
        for (String[] mode : modes) {
            System.out.println("== queries " + Arrays.toString(mode));
            try (Connection c = connect(mode)) {
                queries(c, Arrays.toString(mode));
            }
        }
        try (Connection c = connect("ApplicationName", "conf")) {
            System.out.println("== startup");
            startup(c);
            System.out.println("== values");
            values(c);
            System.out.println("== errors");
            errors(c);
            System.out.println("== copies");
            copies(c);
            System.out.println("== notifications");
            notifications(c);
            System.out.println("== cancels");
            cancels(c);
            System.out.println("== large objects");
            largeObjects(c);
        }
        System.out.println("== end");
    }
}
