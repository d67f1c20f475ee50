"""Where do clients and servers run whose dependencies are not the broker's? In environments of their own.

They are made once, from the pinned files in `tests/requirements`, into `.cache/venvs`.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.e2e.processes import ROOT

REQUIREMENTS = ROOT / "tests" / "requirements"
CACHE = ROOT / ".cache" / "venvs"
INSTALL_S = 280


def venv(name: str) -> Path:
    """The `bin` folder of the environment that `tests/requirements/<name>.txt` describes.

    Raises:
        RuntimeError: it cannot be made; says what pip said.
    """
    pins = REQUIREMENTS / f"{name}.txt"
    version = f"{sys.version_info.major}.{sys.version_info.minor}\n".encode()
    stamp = CACHE / name / f".installed-{hashlib.sha256(version + pins.read_bytes()).hexdigest()[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may want it at once
        if not stamp.exists():
            _make(CACHE / name, pins)
            stamp.touch()
    return CACHE / name / "bin"


def _make(folder: Path, pins: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", folder)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(*pip, "--no-deps", "--no-compile", "-r", pins)


def _run(*command: str | Path) -> None:
    line = [str(part) for part in command]
    done = subprocess.run(line, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} failed:\n{done.stdout}{done.stderr}")
