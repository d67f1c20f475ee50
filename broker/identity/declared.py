"""Which agents should there be? A file that operators review, and what it would change.

    agents:
      - agent: researcher
        organisation: acme
        roles: [reader]
        owner: dana
        cap: "2.50"

The file never deletes and never resumes: an agent that it does not name is reported, and suspended only
on request; one that an operator suspended stays so until an operator resumes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from broker.documents import Node, read_yaml
from broker.errors import InvalidRequest
from broker.identity.records import MOST_ATTRIBUTES, attribute_of, micro_usd, name_of, text_of
from broker.model import Agent, AgentId, AgentStatus, OrganisationId

_KEYS: Final = (
    "agent",
    "organisation",
    "team",
    "roles",
    "owner",
    "purpose",
    "model",
    "model_version",
    "cap",
    "attributes",
)
_DECIDED: Final = (
    "team",
    "roles",
    "owner",
    "purpose",
    "model",
    "model_version",
    "cap_micro_usd",
    "attributes",
)
"""What of a record the file decides."""
_SIGNED: Final = frozenset({"model", "model_version"})


class Kind(StrEnum):
    """How the file and the state differ about one agent."""

    ADD = "add"
    CHANGE = "change"
    SUSPEND = "suspend"
    ABSENT = "absent"
    """It is in the state and not in the file; nothing is done about it."""
    INACTIVE = "inactive"
    """It is in the file and was suspended or revoked; nothing is done about it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One agent about which file and state differ. `fields` are (as it is, as the file has it)."""

    kind: Kind
    agent: Agent
    fields: Mapping[str, tuple[Any, Any]]


def read_agents(path: Path) -> dict[AgentId, tuple[Agent, Node]]:
    """The agents that a file names, each with the place where it stands.

    Raises:
        ConfigurationError: with file and line.
    """
    agents: dict[AgentId, tuple[Agent, Node]] = {}
    root = read_yaml(path, str(path)).mapping(["agents"], required=["agents"])
    for node in root["agents"].items():
        agent = _agent(node)
        if agent.id in agents:
            raise node.error(f"`{agent.id}` is in the file already: {agents[agent.id][1].place}")
        agents[agent.id] = agent, node
    return agents


def differences(
    declared: Mapping[AgentId, tuple[Agent, Node]], present: Sequence[Agent], *, suspend_absent: bool
) -> list[Difference]:
    """How the file differs from the state, by agent.

    Args:
        declared: what the file says.
        present: what there is.
        suspend_absent: whether active agents that the file does not name are to be suspended.

    Raises:
        ConfigurationError: the file moves an agent to another organisation.
    """
    known = {agent.id: agent for agent in present}
    found = [_differs(agent, node, known.get(agent.id)) for agent, node in declared.values()]
    kind = Kind.SUSPEND if suspend_absent else Kind.ABSENT
    absent = [
        Difference(kind, agent, {})
        for agent in present
        if agent.id not in declared and agent.status is AgentStatus.ACTIVE
    ]
    return sorted([*filter(None, found), *absent], key=lambda difference: difference.agent.id)


def decided(agent: Agent, by: Agent) -> Agent:
    """An agent as it is, with what a file says of it; what the file does not decide stays."""
    return replace(agent, **{field: _wanted(agent, by, field) for field in _DECIDED})


def _wanted(is_now: Agent, declared: Agent, field: str) -> Any:
    """What a file wants a field to be. A model that it leaves out is for a signed manifest to say."""
    said = getattr(declared, field)
    if said is None and is_now.manifest is not None and field in _SIGNED:
        return getattr(is_now, field)
    return said


def _differs(agent: Agent, node: Node, is_now: Agent | None) -> Difference | None:
    if is_now is None:
        return Difference(Kind.ADD, agent, {field: (None, getattr(agent, field)) for field in _DECIDED})
    if is_now.organisation != agent.organisation:
        raise node.error(
            f"`{agent.id}` belongs to `{is_now.organisation}` and cannot move to `{agent.organisation}`",
            "enrol it under another name: its calls and costs stay where they are",
        )
    if is_now.status is not AgentStatus.ACTIVE:
        return Difference(Kind.INACTIVE, is_now, {"status": (is_now.status, AgentStatus.ACTIVE)})
    fields = {
        field: (getattr(is_now, field), wanted)
        for field in _DECIDED
        if getattr(is_now, field) != (wanted := _wanted(is_now, agent, field))
    }
    return Difference(Kind.CHANGE, agent, fields) if fields else None


def _agent(node: Node) -> Agent:
    given = node.mapping(_KEYS, required=("agent", "roles", "owner"))

    def said(key: str) -> str | None:
        return _checked(given[key], text_of) if key in given else None

    return Agent(
        id=AgentId(_checked(given["agent"], name_of)),
        organisation=OrganisationId(
            _checked(given["organisation"], name_of) if "organisation" in given else "default"
        ),
        roles=_roles(given["roles"]),
        team=said("team"),
        cap_micro_usd=_checked(given["cap"], micro_usd) if "cap" in given else None,
        owner=said("owner"),
        purpose=said("purpose"),
        model=said("model"),
        model_version=said("model_version"),
        attributes=_attributes(given["attributes"]) if "attributes" in given else {},
    )


def _roles(node: Node) -> frozenset[str]:
    roles = [role.text() for role in node.items()]
    if not roles:
        raise node.error("an agent needs a role", "name one of the policies' roles")
    return frozenset(roles)


def _attributes(node: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in node.pairs("write `key: value` pairs of texts"):
        if len(found) == MOST_ATTRIBUTES:
            raise key.error(f"an agent has at most {MOST_ATTRIBUTES} attributes")
        if not value.text():
            raise value.error("an attribute is empty", "leave it out")
        try:
            name, text = attribute_of(key.text(), value.text())
        except InvalidRequest as error:
            raise key.error(error.message, error.hint) from error
        found[name] = text
    return found


def _checked(node: Node, check: Callable[[str], Any]) -> Any:
    try:
        return check(node.text())
    except InvalidRequest as error:
        raise node.error(error.message, error.hint) from error
