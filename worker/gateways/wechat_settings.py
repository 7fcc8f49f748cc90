"""What a WeChat Pay gateway needs to be told: who we are there, our key, and theirs. Keys are read at once."""

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from worker.gateways.apiv3 import KEY_BYTES, platform_key, private_key
from worker.gateways.settings import GatewaySettings, Secret


def _private_key(secret: SecretStr) -> SecretStr:
    private_key(secret.get_secret_value())
    return secret


def _platform_key(secret: SecretStr) -> SecretStr:
    platform_key(secret.get_secret_value())
    return secret


def _apiv3_key(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) != KEY_BYTES:
        raise ValueError(f"expected the APIv3 key, {KEY_BYTES} bytes")
    return secret


class WechatEbikeSettings(GatewaySettings):
    """What `[gateways.<name>]` holds for this adapter."""

    model_config = ConfigDict(hide_input_in_errors=True)

    notify_url: str = Field(pattern=r"^https?://\S+$", description="where its callbacks go: our relay")
    mchid: str = Field(pattern=r"^[0-9]{1,32}$", description="our merchant number")
    appid: str = Field(pattern=r"^[0-9A-Za-z]{1,32}$", description="our appid")
    sub_mchid: str = Field("", pattern=r"^[0-9]{0,32}$", description="the merchant that we act for; empty: none")
    sub_appid: str = Field("", pattern=r"^[0-9A-Za-z]{0,32}$", description="its appid; empty: none")
    serial_no: str = Field(pattern=r"^[0-9A-Za-z]{1,64}$", description="the serial number of our certificate")
    private_key: Annotated[Secret, AfterValidator(_private_key)] = Field(
        description="the RSA private key of our certificate, in PEM: it signs every request"
    )
    apiv3_key: Annotated[Secret, AfterValidator(_apiv3_key)] = Field(
        description=f"the APIv3 key, {KEY_BYTES} bytes: callbacks are encrypted with it"
    )
    platform_keys: dict[str, Annotated[Secret, AfterValidator(_platform_key)]] = Field(
        min_length=1, description="WeChat Pay's certificates or public keys in PEM, by serial number or PUB_KEY_ID_…"
    )
