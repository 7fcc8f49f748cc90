"""How many histories are told: `--hypothesis-profile=long` tells far more; and their models' asserts show values."""

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("ledger_model", "worker_model")  # before the tests import them

settings.register_profile("long", max_examples=20_000)
