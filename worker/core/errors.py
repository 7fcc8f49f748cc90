"""Errors that the core raises for wrong input."""


class AmountNotSupportedError(ValueError):
    """The gateway cannot take this amount exactly (part of a yuan, not in its list of denominations…)."""
