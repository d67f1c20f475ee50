import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every run, however slow the machine: a red run means a broken promise.
# HYPOTHESIS_PROFILE=exploring looks at new examples each time.
settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("exploring", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
