from pathlib import Path

import pytest

from broker.errors import ConfigurationError
from broker.references import resolve_secret


def test_a_reference_to_the_environment_is_the_value_of_the_variable():
    assert resolve_secret("env:KEY", environ={"KEY": "s3cret"}, folder=Path()) == "s3cret"


def test_a_reference_to_a_file_is_its_content_without_the_last_newline(tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    assert resolve_secret("file:key", environ={}, folder=tmp_path) == "s3cret"
    assert resolve_secret(f"file:{tmp_path / 'key'}", environ={}, folder=Path("/")) == "s3cret"


@pytest.mark.parametrize("literal", ["sk-live-abcdef", "https://x:y@example", "env:", "", "vault:x"])
def test_a_secret_itself_where_a_reference_belongs_is_refused_without_repeating_it(literal):
    with pytest.raises(ConfigurationError) as caught:
        resolve_secret(literal, environ={}, folder=Path())
    said = f"{caught.value.message} {caught.value.hint}"
    assert "only a reference" in said
    assert not literal or literal == "env:" or literal not in said


def test_what_is_not_there_is_an_error_that_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ConfigurationError, match="`KEY` is not set"):
        resolve_secret("env:KEY", environ={"KEY": ""}, folder=tmp_path)
    with pytest.raises(ConfigurationError, match=str(tmp_path / "no")):
        resolve_secret("file:no", environ={}, folder=tmp_path)
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        resolve_secret("file:empty", environ={}, folder=tmp_path)
