"""Where an assertion of the edge machine fails, pytest shows what was there; the servers under contract are for all."""

import pytest

pytest.register_assert_rewrite("tests.simulate.edge")

from tests.simulate.test_contract import jetstream, kind  # noqa: E402, F401
