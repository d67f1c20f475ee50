"""Who may agree? `policies/approvals.yaml`, and what it makes of the rules' questions.

    approvers:
      team-lead:
        people: [dana, erik]     # nobody else; without it, every operator who may decide on approvals
        four_eyes: true          # two different people
        not_owner: true          # nobody who owns an agent of the chain

With the file, what is asked of a role that it does not name can be granted by nobody: a typo makes
nothing laxer. Without it every operator may agree. What a rule asks for can only become stricter here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from broker.approvals.interface import Term
from broker.documents import Node, read_yaml

FILE = "approvals.yaml"
_KEYS = frozenset({"people", "four_eyes", "not_owner"})


_OPERATOR: Final = "operator:"


@dataclass(frozen=True, slots=True)
class Human:
    """Whoever decides: a user of the broker's machine, or `operator:<id>` by the operator API."""

    id: str

    @property
    def person(self) -> str:
        """Who it is, by whichever way they come."""
        return person(self.id)


def person(human: str) -> str:
    """Who somebody is. One name is one person: they do not become two by coming in two ways."""
    return human.removeprefix(_OPERATOR)


@dataclass(frozen=True, slots=True)
class Approvers:
    """What is asked of the people of one role. `people` None: every operator."""

    people: frozenset[str] | None = None
    four_eyes: bool = False
    not_owner: bool = False


@dataclass(frozen=True, slots=True)
class People:
    """Who may agree, by role; None: every operator, to everything."""

    roles: Mapping[str, Approvers] | None = None

    def include(self, human: Human, role: str) -> bool:
        """Whether somebody may agree where `role` is asked for."""
        if self.roles is None:
            return True
        approvers = self.roles.get(role)
        if approvers is None:
            return False
        return approvers.people is None or human.person in approvers.people

    def stricter(self, term: Term) -> Term:
        """What a rule asks for, with what is asked of its approvers in any case."""
        said = (self.roles or {}).get(term.approver, _NOTHING)
        return replace(
            term,
            four_eyes=term.four_eyes or said.four_eyes,
            not_owner=term.not_owner or said.not_owner,
        )


_NOTHING = Approvers()


def read_people(policies: Path) -> People:
    """Read `approvals.yaml` in a policies folder; without the file everybody may agree.

    Raises:
        ConfigurationError: a mistake in it, with file and line.
    """
    path = policies / FILE
    if not path.is_file():
        return People()
    fields = read_yaml(path, FILE).mapping({"approvers"}, required={"approvers"})
    return People({role.text(): _approvers(said) for role, said in fields["approvers"].pairs()})


def _approvers(node: Node) -> Approvers:
    fields = node.mapping(_KEYS)
    people = None
    if "people" in fields:
        people = frozenset(person(name.text()) for name in fields["people"].items())
        if not people:
            raise fields["people"].error(
                "nobody could agree", hint="name at least one person, or leave `people` out"
            )
    approvers = Approvers(people, _flag(fields.get("four_eyes")), _flag(fields.get("not_owner")))
    if people is not None and approvers.four_eyes and len(people) < 2:
        raise node.error("one person cannot be two", hint="name two people, or leave `four_eyes` out")
    return approvers


def _flag(node: Node | None) -> bool:
    return node is not None and node.flag()
