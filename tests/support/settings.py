"""A settings file, and the two gateways that it may configure."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from worker.config import Settings
from worker.gateways.base import Acknowledgement, Adapter, Call, CallbackRefusal, CallbackReport, RawCallback
from worker.gateways.settings import GatewaySettings, Secret

CANARY = "c4n4ry-s3cret"


class Electricity(BaseModel):
    """A table within a gateway's table."""

    productid: str = ""
    unit_fen: int = 100


class ShopSettings(GatewaySettings):
    """Two secrets, and a list and tables, as real adapters have them."""

    app_key: str = Field(description="the key of the application")
    app_secret: Secret = Field(description="the secret that signs")
    trust_callbacks: bool = False
    refusal_codes: tuple[str, ...] = ("1003",)
    headers: dict[str, Secret] = Field(default_factory=dict)
    electricity: Electricity = Electricity()


class Shop(Adapter):
    """A gateway that sells two products."""

    adapter: ClassVar[str] = "shop"
    products: ClassVar[frozenset[str]] = frozenset({"mobile", "power"})
    settings_type: ClassVar[type[GatewaySettings]] = ShopSettings

    def submit(self, order: Any, now: Any) -> Call[Any]:
        """Never called."""
        raise NotImplementedError

    def query(self, order: Any, now: Any) -> Call[Any]:
        """Never called."""
        raise NotImplementedError

    def balance(self, now: Any) -> Call[int]:
        """Never called."""
        raise NotImplementedError

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Never called."""
        raise NotImplementedError

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Never called."""
        raise NotImplementedError


class Kiosk(Shop):
    """A gateway that sells one product."""

    adapter: ClassVar[str] = "kiosk"
    products: ClassVar[frozenset[str]] = frozenset({"power"})
    settings_type: ClassVar[type[GatewaySettings]] = GatewaySettings


ADAPTERS: Mapping[str, type[Adapter]] = {"shop": Shop, "kiosk": Kiosk}

BASE = """
[amqp]
url = "amqp://guest:guest@127.0.0.1:5672/"
[database]
dsn = "postgresql://worker@127.0.0.1/worker"
"""
GATEWAYS = f"""
[gateways.corner]
adapter = "kiosk"
base_url = "http://127.0.0.1:9086"
[gateways.main]
adapter = "shop"
base_url = "https://shop.example.com"
app_key = "2002"
app_secret = "{CANARY}"
"""

Load = Callable[..., Settings]
