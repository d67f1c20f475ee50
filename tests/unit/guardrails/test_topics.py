"""Subjects are told apart by examples; a mistake in them has a line. The real vectors: tests/e2e."""

import pytest

from broker.documents import read_yaml
from broker.errors import ConfigurationError
from broker.guardrails import topics
from broker.guardrails.embeddings import packaged_embeddings


class Rows(list):
    """Stands where vectors do: what is tried here is how a file is read."""


class Words:
    def of(self, sentences):
        return Rows(sentences)


@pytest.fixture
def bad(tmp_path, monkeypatch):
    monkeypatch.setattr(topics, "packaged_embeddings", Words)

    def bad(text):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(ConfigurationError) as error:
            topics.make_topics(read_yaml(tmp_path / "x.yaml", "x.yaml"))
        return error.value.message

    return bad


def test_a_mistake_in_the_settings_has_a_line(bad):
    assert bad("only: [a]").startswith("x.yaml:1: `topics` is missing")
    assert bad("topics:\n  a: {like: [x, y]}").startswith("x.yaml:2: 2 examples say too little")
    assert bad("topics:\n  a: {like: [x, y, z], near: '5'}").startswith("x.yaml:2: `5` is not how near")
    assert bad("topics:\n  off-topic: {like: [x, y, z]}").startswith("x.yaml:2: `off-topic` is what")
    assert bad("topics:\n  a: {like: [x, y, z]}\nonly: [b]").startswith("x.yaml:3: `b` is not one of")


def test_without_the_extra_the_guard_cannot_be_configured(monkeypatch):
    monkeypatch.setattr("broker.guardrails.packaged.find_spec", lambda name: None)
    packaged_embeddings.cache_clear()
    with pytest.raises(ConfigurationError, match="needs the extra `embeddings`"):
        topics.make_topics(None)
