"""Does a name fit a pattern? In a pattern `*` stands for any text, and nothing else has a meaning."""


def matches(glob: str, name: str) -> bool:
    """Whether `name` is `glob`, in which `*` stands for any text. Case matters; linear in the name."""
    head, *rest = glob.split("*")
    if not rest:
        return name == glob
    *middle, tail = rest
    if not name.startswith(head) or len(name) < len(head) + len(tail) or not name.endswith(tail):
        return False
    at, end = len(head), len(name) - len(tail)
    for part in middle:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def covers(wide: str, narrow: str) -> bool:
    """Whether every name that fits the pattern `narrow` fits `wide` too.

    The text of a pattern is itself a name: where `wide` matches it with its `*` left standing, each
    of them lies within a `*` of `wide`, whatever it stands for. May say no where yes would be true.
    """
    return matches(wide, narrow)
