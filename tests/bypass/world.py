"""A database full of traps: whatever runs code that is not PostgreSQL's own leaves a trace.

Every object belongs to the gateway's own role, so that its rights keep nothing from being written.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.gateway import AGENT, RESOURCE, Gateway, Token
from tests.support.pg_wire import RawClient, rows
from tests.support.servers import (
    APP_PASSWORD,
    APP_USER,
    DATABASE,
    SUPERUSER,
    SUPERUSER_PASSWORD,
    PostgresServer,
)

SETUP = """
CREATE TABLE canary (sang text);
CREATE TABLE orders (id int PRIMARY KEY, note text);
INSERT INTO orders VALUES (1, 'a'), (2, 'b'), (3, 'c');
CREATE FUNCTION sing(text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO public.canary VALUES ($1); RETURN $1; END $$;
CREATE FUNCTION hum(text) RETURNS text LANGUAGE plpgsql STABLE AS
  $$ BEGIN PERFORM public.sing($1); RETURN $1; END $$;
CREATE FUNCTION whistle(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
  $$ BEGIN PERFORM public.sing($1); RETURN $1; END $$;
CREATE FUNCTION wrapped(int) RETURNS text LANGUAGE sql AS $$ SELECT public.sing('sql') $$;
CREATE PROCEDURE proceed() LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.orders; END $$;
CREATE FUNCTION of_row(orders) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RETURN public.sing('row'); END $$;
CREATE FUNCTION step(text, text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RETURN public.sing('aggregate'); END $$;
CREATE AGGREGATE choir(text) (SFUNC = step, STYPE = text);

CREATE VIEW v_plain AS SELECT id FROM orders;
CREATE VIEW v_sings AS SELECT id, sing('view') AS song FROM orders;
CREATE VIEW v_nested AS SELECT * FROM v_sings;
CREATE MATERIALIZED VIEW v_stored AS SELECT id FROM orders;
CREATE VIEW v_rule AS SELECT id FROM orders;
CREATE RULE r AS ON INSERT TO v_rule DO INSTEAD SELECT sing('rule');

CREATE TABLE triggered (id int, note text DEFAULT sing('default'));
CREATE FUNCTION ring() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.sing('trigger'); RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON triggered
  FOR EACH STATEMENT EXECUTE FUNCTION ring();

CREATE TYPE box_of AS (v text);
CREATE FUNCTION to_box(text) RETURNS box_of LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.sing('cast'); RETURN ROW($1)::public.box_of; END $$;
CREATE CAST (text AS box_of) WITH FUNCTION to_box(text);
CREATE FUNCTION alike(text, text) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.sing('operator'); RETURN true; END $$;
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = alike);
CREATE DOMAIN checked AS text CHECK (hum(VALUE) IS NOT NULL);

CREATE TABLE indexed (id int);
INSERT INTO indexed VALUES (1);
CREATE INDEX i ON indexed ((id + length(whistle('index'))));
CREATE TABLE guarded (id int);
INSERT INTO guarded VALUES (1);
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON guarded USING (hum('policy') IS NOT NULL);
CREATE TABLE held (id int, CONSTRAINT c CHECK (id < length(whistle('constraint')) + 9));
INSERT INTO held VALUES (1);

CREATE SCHEMA evil;
CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql AS
  $$ BEGIN RETURN public.sing('over lower'); END $$;
CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.sing('over now'); RETURN null; END $$;
CREATE FUNCTION evil.same(int, int) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.sing('over ='); RETURN true; END $$;
CREATE FUNCTION evil.near(int, numeric) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM public.sing('over = numeric'); RETURN true; END $$;
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.same);
CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = numeric, FUNCTION = evil.near);
CREATE OPERATOR evil.< (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.same);
CREATE OPERATOR evil.<= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.same);
CREATE OPERATOR evil.>= (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.same);
CREATE OPERATOR evil.~~ (LEFTARG = text, RIGHTARG = text, FUNCTION = public.alike);
CREATE VIEW evil.orders AS SELECT 1 AS id, public.sing('over a table') AS note;
CREATE DOMAIN evil.date AS text CHECK (public.hum(VALUE) IS NOT NULL);
DELETE FROM canary;
"""
"""Loading them sings too, hence the last line."""

STATE = """
SELECT (SELECT count(*) FROM public.orders), (SELECT string_agg(sang, ',') FROM public.canary),
  (SELECT count(*) FROM pg_class WHERE oid >= 16384), (SELECT count(*) FROM pg_roles),
  (SELECT count(*) FROM pg_proc WHERE oid >= 16384), (SELECT count(*) FROM public.triggered)
"""


@dataclass(slots=True)
class Traps:
    """The server with the traps, a gateway before it, and an eye on what happened."""

    server: PostgresServer
    gateway: Gateway
    token: Token
    eye: RawClient

    @classmethod
    def set(cls, server: PostgresServer, policies: str) -> Traps:
        server.fresh_database(DATABASE)
        owner = RawClient.connect(server.port, APP_USER, APP_PASSWORD, DATABASE)
        for tag, payload in owner.ask(SETUP):
            if tag == "E":
                raise RuntimeError(payload)
        owner.close()
        gateway = Gateway.start(server, policies=policies)
        eye = RawClient.connect(server.port, SUPERUSER, SUPERUSER_PASSWORD, DATABASE)
        return cls(server, gateway, gateway.token(), eye)

    def agent(self, **startup: str) -> RawClient:
        """A session of the agent. ConnectionError where it is refused."""
        return RawClient.connect(self.gateway.port, AGENT, self.token.token, RESOURCE, **startup)

    def state(self) -> tuple[bytes | None, ...]:
        """What would differ had anything been written."""
        (found,) = rows(self.eye.ask(STATE))
        return found

    def oid(self, kind: str, name: str) -> int:
        """The OID of an object; `kind` is a type such as regproc."""
        ((found,),) = rows(self.eye.ask(f"SELECT '{name}'::{kind}::oid"))
        return int(found or b"")

    def stop(self) -> None:
        self.eye.close()
        self.gateway.stop()
