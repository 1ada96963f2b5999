"""A gateway of its own for a test: configuration, policies, process, tokens; stopped by its id."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import yaml

from tests.support.pki import Authority, KeyPair
from tests.support.ports import free_port, wait_for_port
from tests.support.servers import APP_PASSWORD, APP_USER, DATABASE, PostgresServer

ROOT = Path(__file__).resolve().parents[2]
AGENT = "ci-bot"
RESOURCE = DATABASE  # the database's own name, so that transcripts do not differ by it
START_SECONDS = 20.0

PERMIT_ALL = '@id("permit-all")\npermit (principal, action, resource);\n'
READ_ONLY = """
@id("read-only")
permit (principal, action in [Action::"connect", Action::"read"], resource);

@id("only-reads") @message("This agent may only read.")
forbid (principal, action in [
  Action::"write", Action::"define", Action::"grant", Action::"execute", Action::"transfer",
  Action::"unknown"
], resource);
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A gateway token as `chaperon token create --json` tells it."""

    token: str
    public_id: str


@dataclass(slots=True)
class Gateway:
    """One running `chaperon serve`. `port` speaks plain or TLS on request; folders are its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    authority: Authority | None = None
    _environment: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def config(self) -> Path:
        return self.folder / "chaperon.yaml"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "gateway.log"

    @classmethod
    def start(
        cls,
        server: PostgresServer,
        *,
        policies: Mapping[str, str] | str = PERMIT_ALL,
        tls: bool = False,
        upstream: Mapping[str, Any] | None = None,
        recording: Mapping[str, Any] | None = None,
        resource: Mapping[str, Any] | None = None,
        folder: Path | None = None,
    ) -> Self:
        """Write a configuration for `server` and start a gateway with it. Raises RuntimeError.

        `policies` is one Cedar text or texts by file name; `upstream`, `recording` and `resource`
        add to, or replace, those parts of the configuration.
        """
        folder = folder or Path(tempfile.mkdtemp(prefix="chaperon-gw-"))
        gateway = cls(folder, free_port())
        gateway._environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
            "UPSTREAM_PASSWORD": APP_PASSWORD,
        }
        gateway.authority = Authority.create(folder) if tls else None
        pair = gateway.authority.server("gateway") if gateway.authority else None
        gateway._write_policies(
            {"policy.cedar": policies} if isinstance(policies, str) else policies
        )
        target: dict[str, Any] = {
            "host": server.host,
            "port": server.port,
            "database": DATABASE,
            "user": APP_USER,
            "password": {"env": "UPSTREAM_PASSWORD"},
            "tls": "prefer",
            **(upstream or {}),
        }
        gateway._write_config(pair, target, recording or {}, resource or {})
        try:
            gateway.serve()
        except BaseException:
            gateway.stop()
            raise
        return gateway

    def _write_policies(self, texts: Mapping[str, str]) -> None:
        folder = self.folder / "policies"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)

    def _write_config(
        self,
        pair: KeyPair | None,
        upstream: Mapping[str, Any],
        recording: Mapping[str, Any],
        resource: Mapping[str, Any],
    ) -> None:
        listener: dict[str, Any] = {"protocol": "postgres", "address": f"127.0.0.1:{self.port}"}
        if pair:
            listener["tls"] = {"certificate": str(pair.certificate), "key": str(pair.key)}
        config = {
            "data": "./data",
            "listeners": [listener],
            "identity": {
                "local": {
                    "agents": {AGENT: {"groups": ["analysts"]}},
                    "users": {"ana": {"groups": ["dba"]}},
                }
            },
            "resources": {
                RESOURCE: {"protocol": "postgres", "upstream": {**upstream}, **resource},
            },
            "policies": "./policies",
            "recording": {"barrier": "write", "reserve": "64MiB", **recording},
        }
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))

    def serve(self) -> None:
        """Start the process (again) and wait until it listens. RuntimeError with its log if not."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*_chaperon(), "serve", "-c", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self.folder,
                start_new_session=True,
            )
        try:
            wait_for_port(self.port, self.process, START_SECONDS, "the gateway")
        except RuntimeError as error:
            log_end = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"{error}:\n{log_end}") from error

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `chaperon ARGUMENTS -c FILE` beside the gateway; RuntimeError when it fails."""
        done = subprocess.run(
            [*_chaperon(), *arguments, "-c", str(self.config)],
            capture_output=True,
            text=True,
            env=self._environment,
            cwd=self.folder,
            check=False,
            timeout=60,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"chaperon {arguments} gave {done.returncode}: {done.stderr}")
        return done

    def token(self, principal: str = AGENT, *arguments: str) -> Token:
        """A new token of `principal`; its public id stands between its two underscores."""
        answer = json.loads(self.command("token", "create", principal, "--json", *arguments).stdout)
        token = str(answer["token"])
        return Token(token, token.split("_")[1])

    def dsn(
        self, token: Token | None = None, user: str = AGENT, *, scram: bool = False, **more: str
    ) -> str:
        """A connection address through the gateway; `scram`: the user name has the token's id."""
        token = token or self.token(user)
        name = quote(f"{user}+{token.public_id}" if scram else user, safe="")
        query = "&".join(f"{key}={quote(value, safe='')}" for key, value in more.items())
        address = f"postgresql://{name}:{token.token}@127.0.0.1:{self.port}/{RESOURCE}"
        return f"{address}?{query}" if query else address

    def recordings(self) -> list[Path]:
        """Every recording in the data folder, oldest name first."""
        return sorted(self.data.rglob("*.rec"))

    def kill(self) -> None:
        """kill -9, and wait until the process is gone."""
        if self.process:
            self.process.kill()
            self.process.wait(30)

    def stop(self, *, keep: bool = False) -> None:
        """SIGTERM, after 15 s kill; the folder goes unless `keep`."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def _chaperon() -> list[str]:
    return [sys.executable, "-m", "chaperon.cli.main"]
