"""The same text is dangerous in one field and harmless in another."""

import pytest

from broker.documents import read_yaml
from broker.errors import Blocked, ConfigurationError
from broker.guardrails.dangerous import payloads
from broker.guardrails.dangerous.detector import make_dangerous
from broker.guardrails.dangerous.roles import Role, role_of
from broker.guardrails.message import Message, Passage
from broker.guardrails.scene import Scene, Stage
from broker.model import Kind, Target
from tests.unit.guardrails.kit import SCENE, screen

SCHEMA = {
    "type": "object",
    "properties": {
        "where": {"type": "string", "format": "uri"},
        "items": {"type": "array", "items": {"properties": {"where": {"format": "path"}}}},
        "odd": [],
    },
}
TYPED = Target(Kind.TOOL, "files__read", "files", "read", {"inputSchema": SCHEMA})


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("../../../etc/passwd", "path-traversal"),
        ("..%2f..%2f..%2fboot", "path-traversal"),
        ("%252e%252e%252fsecret", "path-traversal"),
        ("%c0%ae%c0%ae/etc", "path-traversal"),
        ("a/../../b", "path-traversal"),
        ("..\\..\\windows", "path-traversal"),
        ("/etc/shadow", "sensitive-path"),
        ("/home/ann/.ssh/id_ed25519", "sensitive-path"),
        ("C:\\Windows\\System32\\config", "sensitive-path"),
        ("php://filter/read=x", "stream-wrapper"),
        ("report.pdf\0.png", "nul-byte"),
        ("../shared/utils.ts", "parent-path"),
        ("src/main.py", None),
        ("/home/ann/notes/2026..final.md", None),
        ("./x", None),
        ("/etcetera/x", None),
    ],
)
def test_paths(value: str, kind: str | None):
    assert payloads.in_path(value) == kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("1' OR '1'='1", "sql"),
        ("7; DROP TABLE users", "sql"),
        ("x UNION ALL SELECT name FROM users", "sql"),
        ("1 AND SLEEP(5)", "sql"),
        ("a; rm -rf /", "shell"),
        ("$(curl http://x.test)", "shell"),
        ("f47ac10b-58cc-4372-a567-0e02b2c3d479", None),
        ("ORDER-2024-17", None),
        ("ann@firma.de", None),
        ("O'Brien", None),
    ],
)
def test_identifiers(value: str, kind: str | None):
    assert payloads.in_id(value) == kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("http://169.254.169.254/latest/meta-data", "metadata-service"),
        ("http://2852039166/", "metadata-service"),
        ("http://0xa9fea9fe/", "metadata-service"),
        ("http://[::ffff:a9fe:a9fe]/", "metadata-service"),
        ("http://metadata.google.internal/", "metadata-service"),
        ("http://127.1/", "internal-address"),
        ("http://0177.0.0.1/", "internal-address"),
        ("http://localhost:8080/admin", "internal-address"),
        ("http://10.0.0.5/", "internal-address"),
        ("http://[fe80::1%25eth0]/", "internal-address"),
        ("http://127.0.0.1.nip.io/", "internal-address"),
        ("file:///etc/passwd", "url-scheme"),
        ("gopher://x.test:70/", "url-scheme"),
        ("https://bank.com@evil.test/", "deceptive-url"),
        ("http://[bad/", "malformed-url"),
        ("https://acme.test/a?b=c", None),
        ("https://8.8.8.8/", None),
        ("notes/7", None),
    ],
)
def test_urls(value: str, kind: str | None):
    assert payloads.in_url(value) == kind


@pytest.mark.parametrize(
    ("path", "role"),
    [
        (("arguments", "path"), Role.PATH),
        (("arguments", "filePath"), Role.PATH),
        (("arguments", "source_files", 0), Role.PATH),
        (("arguments", "file_name"), Role.FILENAME),
        (("arguments", "userId"), Role.ID),
        (("arguments", "webhook"), Role.URL),
        (("arguments", "query"), Role.NONE),
        (("arguments", "note"), Role.NONE),
        (("arguments", "where"), Role.URL),
        (("arguments", "items", 3, "where"), Role.PATH),
        (("arguments", "odd", "id"), Role.ID),
    ],
)
def test_the_role_of_a_field_follows_from_its_schema_or_else_from_its_name(
    path: tuple[str | int, ...], role: Role
):
    assert role_of(TYPED, path) is role


def test_a_payload_in_its_role_stops_the_call_and_the_same_text_elsewhere_passes():
    with pytest.raises(Blocked, match="dangerous/path-traversal"):
        screen({"arguments": {"path": "../../../etc/passwd"}}, Stage.ARGUMENTS)
    for harmless in ({"note": "../../../etc/passwd"}, {"query": "1' OR '1'='1"}, {"code": "$(rm -rf /)"}):
        assert screen({"arguments": harmless}, Stage.ARGUMENTS)[1] == []
    assert screen({"content": [{"path": "../../../etc/passwd"}]}, Stage.RESULT)[1] == []


def test_the_operator_says_what_an_argument_is_for(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text('roles:\n  "notes__*": {note: path, path: none}\n')
    guard = make_dangerous(read_yaml(path, "s.yaml"))

    def kinds(name: str) -> list[str]:
        passage = Passage("../../../etc/passwd", name, (None, "arguments"), name)
        return [s.type for s in guard.detect(Message([passage], Stage.ARGUMENTS, SCENE), {})]

    assert kinds("note") == ["path-traversal"]
    assert kinds("path") == []
    path.write_text('roles:\n  "notes__*": {note: pathh}\n')
    with pytest.raises(ConfigurationError, match=r"s\.yaml:2: `pathh` is not one of"):
        make_dangerous(read_yaml(path, "s.yaml"))


def test_only_arguments_are_read_and_not_the_rest_of_a_request():
    message = Message([Passage("../../etc/passwd", "name", None, "path")], Stage.ARGUMENTS, Scene(TYPED))
    assert make_dangerous(None).detect(message, {}) == []
