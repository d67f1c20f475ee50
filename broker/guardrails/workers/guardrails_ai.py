"""What do validators of guardrails-ai say? Any of them, named in a policy file, run by a worker process.

    guard: guardrails-ai
    settings:
      python: /opt/guards/bin/python       # the environment that they are installed in
      validators:
        - use: guardrails_ai.regex_match:RegexMatch
          type: ticket-number              # what findings are called
          with: {regex: "^(?!.*TICKET-)", match_type: search}
    rules:
      - do: {"*": block}

They live in an environment of their own: installed beside the broker, guardrails-ai makes every import of
jsonschema twenty times as slow. The worker has an empty home, nothing of the broker's environment, telemetry
switched off and, unless allowed, no network. A worker that fails or is too slow is ended, and the message
counts as not read.
"""

import json
import queue
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import yaml

from broker.documents import Node
from broker.errors import ConfigurationError
from broker.guardrails.interface import Span
from broker.guardrails.message import Message
from broker.guardrails.scene import Stage
from broker.model import Json

_RUNNER = Path(__file__).with_name("runner.py")
_WORKERS = 2
"""Processes at most; each takes about 120 MB, and the second starts when the first is busy."""

_START_S = 60.0
"""Seconds in which a worker has to be ready: its imports alone take several."""


@dataclass(frozen=True, slots=True)
class Order:
    """One validator: its class, what it is made with, and what its findings are called."""

    use: str
    type: str
    arguments: Mapping[str, Any]


class WorkerError(Exception):
    """The worker has ended, or answers nonsense."""


class GuardrailsAi:
    """The reviewer `guardrails-ai`.

    Args:
        python: the interpreter of the environment that the validators are installed in.
        orders: the validators, in the order in which they read.
        egress: whether they may speak to the network.
        within_s: seconds after which a message counts as not read.
    """

    name = "guardrails-ai"
    version = 1
    stages = frozenset(Stage)

    def __init__(self, python: Path, orders: Sequence[Order], *, egress: bool, within_s: float) -> None:
        self._orders = orders
        self._start = {
            "validators": [{"use": order.use, "with": order.arguments} for order in orders],
            "egress": egress,
        }
        self._python = python
        self._free: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        """The workers that have nothing to do; None: one that has not been started, or was ended."""
        for _ in range(_WORKERS):
            self._free.put(None)
        self._threads = anyio.CapacityLimiter(_WORKERS)
        self._within_s = within_s
        self.within_s = _START_S + within_s
        self.types: Mapping[str, str] = {order.type: "validators" for order in orders}

    async def review(self, message: Message, found: Sequence[Span]) -> Sequence[Span]:  # noqa: ARG002 - validators read for themselves
        """See `Reviewer.review`."""
        numbers = [n for n, p in enumerate(message.passages) if p.value and not p.is_number]
        texts = [message.passages[number].value for number in numbers]
        answer = await anyio.to_thread.run_sync(self._ask, {"texts": texts}, limiter=self._threads)
        return [
            self._span(message, numbers[text], start, end, which)
            for text, start, end, which in cast("list[tuple[int, int, int, int]]", answer["spans"])
        ]

    def _span(self, message: Message, number: int, start: int, end: int, which: int) -> Span:
        first, last = message.bounds(number)
        if not 0 <= start < end <= last - first:
            raise WorkerError("a validator names a place that is not in the text")
        return Span(
            *_whole_words(message.text, first + start, first + end, first, last), self._orders[which].type
        )

    def _ask(self, question: Json) -> Json:
        """Runs in a thread. A worker takes one question at a time; one that fails is replaced by another.

        The worker that was busy last is asked first, so a second one starts only when it is needed.
        """
        worker = self._free.get()
        try:
            if worker is None:
                worker = _Worker(self._python)
                worker.ask(self._start, _START_S)
            return worker.ask(question, self._within_s)
        except Exception:
            if worker is not None:
                worker.end()
            worker = None
            raise
        finally:
            self._free.put(worker)


def _whole_words(text: str, start: int, end: int, first: int, last: int) -> tuple[int, int]:
    """Places that validators name can be off by a character: redacted as they are, a part would stay."""
    while start > first and text[start - 1].isalnum():
        start -= 1
    while end < last and text[end].isalnum():
        end += 1
    return start, end


