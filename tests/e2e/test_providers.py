"""Is the stand-in of the providers right? Their own SDKs say so, with no broker in between."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import python_upstream
from tests.e2e.venvs import venv

pytestmark = pytest.mark.timeout(400)

CLIENTS = Path(__file__).parent / "clients"


@pytest.mark.parametrize(
    ("program", "key"), [("openai", "sk-openai-test"), ("anthropic", "sk-anthropic-test")]
)
def test_the_stand_in_satisfies_the_sdk_of_its_provider(program: str, key: str, tmp_path: Path) -> None:
    sdks = venv("models")
    with python_upstream("providers.py", log=tmp_path / "log") as url:
        done = subprocess.run(
            [sdks / "python", CLIENTS / f"stand_in_{program}.py", url],
            env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "TOKEN": key},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert set(told.values()) == {"as its types say"}, told
