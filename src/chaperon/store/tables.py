"""The store's schema. A change here raises `SCHEMA_VERSION`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

SCHEMA_VERSION = 1

schema = MetaData()

meta = Table(
    "meta",
    schema,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

sessions = Table(
    "sessions",
    schema,
    Column("id", Text, primary_key=True),
    Column("protocol", Text, nullable=False),
    Column("principal", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("ended_ns", BigInteger),
    Column("reason", Text),
    Column("policy_hash", Text, nullable=False),
    Column("statements", Integer, nullable=False),
    Column("denied", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("recorded_bytes", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("damage", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("meta", JSON, nullable=False),
    Index("sessions_by_time", "started_ns", "id"),
    Index("sessions_by_principal", "principal", "started_ns"),
    Index("sessions_by_resource", "resource", "started_ns"),
)

statements = Table(
    "statements",
    schema,
    Column("session", Text, primary_key=True),
    Column("ordinal", Integer, primary_key=True, autoincrement=False),
    Column("verb", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("text_bytes", BigInteger, nullable=False),
    Column("values", JSON, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("policy", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("started_ns", BigInteger, nullable=False),
    Column("first_row_ms", Float),
    Column("total_ms", Float),
    Column("rows", BigInteger, nullable=False),
    Column("affected", BigInteger),
    Column("size", BigInteger, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Index("statements_by_time", "started_ns", "session", "ordinal"),
    Index("statements_by_verdict", "verdict", "started_ns"),
)

tokens = Table(
    "tokens",
    schema,
    Column("token_id", Text, primary_key=True),
    Column("principal", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    Column("scram_salt", LargeBinary, nullable=False),
    Column("scram_iterations", Integer, nullable=False),
    Column("scram_stored_key", LargeBinary, nullable=False),
    Column("scram_server_key", LargeBinary, nullable=False),
    Column("issued_ns", BigInteger, nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
    Column("revoked_ns", BigInteger),
    Index("tokens_by_principal", "principal", "issued_ns"),
)
