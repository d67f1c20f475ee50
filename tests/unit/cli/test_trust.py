"""What an operator is shown of an agent's trust, tries out, and gives back."""

import re
from pathlib import Path


def test_an_agent_in_good_standing_is_shown_with_what_its_score_comes_from(deployment):
    shown = deployment.json("trust", "show", "olga")
    assert (shown["band"], shown["score"], shown["held_by"]) == ("standard", 650, None)
    assert shown["reckoning"]["contributions"] == []
    assert "olga: 650 of 1000, standard" in deployment.run("trust", "show", "olga").stdout


def test_who_is_released_is_watched_and_the_reason_is_in_the_log(deployment):
    deployment.json("trust", "release", "olga", "--reason", "a mistake of ours")
    shown = deployment.run("trust", "show", "olga").stdout
    assert "olga: 500 of 1000, watch" in shown
    assert "released" in shown
    assert "high enough for standard in" in shown


def test_a_past_time_can_be_asked_about_and_a_word_is_no_time(deployment):
    assert deployment.json("trust", "show", "olga", "--at", "2026-01-01T00:00Z")["score"] == 650
    done = deployment.run("trust", "show", "olga", "--at", "yesterday")
    assert (done.returncode, "`yesterday` is not a time" in done.stderr) == (1, True) or done.returncode == 2


def test_other_weights_can_be_tried_on_the_log(deployment, tmp_path: Path):
    shipped = Path("policies/trust/weights.yaml").read_text()
    file = tmp_path / "mine.yaml"
    file.write_text(re.sub("released: .*", "released: {points: 300, half_life_s: 86400}", shipped))
    deployment.json("trust", "release", "olga", "--reason", "to try")
    assert "released 300" in deployment.run("trust", "replay", "--rules", str(file)).stdout
    file.write_text("base: 3\n")
    assert "mine.yaml:1" in deployment.run("trust", "replay", "--rules", str(file)).stderr


def test_nobody_is_made_up(deployment):
    done = deployment.run("trust", "show", "nobody")
    assert (done.returncode, "there is no agent `nobody`" in done.stderr) == (5, True)
