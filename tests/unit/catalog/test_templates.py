import pytest

from broker.catalog.templates import matcher


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/7/data"),
        ("file:///{+path}", "file:///a/b/c.txt"),
        ("db://t{/table}{?limit,offset}", "db://t/users?limit=3"),
        ("db://t{/table}{?limit,offset}", "db://t/users"),
        ("a.b://x{#part}", "a.b://x#y"),
    ],
)
def test_an_expansion_of_a_template_is_recognised(template, uri):
    assert matcher(template)(uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://template/{id}/data", "test://template/a/b/data"),
        ("test://template/{id}/data", "test://template/7/data/more"),
        ("a.b://x", "aXb://x"),
        ("file:///{name}", "file:///../../etc/passwd"),
    ],
)
def test_what_a_template_cannot_expand_to_is_not_taken_for_it(template, uri):
    assert not matcher(template)(uri)


def test_an_absurdly_long_uri_is_never_matched():
    assert not matcher("x://{+all}")("x://" + "a" * 9000)
