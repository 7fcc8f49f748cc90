"""paperplane, which is imaginary."""

from support.house import House, Sample

HOUSE = House(
    simulator="paperplane",
    settings=lambda _directory: {"merchant": "7001", "key": "canary-key"},
    simulated=lambda _directory: {"key": "canary-key"},
    samples={"mobile": Sample(amount_fen=10_000, target={"mobile": "13800138000"})},
)
