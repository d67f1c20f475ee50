"""What does the demo show? Each scene is one function, and every word it prints comes from a real call."""

from collections.abc import Mapping

from broker.audit.verify import verify
from broker.edges.cli.composition import App
from broker.edges.cli.records import story
from broker.edges.cli.tour.cast import Player, Reply
from broker.edges.cli.tour.place import Place
from broker.edges.cli.tour.screen import Screen, outcome
from broker.edges.records import call_records


async def what_each_sees(screen: Screen, players: Mapping[str, Player]) -> None:
    """Listing and calling use the same rules."""
    screen.scene("what an agent sees is what its roles allow; the rest does not exist for it")
    for player in players.values():
        names = [str(tool["name"]) for tool in player.tools]
        screen.text(player.name, f"{len(names)} tools: {', '.join(names)}")


async def permitted_call(screen: Screen, researcher: Player, place: Place) -> None:
    """A call that goes through: both upstreams answer."""
    screen.scene("a permitted call")
    for tool, arguments in (
        ("time__get_current_time", {"timezone": "UTC"}),
        ("git__git_log", {"repo_path": str(place.repository), "max_count": 1}),
    ):
        reply = await researcher.call(tool, **arguments)
        screen.line(researcher.name, f"{tool}  ({reply.took_ms:.0f} ms)")
        screen.line("ok", " ".join(reply.text.split()), "green")


async def refused_call(screen: Screen, researcher: Player, maintainer: Player, place: Place) -> None:
    """The same call by two agents: one reads the reason why not, the other may."""
    screen.scene("the same call by two agents: refused with the reason, and permitted")
    arguments = {"repo_path": str(place.repository), "message": "add a changelog"}
    for player in (researcher, maintainer):
        reply = await player.call("git__git_commit", **arguments)
        screen.line(player.name, 'git__git_commit message="add a changelog"')
        outcome(screen, reply)


async def redacted_secret(screen: Screen, researcher: Player, place: Place) -> Reply:
    """A commit holds an access key. The upstream hands it out, the broker does not."""
    screen.scene("a secret in a result is removed before anybody reads it")
    reply = await researcher.call("git__git_show", repo_path=str(place.repository), revision="HEAD~1")
    screen.line(researcher.name, "git__git_show revision=HEAD~1")
    kept = _key_line((place.repository / "deploy.env").read_text(encoding="utf-8"))
    handed_out = _key_line(reply.text)
    screen.line("in the file", f"{kept[:-8]}…")
    screen.line("handed out", handed_out, "red" if kept in handed_out else "green")
    return reply


async def call_record(screen: Screen, app: App, reply: Reply) -> None:
    """What the log holds about the call with the secret in it: never the secret."""
    screen.scene(f"the record of the call with the secret    broker calls show {reply.call}")
    for what, text in story(await call_records(app.store.log, reply.call)):
        if what != "call":
            screen.line(what, text)


async def verified_log(screen: Screen, app: App) -> None:
    """Every record is hashed again and every promise checked."""
    screen.scene("the log proves itself    broker audit verify")
    key = app.keys.checkpoint.public_key().public_bytes_raw()
    report = await verify(app.store.log, keys=[key])
    for log in report.logs:
        screen.line(log.name, f"{log.size} records, root {log.root.hex()[:32]}…")
    for problem in report.problems:
        screen.line("wrong", f"{problem.log} #{problem.seq}: {problem.what}", "red")
    if report.ok:
        screen.line("verified", "hashes, order, money and meaning of every record", "green")


def _key_line(text: str) -> str:
    return next((line for line in text.splitlines() if "AWS_ACCESS_KEY_ID" in line), text).lstrip("+")
