"""The principals that the configuration names. A name is one principal, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import Principal, PrincipalKind


class Directory:
    """Principals by name. Immutable; a changed configuration makes a new one."""

    __slots__ = ("_by_name",)

    def __init__(self, principals: Iterable[Principal]) -> None:
        """Raises `ConfigError` where two principals share a name: a client sends the name only."""
        by_name: dict[str, Principal] = {}
        for principal in principals:
            other = by_name.setdefault(principal.name, principal)
            if other is not principal:
                raise ConfigError(
                    f"identity.local has {principal.name!r} both as {other.kind.value.lower()} and as "
                    f"{principal.kind.value.lower()}; a client sends only the name, so rename one"
                )
        self._by_name = by_name

    @classmethod
    def local(
        cls,
        *,
        agents: Mapping[str, Iterable[str]],
        users: Mapping[str, Iterable[str]],
        services: Mapping[str, Iterable[str]],
    ) -> Directory:
        """Build from `identity.local`: for each kind the groups by name. Raises `ConfigError`."""
        kinds = (
            (PrincipalKind.AGENT, agents),
            (PrincipalKind.USER, users),
            (PrincipalKind.SERVICE, services),
        )
        return cls(
            Principal(kind, name, frozenset(groups))
            for kind, members in kinds
            for name, groups in members.items()
        )

    def get(self, name: str) -> Principal | None:
        """The principal called `name`, exactly; None where there is none."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._by_name)

    def __iter__(self) -> Iterator[Principal]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)
