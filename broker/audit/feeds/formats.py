"""Which formats are there? Each turns what happened into lines."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial

import orjson

from broker.audit.feeds import cef, ocsf, otel
from broker.audit.feeds.told import Told, told
from broker.audit.interface import CallFilter, LogHead, LogReader

BATCH = 500
Lines = Callable[[Sequence[Told]], Iterator[bytes]]


async def feed(
    log: LogReader, heads: Sequence[LogHead], where: CallFilter, lines: Lines
) -> AsyncIterator[bytes]:
    """Everything that fits, log by log, oldest first, as lines of a format.

    Args:
        log: where it is read.
        heads: which logs, and how far.
        where: which calls.
        lines: one of `FORMATS`.
    """
    for head in heads:
        batch: list[Told] = []
        async for one in told(log, head, where):
            batch.append(one)
            if len(batch) == BATCH:
                for line in lines(batch):
                    yield line
                batch.clear()
        for line in lines(batch) if batch else ():
            yield line


def _ocsf(batch: Sequence[Told]) -> Iterator[bytes]:
    return (orjson.dumps(event) + b"\n" for one in batch for event in ocsf.events(one))


def _cef(batch: Sequence[Told]) -> Iterator[bytes]:
    return (cef.line(one).encode() + b"\n" for one in batch)


def _otlp(batch: Sequence[Told]) -> Iterator[bytes]:
    calls = [one for one in batch if one.is_call]
    if calls:
        yield orjson.dumps(otel.request(calls)) + b"\n"


def _jsonl(batch: Sequence[Told]) -> Iterator[bytes]:
    dump = partial(
        orjson.dumps, option=orjson.OPT_SORT_KEYS
    )  # the very bytes of the records: that is their form
    for one in batch:
        if one.first is not one.last:
            yield dump(one.first) + b"\n"
        yield dump(one.last) + b"\n"


FORMATS: Mapping[str, Lines] = {"jsonl": _jsonl, "ocsf": _ocsf, "otlp": _otlp, "cef": _cef}
