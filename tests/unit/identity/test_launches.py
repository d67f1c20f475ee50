"""What the broker measures before it starts an agent."""

from dataclasses import replace

import pytest

from broker.errors import InvalidRequest
from broker.identity.launches import LONGEST_S, code_digest, new_launch


def test_every_change_of_a_file_below_a_folder_changes_what_is_measured(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "main.py").write_text("print(1)")
    seen = [code_digest([tmp_path])]
    for path, text in (("main.py", "print(2)"), ("lib/more.py", ""), ("lib/more.py", "x = 1")):
        (tmp_path / path).write_text(text)
        seen.append(code_digest([tmp_path]))
    (tmp_path / "lib" / "more.py").rename(tmp_path / "lib" / "other.py")
    seen.append(code_digest([tmp_path]))
    assert len(set(seen)) == len(seen)


def test_the_same_code_is_measured_the_same_wherever_it_lies(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "main.py").write_text("print(1)")
    assert code_digest([tmp_path / "here"]) == code_digest([tmp_path / "there"])


def test_a_link_that_points_elsewhere_is_a_change(tmp_path):
    folder = tmp_path / "agent"
    folder.mkdir()
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    (folder / "lib").symlink_to(tmp_path / "a")
    before = code_digest([folder])
    (folder / "lib").unlink()
    (folder / "lib").symlink_to(tmp_path / "b")
    assert code_digest([folder]) != before


def test_what_is_not_there_cannot_be_measured(tmp_path):
    with pytest.raises(InvalidRequest, match="cannot be measured"):
        code_digest([tmp_path / "gone.py"])


@pytest.mark.parametrize("lasting", [0, -1, LONGEST_S + 1])
def test_a_launch_lasts_some_time_and_not_for_ever(lasting):
    with pytest.raises(InvalidRequest, match="at most seven days"):
        new_launch(100, lasting)


def test_every_launch_has_a_secret_of_its_own_which_is_in_nothing_that_is_shown():
    one, two = new_launch(100, 60), new_launch(100, 60)
    assert (one.stored.not_after, one.stored.id) == (160, f"launch:{one.instance}")
    assert one.secret != two.secret
    assert one.stored.digest != two.stored.digest
    assert one.secret not in repr(one)
    assert replace(one.stored, launch=None).id.startswith("secret:")
