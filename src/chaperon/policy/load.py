"""From a folder of *.cedar files to a `PolicySet`, or to every reason why not, each with its line.

A text reaches this process's Cedar only after a child process has parsed, validated and evaluated
it. What is wrong anywhere refuses the whole folder: half a set of policies is another set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chaperon.config import Config
from chaperon.policy import source
from chaperon.policy.decision import PolicySet
from chaperon.policy.lint import Names, lint, reads_beyond
from chaperon.policy.model import Complaint, Policy
from chaperon.policy.schema import RESOURCE, Schema
from chaperon.policy.source import Piece
from chaperon.wire.errors import ConfigError
from chaperon.wire.principal import PrincipalKind

_CHILD: Final = Path(__file__).with_name("child.py")
_PATIENCE: Final = 60.0
_OPEN: Final = Names({})


@dataclass(frozen=True, slots=True)
class _Parsed:
    piece: Piece
    json: Mapping[str, Any] | None
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    text: str
    pieces: tuple[Piece, ...]


def names_of(config: Config) -> Names:
    """The ids that a configuration defines; policies that name any other are refused."""
    principals = config.principals().values()
    known = {
        kind.value: frozenset(p.name for p in principals if p.kind is kind)
        for kind in PrincipalKind
    }
    return Names({**known, "Group": config.groups(), RESOURCE: frozenset(config.resources)})


def load_policies(folder: Path, schema: Schema, names: Names = _OPEN) -> PolicySet:
    """Read, check and build the policies of `folder`. Blocks for the child, about 0.1 s.

    Raises ConfigError with every problem as `file:line: what is wrong`, remedy on the next line.
    """
    return build(source.read_folder(folder), folder, schema, names)


def build(texts: Mapping[Path, bytes], folder: Path, schema: Schema, names: Names) -> PolicySet:
    """As `load_policies`, for texts already read."""
    files = [_file(path, source.decode(path, raw)) for path, raw in texts.items()]
    parsed, problems = _parse(files, schema)
    for one in parsed:
        # What is wrong in our words comes with a remedy; Cedar's are for the rest.
        found = lint(one.json, schema, names) if one.json is not None else []
        if not found:
            found = [_in_our_words(error) for error in one.errors]
        problems += [_problem(one.piece.where, complaint) for complaint in found]
    problems += _duplicates(parsed)
    if not parsed and not problems:
        complaint = Complaint(
            "the files hold no policy, so everything would be denied.",
            "Write a first one; docs/policy.md has some to copy.",
        )
        problems.append(_problem(str(folder), complaint))
    if problems:
        raise ConfigError("\n".join(problems))
    policies = [_policy(one) for one in parsed]
    cacheable = not any(reads_beyond(one.json, schema) for one in parsed if one.json)
    digest = source.digest(texts, folder, schema.hash)
    return PolicySet(policies, schema, digest, cacheable=cacheable)


def _file(path: Path, text: str) -> _File:
    return _File(path, text, tuple(source.cut(path, text)))


def _parse(files: Sequence[_File], schema: Schema) -> tuple[list[_Parsed], list[str]]:
    """Every piece as the child read it, and what is wrong with whole files."""
    answer = _run_child(files, schema)
    if answer is None:
        return [], _culprits(files, schema)
    pieces = [piece for file in files for piece in file.pieces]
    errors: dict[int, list[str]] = {}
    problems: list[str] = []
    for index, number, text in answer["errors"]:
        if index is None:
            remedy = "Write each policy with its `;`, and comments with //."
            problems.append(_problem(f"{files[number].path}:1", Complaint(f"{text}.", remedy)))
        else:
            errors.setdefault(index, []).append(text)
    parsed = [
        _Parsed(piece, policy, tuple(errors.get(index, ())))
        for index, (piece, policy) in enumerate(zip(pieces, answer["policies"], strict=True))
    ]
    return parsed, problems


def _run_child(files: Sequence[_File], schema: Schema) -> dict[str, Any] | None:
    """The child's answer, None where it crashed or ran into a limit."""
    job = {
        "schema": schema.text,
        "files": [{"text": f.text, "pieces": [p.text for p in f.pieces]} for f in files],
    }
    # The child's arguments and program are ours; the texts go through its standard input.
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_CHILD)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            # Nothing of the gateway's environment, which may hold credentials, but where to find
            # the interpreter's own libraries.
            env={k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"},
        )
    except subprocess.TimeoutExpired:
        return None
    except OSError as error:
        raise ConfigError(
            f"the process that checks policies cannot be started: {error.strerror}. "
            f"Make room for one more process."
        ) from None
    if done.returncode < 0:  # a signal: the crash or the limit that the child is there for
        return None
    if done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ConfigError(
            f"the process that checks policies failed: {last}.\n"
            f"    Check that {sys.executable} can import cedarpy."
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _culprits(files: Sequence[_File], schema: Schema) -> list[str]:
    """The policy that crashes the child: found by trying each alone, in the file that does."""
    crash = Complaint(
        "this crashes Cedar or takes too long.", "Write it with less nesting, or as several."
    )
    for file in files:
        if _run_child([file], schema) is not None:
            continue
        for piece in file.pieces:
            if _run_child([_File(file.path, piece.text, (piece,))], schema) is None:
                return [_problem(piece.where, crash)]
        return [_problem(f"{file.path}:1", crash)]
    return [_problem(f"{files[0].path}:1", crash)]


def _duplicates(parsed: Sequence[_Parsed]) -> list[str]:
    first: dict[str, Piece] = {}
    problems: list[str] = []
    for one in parsed:
        own = (one.json or {}).get("annotations", {}).get("id")
        if not own:
            continue
        if own in first:
            text = f"@id({own!r}) is taken by {first[own].where}."
            problems.append(_problem(one.piece.where, Complaint(text, "Choose another id.")))
        first.setdefault(own, one.piece)
    return problems


def _policy(one: _Parsed) -> Policy:
    if one.json is None:  # has had an error
        raise ConfigError(f"{one.piece.where}: not parsed.")
    annotations = one.json["annotations"]
    return Policy(
        id=annotations["id"],
        effect=one.json["effect"],
        where=one.piece.where,
        text=one.piece.text,
        message=annotations.get("message"),
        review=annotations.get("review"),
    )


def _in_our_words(error: str) -> Complaint:
    """Cedar's error without its name for the policy, and a remedy where one is known."""
    text = error.removeprefix("for policy `policy0`, ").strip().rstrip(".") + "."
    if "context" in text and "not found" in text:
        return Complaint(
            text,
            "Not every action has it: write `context has statement && …` first, or name actions.",
        )
    if "found set of entity uids" in text:
        return Complaint(
            text,
            "Only actions may be a list here: write `resource`, and then "
            "`when { resource in [A, B] }`.",
        )
    if "unable to find an applicable action" in text:
        return Complaint(text, "This principal, action and resource never come together.")
    return Complaint(text, "docs/policy.md has the actions, types and facts.")


def _problem(where: str, complaint: Complaint) -> str:
    return f"{where}: {complaint.text}\n    {complaint.remedy}"
