"""How many histories are told: `--hypothesis-profile=long` tells far more."""

from hypothesis import settings

settings.register_profile("long", max_examples=20_000)