class _Worker:
    """One process. It ends with this object, and by itself when the broker does."""

    def __init__(self, python: Path) -> None:
        home = tempfile.mkdtemp(prefix="broker-guards-")
        self._process = subprocess.Popen(  # noqa: S603 - named by the operator, no shell
            [str(python), "-I", str(_RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may hold what was read
            env=_environment(home),
            cwd=home,
            encoding="utf-8",
        )
        self.end = weakref.finalize(self, _end, self._process, home)

    def ask(self, question: Json, within_s: float) -> Json:
        """Raises WorkerError: it has ended, or was ended because it took too long."""
        assert self._process.stdin is not None  # noqa: S101 - opened above
        assert self._process.stdout is not None  # noqa: S101
        late = threading.Timer(within_s, self._process.kill)
        late.daemon = True
        late.start()
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError as error:
            raise WorkerError("the worker has ended") from error
        finally:
            late.cancel()
        if not line:
            raise WorkerError("the worker has ended: a validator is not installed, failed, or took too long")
        return cast("Json", json.loads(line))


def _end(process: "subprocess.Popen[str]", home: str) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was not sent is not needed any more
                pipe.close()
    shutil.rmtree(home, ignore_errors=True)


def _environment(home: str) -> dict[str, str]:
    """Nothing of the broker's own: no secrets, no proxies, no cloud settings."""
    return {
        "HOME": home,
        "TMPDIR": home,
        "LANG": "C.UTF-8",
        "OTEL_SDK_DISABLED": "true",
        "GUARDRAILS_RUN_SYNC": "true",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HUB_OFFLINE": "1",
    }


def make_guardrails_ai(settings: Node | None) -> GuardrailsAi:
    """The guard `guardrails-ai`. Its settings: `python`, `validators`, `egress` (deny, allow), `within_ms`.

    Raises:
        ConfigurationError: a mistake, with file and line.
    """
    if settings is None:
        raise ConfigurationError(
            "the guard `guardrails-ai` has no `settings`", hint="name `python` and `validators` there"
        )
    fields = settings.mapping(
        ("python", "validators", "egress", "within_ms"), required=("python", "validators")
    )
    python = Path(fields["python"].text())
    if not python.is_absolute() or not python.is_file():
        raise fields["python"].error(
            f"`{python}` is no interpreter", "the absolute path of an environment's bin/python"
        )
    orders = [_order(item) for item in fields["validators"].items()]
    for item, order in zip(fields["validators"].items(), orders, strict=True):
        if [one.type for one in orders].count(order.type) > 1:
            raise item.error(f"two validators have the type `{order.type}`", "give one another `type`")
    egress = "egress" in fields and fields["egress"].one_of(["deny", "allow"]) == "allow"
    within_ms = fields["within_ms"].text() if "within_ms" in fields else "2000"
    if not within_ms.isdigit() or not 10 <= int(within_ms) <= 60_000:
        raise fields["within_ms"].error(f"`{within_ms}` is no time", "milliseconds, 10 to 60000, in quotes")
    return GuardrailsAi(python, orders, egress=egress, within_s=int(within_ms) / 1000)


def _order(node: Node) -> Order:
    fields = node.mapping(("use", "type", "with"), required=("use",))
    use = fields["use"].text()
    module, colon, name = use.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise fields["use"].error(f"`{use}` names no class", "write `package.module:Class`")
    kind = fields["type"].text() if "type" in fields else name
    return Order(use, kind, _plain(fields["with"]) if "with" in fields else dict[str, Any]())


def _plain(node: Node) -> Mapping[str, Any]:
    """What a validator is made with, as YAML has it."""
    node.pairs("`with` holds the arguments of the validator")
    loader = yaml.SafeLoader("")
    try:
        value = cast("Any", loader.construct_document(node.yaml))  # pyright: ignore[reportUnknownMemberType] - no stubs
    finally:
        loader.dispose()  # pyright: ignore[reportUnknownMemberType]
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise node.error("holds a value that JSON has no word for", "put dates in quotes") from error
    return cast("Mapping[str, Any]", value)
