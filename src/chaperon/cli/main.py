"""The `chaperon` command: names, options, help texts. What a command does is imported when it runs.

Every way out is an exit code of `Exit`: an error is a line that says what and a line that says what
to do, never a traceback.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from chaperon import __version__
from chaperon.api.errors import ApiError, Code
from chaperon.cli.exits import CommandFailed, Exit
from chaperon.wire.errors import ChaperonError, ConfigError

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_EXIT_OF = {
    Code.BAD_REQUEST: Exit.USAGE,
    Code.NOT_FOUND: Exit.NOT_FOUND,
    Code.AMBIGUOUS: Exit.NOT_FOUND,
    Code.NOT_RUNNING: Exit.NOT_RUNNING,
    Code.UNREACHABLE: Exit.NOT_RUNNING,
    Code.CONFIGURATION: Exit.CONFIGURATION,
}


def _group(text: str) -> typer.Typer:
    return typer.Typer(
        help=text,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )


app = _group("A gateway for agents: decides every statement, records every byte.")
token_app = _group("Gateway tokens: what an agent sends as its password.")
sessions_app = _group("What happened: sessions, their statements, verdicts.")
policy_app = _group("What is allowed.")
index_app = _group("The index over the recordings.")
app.add_typer(token_app, name="token")
app.add_typer(sessions_app, name="sessions")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The configuration. Otherwise $CHAPERON_CONFIG, otherwise ./chaperon.yaml.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
SessionArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A session's id, or enough of its beginning.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chaperon {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


@app.command()
def init(
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="The database to put behind the gateway, as in postgresql://app@db:5432/shop. "
            "Asked for on a terminal; leave the password out and it is asked for, unseen.",
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--dir", metavar="DIR", help="Where to write. Made where missing.")
    ] = Path(),
    resource: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What agents call it. Otherwise the database's name."),
    ] = None,
    agent: Annotated[str, typer.Option(metavar="NAME", help="The first agent.")] = "ci-bot",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where agents connect.")
    ] = "127.0.0.1:6432",
) -> None:
    """Write a first configuration.

    One database, one agent, read-only. Nothing that exists is overwritten.
    """
    from chaperon.cli import init as body

    body.run(database_url, folder, resource=resource, agent=agent, listen=listen)


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the gateway.

    Until it is told to stop: SIGTERM or Ctrl-C.
    """
    from chaperon.cli import serve as body

    raise typer.Exit(body.run(config))


