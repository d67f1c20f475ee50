"""How does an agent read on the command line, and where does its secret go?"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from broker.edges.cli.composition import Office
from broker.edges.cli.output import Output, dollars
from broker.errors import ConfigurationError, UnknownTarget
from broker.model import Agent, AgentId

COLUMNS = ("agent", "status", "organisation", "team", "roles", "cap", "owner")


def row(agent: Agent) -> dict[str, object]:
    """An agent on one line, as data."""
    return {
        "agent": agent.id,
        "status": agent.status,
        "organisation": agent.organisation,
        "team": agent.team,
        "roles": sorted(agent.roles),
        "cap": dollars(agent.cap_micro_usd) if agent.cap_micro_usd is not None else None,
        "owner": agent.owner,
    }


async def known(office: Office, name: str) -> Agent:
    """An agent by its id.

    Raises:
        UnknownTarget: there is none.
    """
    agent = await office.store.agents.agent(AgentId(name))
    if agent is None:
        raise UnknownTarget(f"there is no agent `{name}`", hint="`broker agent list` shows all")
    return agent


@contextmanager
def kept(secret: str, file: Path | None) -> Generator[None]:
    """Keep a secret in a file while what makes it valid is done; where that fails the file goes again.

    The file comes first: a secret that cannot be kept would be lost for good. Only its owner reads it.

    Raises:
        ConfigurationError: there is such a file already, or it cannot be made.
    """
    if file is None:
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"`{file}` exists already", hint="remove it, or name another file") from None
    except OSError as error:
        raise ConfigurationError(f"cannot write `{file}`: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(secret + "\n")
    try:
        yield
    except BaseException:
        file.unlink()
        raise


def hand_over(agent: Agent, secret: str, secret_file: Path | None, output: Output) -> None:
    """Show the secret, once, or say in which file it is."""
    facts = row(agent) | {"client_id": agent.id}
    if secret_file is None:
        text = f"client id      {agent.id}\nclient secret  {secret}"
        output.item(facts | {"client_secret": secret}, text)
        output.note("the secret is not shown again")
        return
    path = str(secret_file.absolute())
    output.item(facts | {"secret_file": path}, f"client id      {agent.id}\nsecret file    {path}")


def warn_of_unknown_roles(policies: Path, roles: frozenset[str], output: Output) -> None:
    """Say which roles permit nothing, because no policy defines them."""
    from broker.policy.engine import PolicyEngine

    defined = PolicyEngine(policies).roles
    for role in sorted(roles - defined):
        output.note(
            f"no policy defines the role `{role}`, so it permits nothing;"
            f" defined: {', '.join(sorted(defined))}"
        )
