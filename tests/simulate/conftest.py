"""Where an assertion of the edge machine fails, pytest shows what was there."""

import pytest

pytest.register_assert_rewrite("tests.simulate.edge")
