"""What speaks of an order in a text? Sequences of concepts, each with the reason why it does.

A rule has an anchor, the concept that is looked for everywhere; its other concepts are looked for only
around places of the anchor. So what a text costs depends on how much in it speaks of orders.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from broker.guardrails.injection.concepts import Concept

_FILE = Path(__file__).parent / "data" / "injection.toml"
_LONGEST_PHRASE = 40
_TRIES = 4
"""How many places of a concept are tried as the next step of a sequence."""
_SENTENCE_ENDS = ("\x01", ". ", "! ", "? ", ".\n", "\n\n", "。")
_SEAM = ("\x01",)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place that speaks of an order."""

    start: int
    end: int
    rule: str
    family: str
    weight: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A sequence of concepts: `gaps[i]` is the most characters between concept i and the next."""

    id: str
    family: str
    weight: int
    concepts: tuple[str, ...]
    gaps: tuple[int, ...]
    anchor: int
    across: bool
    """Whether it may reach across the end of a sentence."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules and the concepts they are made of."""

    concepts: Mapping[str, Concept]
    rules: tuple[Rule, ...]
    of_literal: Mapping[str, tuple[tuple[Rule, Concept], ...]]
    """By phrase, the rules that it is an anchor of."""
    helpers: tuple[Rule, ...]
    """Rules that count only beside other evidence, so that they are looked for only there."""

    def match(self, rule: Rule, lower: str, start: int, end: int) -> tuple[int, int] | None:
        """The stretch that a rule describes around a place of its anchor, if it is there."""
        ends = _SEAM if rule.across else _SENTENCE_ENDS
        first = self._backward(rule, lower, start, rule.anchor, ends)
        last = self._forward(rule, lower, end, rule.anchor, ends)
        return None if first is None or last is None else (first, last)

    def _forward(self, rule: Rule, lower: str, at: int, step: int, ends: Sequence[str]) -> int | None:
        if step == len(rule.gaps):
            return at
        gap = rule.gaps[step]
        limit = _limit(lower, at, min(len(lower), at + gap + _LONGEST_PHRASE), ends)
        places = self.concepts[rule.concepts[step + 1]].within(lower, at, limit)
        for start, end in [place for place in places if place[0] - at <= gap][:_TRIES]:
            last = self._forward(rule, lower, end, step + 1, ends)
            if last is not None and start >= at:
                return last
        return None

    def _backward(self, rule: Rule, lower: str, at: int, step: int, ends: Sequence[str]) -> int | None:
        if step == 0:
            return at
        gap = rule.gaps[step - 1]
        low = max(0, at - gap - _LONGEST_PHRASE)
        for mark in ends:
            found = lower.rfind(mark, low, at)
            low = max(low, found + len(mark)) if found >= 0 else low
        places = self.concepts[rule.concepts[step - 1]].within(lower, low, at)
        for start, end in [place for place in reversed(places) if at - place[1] <= gap][:_TRIES]:
            first = self._backward(rule, lower, start, step - 1, ends)
            if first is not None and end <= at:
                return first
        return None


def _limit(lower: str, start: int, end: int, ends: Sequence[str]) -> int:
    for mark in ends:
        found = lower.find(mark, start, end)
        if found >= 0:
            end = found
    return end


@cache
def rule_set() -> RuleSet:
    """The rules that come with the broker."""
    file = tomllib.loads(_FILE.read_text("utf-8"))
    concepts = {name: Concept(phrases) for name, phrases in file["concepts"].items()}
    rules = tuple(_rule(entry) for entry in file["rules"])
    of_literal: dict[str, list[tuple[Rule, Concept]]] = {}
    for rule, entry in zip(rules, file["rules"], strict=True):
        if not entry.get("helper", False):
            concept = concepts[rule.concepts[rule.anchor]]
            for phrase in concept.phrases:
                of_literal.setdefault(phrase, []).append((rule, concept))
    helpers = tuple(r for r, entry in zip(rules, file["rules"], strict=True) if entry.get("helper", False))
    return RuleSet(concepts, rules, {k: tuple(v) for k, v in of_literal.items()}, helpers)


def _rule(entry: Mapping[str, Any]) -> Rule:
    concepts = tuple(part for part in entry["sequence"] if isinstance(part, str))
    return Rule(
        id=entry["id"],
        family=entry["family"],
        weight=entry["weight"],
        concepts=concepts,
        gaps=tuple(part for part in entry["sequence"] if isinstance(part, int)),
        anchor=concepts.index(entry["anchor"]) if "anchor" in entry else 0,
        across=entry.get("across", False),
    )


def evidence(lower: str, hits: Mapping[str, Sequence[int]]) -> Iterator[Evidence]:
    """All that the rules find in a text in lower case, given the places of their anchors."""
    rules = rule_set()
    for phrase, ends in hits.items():
        for rule, concept in rules.of_literal.get(phrase, ()):
            until = -1
            for end in ends:
                if end - len(phrase) < until or not concept.stands(phrase, lower, end):
                    continue
                found = rules.match(rule, lower, end - len(phrase), end)
                if found is not None:
                    until = found[1]
                    yield Evidence(*found, rule.id, rule.family, rule.weight)
