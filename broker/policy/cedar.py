# pyright: reportUnknownMemberType=false
# cedarpy annotates with bare `dict`; the types are known from here on.
"""What does Cedar answer? The edge to cedarpy: typed questions, and answers that are clear or failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import cedarpy

Entity = Mapping[str, Any]
"""One entity in Cedar's JSON form."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `failed`: no decision, or some rule could not be evaluated and was skipped.

    Cedar allows when a forbid is skipped, so whoever asks must refuse what has failed.
    """

    allowed: bool
    failed: bool
    rules: tuple[str, ...]
    """The @id of every rule that decided."""


def misfit(text: str, schema: cedarpy.Schema) -> str | None:
    """Why a policy does not fit the schema; None if it does."""
    result = cedarpy.validate_policies(text, schema)
    if result.validation_passed:
        return None
    return min((e.error for e in result.errors), key=_telling, default="does not fit the schema")


def _telling(problem: str) -> tuple[bool, bool, str]:
    """Cedar gives several in any order: those that only follow come last, those about tools first."""
    return "unable to find" in problem, "`Tool`" not in problem, problem


def parse_entities(entities: Sequence[Entity], schema: cedarpy.Schema) -> cedarpy.Entities:
    """A base of entities.

    Raises:
        ValueError: an entity does not fit the schema, or holds what is no Unicode text.
    """
    return cedarpy.Entities.from_json_str(json.dumps(entities), schema)


def with_entity(base: cedarpy.Entities, entity: Entity, schema: cedarpy.Schema) -> cedarpy.Entities:
    """The base and one entity more; the base is not changed.

    Raises:
        ValueError: as `parse_entities`.
    """
    return base.with_added_json_str(json.dumps([entity]), schema)


def ask(
    questions: list[dict[str, Any]], policies: cedarpy.PolicySet, entities: cedarpy.Entities
) -> list[Answer]:
    """One answer for each question, in order.

    Raises:
        ValueError: Cedar answered something else.
    """
    results = cedarpy.is_authorized_batch(questions, policies, entities)
    if len(results) != len(questions):
        raise ValueError(f"{len(questions)} questions, {len(results)} answers")
    return [_answer(result) for result in results]


def _answer(result: cedarpy.AuthzResult) -> Answer:
    undecided = result.decision is cedarpy.Decision.NoDecision
    rules = cast("dict[str, str]", result.diagnostics.id_annotations_by_reason)
    return Answer(
        allowed=result.decision is cedarpy.Decision.Allow,
        failed=undecided or bool(result.diagnostics.errors),
        rules=tuple(sorted(rules.values())),
    )
