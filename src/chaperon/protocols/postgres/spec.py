"""PostgreSQL as the registry sees it."""

from __future__ import annotations

from chaperon.protocols.base import ProtocolSpec
from chaperon.protocols.postgres.agent import ALPN
from chaperon.protocols.postgres.probe import TARGET
from chaperon.protocols.postgres.service import NAME, PostgresService
from chaperon.protocols.postgres.transcript import Transcript
from chaperon.protocols.postgres.vocabulary import POSTGRES as VOCABULARY

POSTGRES = ProtocolSpec(
    name=NAME,
    alpn=ALPN,
    vocabulary=VOCABULARY,
    service=PostgresService,
    transcript=Transcript,
    target=TARGET,
)