@app.command()
def check(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check the configuration and the policies.

    Without connecting anywhere.
    """
    from chaperon.cli import check as body

    body.run(config, json=json)


@app.command()
def doctor(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Check everything, and say what to do.

    The configuration, the data folder, every target and credential, the policies, the ports.
    Exit code 1 where something fails.
    """
    from chaperon.cli import doctor as body

    body.run(config, json=json)


@app.command()
def status(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show what the running gateway says of itself."""
    from chaperon.cli import status as body

    body.run(config, json=json)


@token_app.command("create")
def token_create(
    principal: Annotated[
        str, typer.Argument(metavar="PRINCIPAL", help="Whose token, as the configuration names it.")
    ],
    ttl: Annotated[
        str, typer.Option(metavar="TIME", help="How long it is good for: 30m, 1h, 7d.")
    ] = "1h",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Make a token and print it.

    It is shown this once and kept nowhere.
    """
    from chaperon.cli import tokens

    tokens.create(config, principal, ttl, json=json)


@token_app.command("revoke")
def token_revoke(
    token: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id (or the token itself).")
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Revoke a token at once.

    Sessions that it opened are ended.
    """
    from chaperon.cli import tokens

    tokens.revoke(config, token, json=json)


@token_app.command("list")
def token_list(
    principal: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only tokens of this principal.")
    ] = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List tokens.

    Id, whose, how long still. Never the token itself.
    """
    from chaperon.cli import tokens

    tokens.show(config, principal, json=json)


@sessions_app.command("list")
def sessions_list(
    principal: Annotated[str | None, typer.Option(metavar="NAME", help="Whose.")] = None,
    resource: Annotated[str | None, typer.Option(metavar="NAME", help="On which resource.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Begun at or after: 2026-11-23, 2026-11-23T14:05, 2h."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Begun before; as --since.")
    ] = None,
    verdict: Annotated[
        str | None,
        typer.Option(metavar="VERDICT", help="With a statement of this verdict: allow or deny."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With a statement that contains this.")
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="At most so many, newest first.")
    ] = 50,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List sessions, newest first."""
    from chaperon.cli import sessions

    wanted = sessions.Filter(principal, resource, since, until, verdict, text, limit)
    sessions.show_list(config, wanted, json=json)


@sessions_app.command("show")
def sessions_show(
    session: SessionArgument, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Show one session with its statements."""
    from chaperon.cli import sessions

    sessions.show_one(config, session, json=json)


@sessions_app.command("kill")
def sessions_kill(
    session: SessionArgument,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Goes into the recording.")
    ] = "killed by the operator",
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """End a live session now.

    Its connections are closed when this returns.
    """
    from chaperon.cli import sessions

    sessions.kill(config, session, reason, json=json)


@app.command()
def replay(
    session: SessionArgument,
    speed: Annotated[
        float, typer.Option(metavar="N", min=0.01, max=10_000, help="So many times as fast.")
    ] = 1.0,
    instant: Annotated[bool, typer.Option("--instant", help="Without any waiting.")] = False,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Begin there: 90s into it, or a time of day."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Replay a session as it happened.

    Statements, verdicts and results.
    """
    from chaperon.cli import replay as body

    body.replay(config, session, speed=None if instant else speed, start=start)


@app.command()
def tail(session: SessionArgument, config: ConfigOption = None) -> None:
    """Follow a live session.

    Until it ends, or Ctrl-C.
    """
    from chaperon.cli import replay as body

    body.tail(config, session)


@policy_app.command("check")
def policy_check(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Validate the policies, as loading them would."""
    from chaperon.cli import policy

    policy.check(config, json=json)


@policy_app.command("explain")
def policy_explain(
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Who asks.")],
    resource: Annotated[str, typer.Argument(metavar="RESOURCE", help="Where.")],
    statement: Annotated[
        str, typer.Argument(metavar="STATEMENT", help="What. - reads it from standard input.")
    ],
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Say how a statement would be decided.

    By which policies, and why. Exit code 6 is a denial.
    """
    from chaperon.cli import policy

    policy.explain(config, principal, resource, statement, json=json)


@index_app.command("rebuild")
def index_rebuild(config: ConfigOption = None, json: JsonOption = False) -> None:
    """Make the index again from the recordings."""
    from chaperon.cli import index

    index.rebuild(config, json=json)


app.add_typer(policy_app, name="policy")
app.add_typer(index_app, name="index")


def main() -> None:
    """Entry point: run the command, turn what goes wrong into two lines and an exit code."""
    try:
        app()
    except CommandFailed as error:
        _end(error.code, error.what, error.remedy)
    except ApiError as error:
        _end(_EXIT_OF.get(error.code, Exit.FAILED), error.message, error.remedy)
    except ConfigError as error:
        what, _, remedy = str(error).partition("\n")
        if "\n" in remedy:  # several problems, each with its own remedy
            what, remedy = f"these are to be corrected:\n{error}", ""
        _end(Exit.CONFIGURATION, what, remedy.strip())
    except ChaperonError as error:
        _end(Exit.FAILED, str(error), "")
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has what it wanted. Python must not fail on flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.OK)
    except Exception as error:
        if os.environ.get("CHAPERON_TRACEBACK"):
            raise
        _end(
            Exit.FAILED,
            f"{type(error).__name__}: {error}",
            "This is a bug in Chaperon; CHAPERON_TRACEBACK=1 shows where.",
        )


def _end(code: Exit, what: str, remedy: str) -> None:
    from chaperon.cli.output import print_error

    print_error(what, remedy)
    sys.exit(code)


if __name__ == "__main__":
    main()
