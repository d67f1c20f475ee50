"""Which records speak of what? Each file of a pack is a selection of the log, line by line."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from broker.audit.interface import Event

Facts = Mapping[str, Any]
_QUARANTINED = "quarantined"
HUMAN_ONLY = (
    "serious_incident",
    "harm",
    "persons_affected",
    "causal_link",
    "corrective_action",
    "authority_informed_at",
)
"""What the log cannot know of an incident (AI Act 73); empty until a human says it."""


@dataclass(frozen=True, slots=True)
class Section:
    """One file of a pack: the records of some types, as they are in the log or as `shape` has them.

    `shape` says None of a record that does not belong there.
    """

    file: str
    title: str
    events: frozenset[Event]
    shape: Callable[[Facts], object] | None = None


def line_of(section: Section, body: bytes) -> bytes | None:
    """What a section says of a record, on one line."""
    if section.shape is None:
        return body + b"\n"
    shaped = section.shape(orjson.loads(body))
    return None if shaped is None else orjson.dumps(shaped, option=orjson.OPT_SORT_KEYS) + b"\n"


def _found(record: Facts) -> object:
    """What guards have found in a call, and what was done about it."""
    if not record.get("findings"):
        return None
    kept = ("log", "seq", "ts", "type", "call", "agent", "outcome", "findings", "further_findings")
    return {name: record[name] for name in kept if name in record}


def _incident(record: Facts) -> object:
    """What may be an incident: what the log knows, and blanks for what only humans know. Of changed trust
    only what quarantined an agent.
    """
    if record["type"] == Event.TRUST_UPDATED and record["band"] != _QUARANTINED:
        return None
    return {
        "known": dict(record),
        "to_be_filled_in": dict.fromkeys(HUMAN_ONLY),
    }


SECTIONS = (
    Section(
        "controls/changes.jsonl",
        "Changes of policies, budgets, keys, operators and tool definitions",
        frozenset(
            {
                Event.POLICY_CHANGED,
                Event.BUDGET_CHANGED,
                Event.KEYS_ROTATED,
                Event.OPERATOR_ADDED,
                Event.OPERATOR_CHANGED,
                Event.DEFINITION_PINNED,
                Event.DEFINITION_QUARANTINED,
                Event.DEFINITION_APPROVED,
                Event.LOG_RESTORED,
            }
        ),
    ),
    Section(
        "oversight/decisions.jsonl",
        "What humans decided: approvals, stops, suspensions, revocations",
        frozenset(
            {
                Event.APPROVAL_REQUESTED,
                Event.APPROVAL_GRANTED,
                Event.APPROVAL_DENIED,
                Event.APPROVAL_REFUSED,
                Event.APPROVAL_EXPIRED,
                Event.APPROVAL_USED,
                Event.APPROVAL_REVOKED,
                Event.CALL_STOPPED,
                Event.AGENT_CREATED,
                Event.AGENT_CHANGED,
                Event.DELEGATION_REVOKED,
                Event.TOKEN_REVOKED,
                Event.TRANSACTION_DECLASSIFIED,
                Event.TRUST_RELEASED,
            }
        ),
    ),
    Section(
        "guardrails/decisions.jsonl",
        "What guards found in calls, and what was done about it",
        frozenset({Event.CALL_INTENT, Event.CALL_DENIED, Event.CALL_OUTCOME}),
        _found,
    ),
    Section(
        "guardrails/exceptions.jsonl",
        "Findings that humans marked as none (false positives)",
        frozenset({Event.GUARD_EXCEPTED}),
    ),
    Section(
        "trust/changes.jsonl",
        "How far agents were trusted, and because of which records",
        frozenset({Event.TRUST_UPDATED, Event.TRUST_RELEASED}),
    ),
    Section(
        "incidents/candidates.jsonl",
        "What may be an incident, shaped after AI Act 73",
        frozenset(
            {Event.CALL_UNKNOWN, Event.CALL_STOPPED, Event.DEFINITION_QUARANTINED, Event.OPERATOR_REFUSED}
            | {Event.LOG_RESTORED, Event.TRUST_UPDATED}
        ),
        _incident,
    ),
    Section(
        "privacy/requests.jsonl",
        "Access requests, erasures, readings of payloads, ends of retention",
        frozenset(
            {Event.SUBJECT_EXPORTED, Event.SUBJECT_ERASED, Event.PAYLOAD_ACCESSED, Event.LOG_PRUNED},
        ),
    ),
)
