"""How does the demo look? Numbered scenes, one actor and one fact per line, nothing wider than a terminal."""

import textwrap

from broker.edges.cli.ink import Ink, visible
from broker.edges.cli.tour.cast import Reply

WIDTH = 100
_LABEL = 12


class Screen:
    """Prints the story."""

    def __init__(self, ink: Ink) -> None:
        self.ink = ink
        self._scenes = 0

    def title(self, name: str, what: str) -> None:
        """The first line."""
        print(f"{self.ink('bold', name)}  {what}", flush=True)

    def scene(self, title: str) -> None:
        """A new scene."""
        self._scenes += 1
        print(f"\n{self.ink('cyan', str(self._scenes))}  {self.ink('bold', title)}", flush=True)

    def line(self, label: str, text: str, style: str | None = None) -> None:
        """A label and what there is to say, cut to one line."""
        self._print(label, textwrap.shorten(visible(text), WIDTH - _LABEL - 3, placeholder=" …"), style)

    def text(self, label: str, text: str, style: str | None = None) -> None:
        """A label and all there is to say, on as many lines as it takes."""
        for part in visible(text).splitlines():
            for wrapped in textwrap.wrap(part, WIDTH - _LABEL - 3) or [""]:
                self._print(label, wrapped, style)
                label = ""

    def paste(self, line: str) -> None:
        """Something to copy: as it is, however long."""
        print(f"   {line}".rstrip(), flush=True)

    def _print(self, label: str, text: str, style: str | None) -> None:
        shown = self.ink(style, label.ljust(_LABEL)) if style else label.ljust(_LABEL)
        print(f"   {shown}{text}".rstrip(), flush=True)


def outcome(screen: Screen, reply: Reply) -> None:
    """What became of a call: its answer, or why it was refused."""
    if reply.result.get("isError") is True:
        screen.text("refused", reply.text, "red")
    else:
        screen.line("ok", " ".join(reply.text.split()), "green")
