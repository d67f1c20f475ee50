"""The other side: runs validators of guardrails-ai in an environment of their own. One JSON object a line.

    python -I runner.py
    <- {"validators": [{"use": "package.module:Class", "with": {"regex": ".."}}], "egress": false}
    -> {"ready": true}
    <- {"texts": ["..."]}
    -> {"spans": [[text, start, end, validator], ...]}

Only the standard library and guardrails-ai are imported, never the broker. Validators are called one after
the other and directly: guardrails-ai's own `Guard` merges their corrections wrongly where they overlap, keeps
what it has read, and mixes streams up. Whatever fails ends the process: silence is no clean bill.
"""

import importlib
import json
import os
import sys
from typing import Any


def main() -> None:
    """Read a line, answer it, until the other side has gone."""
    lines, answers = sys.stdin, os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    order = json.loads(lines.readline())
    if not order["egress"]:
        sys.addaudithook(_stay_home)
    _quiet()
    validators = [_validator(one) for one in order["validators"]]
    _answer(answers, {"ready": True})
    for line in lines:
        texts = json.loads(line)["texts"]
        spans = [span for number, text in enumerate(texts) for span in _spans(number, text, validators)]
        _answer(answers, {"spans": spans})


def _stay_home(event: str, _: tuple[Any, ...]) -> None:
    """An audit hook (PEP 578) cannot be removed again."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise PermissionError(f"{event}: a validator wants to speak to somebody; `egress: allow` lets it")


def _without_metrics(*_: Any) -> Any:
    """In place of `RC.load`, which reads a file that says to send."""
    return importlib.import_module("guardrails.classes.rc").RC(enable_metrics=False)


def _quiet() -> None:
    """Telemetry is on by default, and every `Guard` reads the settings again: so the reading is replaced."""
    rc = importlib.import_module("guardrails.classes.rc").RC
    rc.load = _without_metrics
    settings = importlib.import_module("guardrails").settings
    settings.rc = rc(enable_metrics=False)
    if settings.rc.enable_metrics or rc.load().enable_metrics:
        raise RuntimeError("the telemetry of guardrails-ai cannot be switched off")


def _validator(order: Any) -> Any:
    module, _, name = order["use"].partition(":")
    return getattr(importlib.import_module(module), name)(**order["with"])


def _spans(number: int, text: str, validators: list[Any]) -> list[list[int]]:
    """Where a validator names no place, the whole text is meant. Its correction may be invented."""
    spans: list[list[int]] = []
    for which, validator in enumerate(validators):
        result = validator.validate(text, {})
        if result.outcome == "pass":
            continue
        places = [(span.start, span.end) for span in result.error_spans or ()] or [(0, len(text))]
        spans += [[number, start, end, which] for start, end in places]
    return spans


def _answer(answers: Any, answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
