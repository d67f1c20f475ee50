"""What comes in the package of an extra: found without importing it, read only if it is what was measured."""

import hashlib
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from broker.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Packaged:
    """The files of one package: `guard` needs them, `extra` installs them."""

    package: str
    guard: str
    extra: str

    def modules(self, *names: str) -> list[ModuleType]:
        """The libraries that the guard works with.

        Raises:
            ConfigurationError: the extra is not installed.
        """
        try:
            return [import_module(name) for name in names]
        except ImportError as error:
            raise self._missing() from error

    def read(self, name: str, sha256: str) -> bytes:
        """One file of the package.

        Args:
            name: its path within the package.
            sha256: in hex, of the file that the guard was measured with.

        Raises:
            ConfigurationError: the extra is not installed, or the file is another one.
        """
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise self._missing()
        path = Path(next(iter(spec.submodule_search_locations))) / name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._missing() from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ConfigurationError(
                f"`{path.name}` of `{self.package}` is another than the one the guard was measured with",
                hint=f"install the extra as it is locked: {self._install}",
            )
        return data

    @property
    def _install(self) -> str:
        return f"pip install 'mcp-tool-broker[{self.extra}]'"

    def _missing(self) -> ConfigurationError:
        return ConfigurationError(
            f"the guard `{self.guard}` needs the extra `{self.extra}`", hint=self._install
        )
