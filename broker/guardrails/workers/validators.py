"""The broker's guards as validators of guardrails-ai: `from broker.guardrails.workers.validators import …`.

    from guardrails import Guard
    guard = Guard().use(broker_guard("secrets"), on="output")

For whoever has guardrails-ai; the broker itself never imports this.
"""

from importlib import import_module
from typing import Any

from broker.guardrails.armed import Armed
from broker.guardrails.conduct import Conduct, Guard, Rule, Ruling
from broker.guardrails.interface import Action
from broker.guardrails.message import Message, Passage
from broker.guardrails.registry import GUARDS
from broker.guardrails.scene import Scene, Stage
from broker.guardrails.spans import resolve, rewritten
from broker.model import Kind, Target

_NOWHERE = Scene(Target(Kind.TOOL, "", "", "", {}))


def broker_guard(name: str, on_fail: str = "noop") -> Any:
    """One of the broker's detectors as a validator `broker/<name>`, which finds and redacts.

    Args:
        name: of the guard, e.g. `secrets`.
        on_fail: an `OnFailAction` of guardrails-ai.

    Raises:
        KeyError: there is no such guard.
    """
    guardrails, types = import_module("guardrails"), import_module("guardrails_ai.types")
    detector = GUARDS[name](None)
    everything = Rule(frozenset(Stage), None, None, None, {"*": Ruling(Action.REDACT)})
    armed = Armed(Conduct((Guard(detector, (everything,), frozenset(), Action.BLOCK),)))

    def validate(_self: Any, value: Any, _metadata: Any) -> Any:
        text = str(value)
        message = Message([Passage(text)], Stage.RESULT, _NOWHERE)
        verdicts = resolve(armed.look(message, armed.conduct.rulings(Stage.RESULT, _NOWHERE)))
        if not verdicts:
            return types.PassResult()
        return types.FailResult(
            error_message=f"{name}: {', '.join(sorted({verdict.type for verdict in verdicts}))}",
            fix_value=rewritten(text, verdicts, lambda verdict, _: f"[redacted:{verdict.type}]"),
            error_spans=[types.ErrorSpan(start=v.start, end=v.end, reason=v.type) for v in verdicts],
        )

    validator = type(f"Broker_{name}", (guardrails.Validator,), {"_validate": validate})
    register = guardrails.register_validator(name=f"broker/{name}", data_type="string")
    return register(validator)(on_fail=on_fail)
