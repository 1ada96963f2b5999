"""The configuration file: its one description, and its errors, each with line and remedy.

A `Config` that exists is valid; a file with any problem gives one ConfigError that names them all.
It holds no secret (a `SecretSource` says where one is) and knows no protocol by name.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from chaperon.datafolder import DATA_VERSION, open_data_folder
from chaperon.secrets import Secret, SecretSource
from chaperon.wire.principal import Principal, PrincipalKind
from chaperon.yamlfile import Located, LocatedList, Place, Problem, config_error, read_yaml

__all__ = [
    "DATA_VERSION",
    "Config",
    "IdentityConfig",
    "ListenerConfig",
    "LocalIdentity",
    "RecordingConfig",
    "ResourceConfig",
    "Secret",
    "SecretSource",
    "TlsFiles",
    "UpstreamConfig",
    "load_config",
    "open_data_folder",
]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}\Z")
_SIZE = re.compile(r"(\d{1,15})\s*(B|KiB|MiB|GiB|TiB|)\Z")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)\Z")
_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _wrong(text: str, remedy: str) -> PydanticCustomError:
    # Values travel in the context, never in the template, where braces would be read as fields.
    return PydanticCustomError("chaperon", "{text}", {"text": text, "remedy": remedy})


def _size(value: object) -> int:
    match = _SIZE.match(str(value)) if isinstance(value, (str, int)) else None
    if match is None or isinstance(value, bool):
        raise _wrong(f"{value!r} is not a size.", "Write a number and a unit, as in 16MiB or 1GiB.")
    return int(match[1]) * _UNITS[match[2]]


def _duration(value: object) -> float:
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise _wrong(
            f"{value!r} is not a duration.",
            "Write a number and a unit (ms, s, m, h, d), as in 30s.",
        )
    return float(match[1]) * _SECONDS[match[2]]


def _beside_the_file(value: Path, info: ValidationInfo) -> Path:
    base: Path = info.context["base"] if info.context else Path.cwd()
    return base / value.expanduser()


def _name(value: str) -> str:
    if not _NAME.match(value):
        raise _wrong(
            f"{value!r} is not a usable name.",
            "Use letters, digits, `.`, `_`, `-` and `@`, beginning with a letter or digit, at most "
            "63 characters: the name stands in connection addresses and in policies.",
        )
    return value


def _secret_source(value: object, info: ValidationInfo) -> SecretSource:
    remedy = "Write {env: NAME} or {file: PATH}; a configuration holds no secret."
    if isinstance(value, SecretSource):
        return value
    if not isinstance(value, Mapping) or len(value) != 1 or not set(value) <= {"env", "file"}:
        # The value may be the secret itself: it is not repeated.
        raise _wrong("a secret's source must be named here, nothing else.", remedy)
    [(kind, name)] = value.items()
    if not isinstance(name, str) or not name:
        raise _wrong(f"`{kind}` needs the name of one.", remedy)
    where = str(value.place) if isinstance(value, Located) else ""
    if kind == "env":
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise _wrong("this is not the name of an environment variable.", remedy)
        return SecretSource(env=name, where=where)
    return SecretSource(file=_beside_the_file(Path(name), info), where=where)


Size = Annotated[int, BeforeValidator(_size)]
Duration = Annotated[float, BeforeValidator(_duration)]
ConfigPath = Annotated[Path, AfterValidator(_beside_the_file)]
Name = Annotated[str, AfterValidator(_name)]
SecretField = Annotated[SecretSource, BeforeValidator(_secret_source)]
Text = Annotated[str, Field(min_length=1)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class TlsFiles(_Model):
    """A certificate (PEM, with its chain) and its private key."""

    certificate: ConfigPath
    key: ConfigPath


class ListenerConfig(_Model):
    """Where agents connect. `address` is HOST:PORT; port 0 lets the system choose."""

    protocol: str
    address: str
    tls: TlsFiles | None = None
    allow_cleartext: bool = False

    @field_validator("address")
    @classmethod
    def _address(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        remedy = "Write HOST:PORT, as in 127.0.0.1:6432 or '[::1]:6432'."
        if not colon or not host or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65535:
            raise _wrong(f"{value!r} is not an address with a port.", remedy)
        if ":" in host or host.startswith("["):
            try:
                if not (host[0] == "[" and host[-1] == "]"):
                    raise ValueError
                ipaddress.IPv6Address(host[1:-1])
            except ValueError:
                raise _wrong(f"{value!r} is not an IPv6 address with a port.", remedy) from None
        return value

    @property
    def host(self) -> str:
        """The host part, an IPv6 address without its brackets."""
        return self.address.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


class LocalPrincipal(_Model):
    """A principal of the configuration file, and the groups it is in."""

    groups: frozenset[Name] = frozenset()


def _local(value: object) -> object:
    """`ci-bot:` with nothing behind it is a principal in no group."""
    if isinstance(value, dict):
        return {name: {} if member is None else member for name, member in value.items()}
    return value


LocalPrincipals = Annotated[dict[Name, LocalPrincipal], BeforeValidator(_local)]


class LocalIdentity(_Model):
    """Principals that the file itself names. A name belongs to one principal, of whatever kind."""

    agents: LocalPrincipals = {}
    users: LocalPrincipals = {}
    services: LocalPrincipals = {}

    def principals(self) -> dict[str, Principal]:
        """Every principal by name."""
        return {
            name: Principal(kind, name, local.groups)
            for kind, members in self._by_kind()
            for name, local in members.items()
        }

    def _by_kind(self) -> Iterator[tuple[PrincipalKind, dict[str, LocalPrincipal]]]:
        yield PrincipalKind.AGENT, self.agents
        yield PrincipalKind.USER, self.users
        yield PrincipalKind.SERVICE, self.services


class IdentityConfig(_Model):
    """Who there is."""

    local: LocalIdentity = LocalIdentity()


TlsMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class UpstreamConfig(_Model):
    """The target, and the gateway's own credential there.

    `tls` as in libpq's sslmode, without `allow`. `ca` is a file of trusted certificates in place
    of the system's; `certificate` and `key` prove the gateway to the target.
    """

    host: Text
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    database: Text
    user: Text
    password: SecretField | None = None
    tls: TlsMode = "verify-full"
    ca: ConfigPath | None = None
    certificate: ConfigPath | None = None
    key: ConfigPath | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise _wrong("`certificate` and `key` go together.", "Give both or neither.")
        if self.ca is not None and self.tls not in ("verify-ca", "verify-full"):
            raise _wrong(
                f"`ca` has no effect with tls: {self.tls}.",
                "Write tls: verify-full, or remove `ca`.",
            )
        return self


class ResourceConfig(_Model):
    """Something that agents work on, under the name that they connect with.

    `safe_functions` are names (schema.name) that policy may take to be without effects.
    `catalog_staleness` in seconds: names are not resolved by a catalog older than that.
    `inspection_limit` in bytes: a longer statement is denied.
    """

    protocol: str
    upstream: UpstreamConfig
    safe_functions: frozenset[str] = frozenset()
    catalog_staleness: Duration = 30.0
    inspection_limit: Size = 16 << 20

    @field_validator("safe_functions")
    @classmethod
    def _qualified(cls, value: frozenset[str]) -> frozenset[str]:
        for name in sorted(value):
            schema, dot, function = name.partition(".")
            if not (schema and dot and function):
                raise _wrong(f"{name!r} has no schema.", f"Write it as in public.{name}.")
        return value

    @field_validator("inspection_limit")
    @classmethod
    def _some_room(cls, value: int) -> int:
        if not 1024 <= value <= 1 << 30:
            raise _wrong(f"{value} bytes is out of bounds.", "Use 1KiB to 1GiB; usual is 16MiB.")
        return value


class RecordingConfig(_Model):
    """When a byte counts as recorded, and the free space (bytes) that the disk must keep."""

    barrier: Literal["write", "fsync"] = "write"
    reserve: Size = 1 << 30


class Config(_Model):
    """The whole file. Paths are absolute; a relative one in the file is relative to the file."""

    _path: Path = PrivateAttr(default=Path())
    data: ConfigPath
    listeners: Annotated[tuple[ListenerConfig, ...], Field(min_length=1)]
    identity: IdentityConfig = IdentityConfig()
    resources: dict[Name, ResourceConfig] = {}
    policies: ConfigPath
    recording: RecordingConfig = RecordingConfig()

    @property
    def path(self) -> Path:
        """The file itself, absolute."""
        return self._path

    def principals(self) -> dict[str, Principal]:
        """Every principal that the file names, by name."""
        return self.identity.local.principals()

    def groups(self) -> frozenset[str]:
        """Every group that a principal of the file is in."""
        return frozenset().union(*(p.groups for p in self.principals().values()))


def load_config(path: Path, known_protocols: Collection[str]) -> Config:
    """Read and validate `path`; `known_protocols` are the names that may stand under `protocol`.

    Raises ConfigError with every problem found, each as `file:line:column: what is wrong` and a
    remedy on the next line.
    """
    path = path.expanduser().absolute()
    root, problems = read_yaml(path)
    problems += _unknown_protocols(root, known_protocols)
    problems += _shared_names(root)
    config: Config | None = None
    try:
        config = Config.model_validate(root, context={"base": path.parent})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems += [_problem(root, detail) for detail in details if not _echo(root, detail)]
    if problems or config is None:
        raise config_error(problems)
    config._path = path
    return config


def _unknown_protocols(root: Located, known: Collection[str]) -> Iterator[Problem]:
    listeners, resources = root.get("listeners"), root.get("resources")
    holders = [*(listeners if isinstance(listeners, LocatedList) else ())]
    holders += resources.values() if isinstance(resources, Located) else ()
    for holder in holders:
        name = holder.get("protocol") if isinstance(holder, Located) else None
        if isinstance(name, str) and name not in known:
            yield Problem(
                holder.keys_at["protocol"],
                f"there is no protocol {name!r}.",
                _instead(name, known),
            )


def _shared_names(root: Located) -> Iterator[Problem]:
    identity = root.get("identity")
    local = identity.get("local") if isinstance(identity, Located) else None
    seen: dict[str, Place] = {}
    for kind in ("agents", "users", "services"):
        members = local.get(kind) if isinstance(local, Located) else None
        for name, place in members.keys_at.items() if isinstance(members, Located) else ():
            if name in seen:
                yield Problem(
                    place,
                    f"the name {name!r} is taken in line {seen[name].line}.",
                    "Rename one: a client gives a name alone, so it must be of one principal.",
                )
            seen.setdefault(name, place)


def _echo(root: Located, detail: ErrorDetails) -> bool:
    """Whether this is a list called too short because its items, reported already, are wrong."""
    return detail["type"] == "too_short" and bool(root.get(str(detail["loc"][0])))


def _problem(root: Located, detail: ErrorDetails) -> Problem:
    """Put a validation error where it belongs in the file, in words of the file."""
    loc = tuple(part for part in detail["loc"] if part != "[key]")
    place = _find(root, loc)
    name = ".".join(str(part) for part in loc)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "chaperon":
            text, remedy = f"{name}: {context['text']}", str(context["remedy"])
        case "missing":
            text, remedy = f"{name}: missing.", f"Add `{loc[-1]}:`; see docs/configuration.md."
        case "extra_forbidden":
            known = _fields(Config, loc[:-1])
            text, remedy = f"{name}: unknown key.", _instead(str(loc[-1]), known)
        case "literal_error":
            text, remedy = f"{name}: not one of its values.", f"Write {context['expected']}."
        case "frozen_set_type" | "tuple_type":
            text, remedy = f"{name}: must be a list.", "Write [one, two], or a line `- one` each."
        case "model_type" | "model_attributes_type" | "dict_type":
            text, remedy = f"{name}: must be a mapping.", "Write {key: value}, or indented lines."
        case "string_type":
            text, remedy = f"{name}: must be text.", "Write a word, or put the value in quotes."
        case _:
            text = f"{name}: {detail['msg'][:1].lower()}{detail['msg'][1:]}."
            remedy = "See docs/configuration.md for what may stand here."
    return Problem(place, text, remedy)


def _find(root: Located, loc: tuple[int | str, ...]) -> Place:
    """The place of the key or item at `loc`, or of the innermost around it that exists."""
    node: Any = root
    place = root.place
    for part in loc:
        if isinstance(node, Located) and part in node:
            place = node.keys_at[str(part)]
        elif isinstance(node, LocatedList) and isinstance(part, int) and part < len(node):
            place = node.items_at[part]
        else:
            break
        node = node[part]
    return place


def _fields(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys that may stand in the mapping at `loc`."""
    for part in loc:
        if isinstance(part, str) and part in model.model_fields:
            inner = _model_in(model.model_fields[part].annotation)
            if inner is None:
                return []
            model = inner
        # Otherwise a member of a mapping or sequence: of the model that we are at already.
    return sorted(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)


def _instead(wrong: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{close[0]}`?"
    return "There is: " + ", ".join(f"`{name}`" for name in sorted(known)) + "."
