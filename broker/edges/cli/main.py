"""Which verb is meant? Every noun is a file of its own, read only when it is used."""

import difflib
import importlib
import json
import sys
from collections.abc import Iterator, Sequence

from broker.edges.cli.composition import Composition
from broker.edges.cli.ink import Ink, visible
from broker.errors import BrokerError

NOUNS = {
    "demo": "The whole story in twenty seconds, on a broker of its own",
    "init": "Write broker.toml and policies to start from",
    "serve": "Run the broker",
    "stdio": "Bridge a host that speaks only stdio to the broker",
    "doctor": "Find out what is wrong with this installation",
    "agent": "Agents: add, list, show, set, suspend, revoke and more; a file of them: plan, apply",
    "grant": "Delegations: list, show, revoke",
    "operator": "People who run the broker, for its operator API: add, list, renew, revoke",
    "token": "Get an access token as an agent",
    "keys": "Keys that sign access tokens: list, rotate",
    "host": "Register the broker in an agent host: list, print, add",
    "connector": "Connectors: list, check, approve",
    "tool": "Tools as an agent sees them: list",
    "call": "Call a tool as an agent",
    "calls": "Recorded calls: tail, show, tree",
    "backup": "Copy the state while the broker runs",
    "restore": "Put a backup in place of the state, once it is verified",
    "subject": "People whom calls are about: list, export, erase",
    "audit": "The log: verify, prove, export, checkpoint, keys",
    "evidence": "Evidence for auditors: pack",
    "policy": "Policies: check, fmt, test, show, simulate",
    "why": "Why may an agent make a call, or why not",
    "guard": "Guards: check a text, evaluate a labelled file, except what is no finding",
    "budget": "What is spent and held: list",
    "trust": "How far agents are trusted: show, replay, release",
    "transaction": "What a transaction has read and done: show, declassify",
    "approvals": "Calls that wait for a human: list, show, approve, deny, revoke",
    "config": "The configuration in force and its schema: show, schema",
}

USAGE, INTERRUPTED = 2, 130


def run(composition: Composition, arguments: Sequence[str]) -> int:
    """Do what the command line asks; returns the exit code.

    0 done, 1 failed, 2 usage, 3 refused, 4 not authenticated, 5 not found, 6 verification failed,
    130 interrupted.
    """
    noun, *rest = arguments or ["--help"]
    match noun:
        case "-h" | "--help" | "help":
            print(_help())
            return 0
        case "--version":
            from importlib.metadata import version

            print(f"broker {version('mcp-tool-broker')}")
            return 0
        case _ if noun in NOUNS:
            return _verb(composition, noun, rest)
        case _:
            near = difflib.get_close_matches(noun, NOUNS, 1)
            hint = f"did you mean `broker {near[0]}`?" if near else "`broker --help` lists the commands"
            print(f"usage: there is no command `{visible(noun)}`\nhint: {hint}", file=sys.stderr)
            return USAGE


def _verb(composition: Composition, noun: str, arguments: Sequence[str]) -> int:
    as_json = "--json" in arguments
    try:
        app = importlib.import_module(f"broker.edges.cli.{noun}").app
        app(args=list(arguments), obj=composition, prog_name=f"broker {noun}")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader has left; Python would complain about the unflushed rest
        return 1
    except BrokerError as error:
        return report(error, as_json=as_json)
    except BaseExceptionGroup as group:
        first = next(_broker_errors(group), None)
        if first is None:
            raise
        return report(first, as_json=as_json)
    return 0


def report(error: BrokerError, *, as_json: bool) -> int:
    """Say what went wrong and give the exit code: text on stderr, or the error object on stdout."""
    from broker.edges.translate import text, wire

    if as_json:
        print(json.dumps(error.as_object(), ensure_ascii=False))
    else:
        print(painted(visible(text(error)), Ink.on(sys.stderr)), file=sys.stderr)
    return wire(error).exit_code


def painted(refusal: str, ink: Ink) -> str:
    """A refusal's text with its first word and its hint marked."""
    code, colon, rest = refusal.partition(":")
    return ink("red", code) + colon + rest.replace("\nhint:", f"\n{ink('cyan', 'hint')}:")


def _help() -> str:
    ink = Ink.on(sys.stdout)
    width = max(map(len, NOUNS))
    lines = [f"  {ink('bold', noun.ljust(width))}  {what}" for noun, what in NOUNS.items()]
    return "\n".join(
        [
            "The one door between agents and everything they use.",
            "",
            "Usage: broker COMMAND [ARGUMENTS]    (broker COMMAND --help explains one)",
            "",
            *lines,
            "",
            "Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 not authenticated, 5 not found,",
            "            6 verification failed, 130 interrupted",
        ]
    )


def _broker_errors(group: BaseExceptionGroup[BaseException]) -> Iterator[BrokerError]:
    for inner in group.exceptions:
        if isinstance(inner, BrokerError):
            yield inner
        elif isinstance(inner, BaseExceptionGroup):
            yield from _broker_errors(inner)  # pyright: ignore[reportUnknownArgumentType]
