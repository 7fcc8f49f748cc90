"""The WeChat e-bike adapter with keys of its own, an order for it, and WeChat Pay's side of the signatures by hand."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worker.core.order import Order
from worker.gateways.base import Call, RawCallback, Reply
from worker.gateways.wechat_ebike import WechatEbike
from worker.gateways.wechat_settings import WechatEbikeSettings

NOW = datetime(2026, 11, 21, 12, 0, 0, 654321, tzinfo=UTC)
NUMBER = "T20261121-000001"
TOKEN = "sdjf23kdsHJfdk"
APIV3_KEY = "0123456789abcdefGHIJKLMNOPQRSTUV"
SERIAL = "PUB_KEY_ID_0119000000012026112100000001"
OLD_SERIAL = "5157F09EFDC096DE15EBE81A47057A7232F1B8E1"
MERCHANT_SERIAL = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
TARGET: Mapping[str, Any] = {
    "charging_token": TOKEN,
    "description": "充电 & <bill>",
    "started_at": "2026-11-21T02:00:00Z",
    "ended_at": "2026-11-21T03:59:59.999999Z",
    "station_name": "North gate",
    "gun_number": "6555",
    "capacity": 10,
    "park_minutes": None,
    "park_fee_fen": None,
    "device_id": "12343232",
    "device_ip": "192.0.2.7",
    "attach": None,
    "goods_tag": None,
}


@cache
def key(name: str) -> rsa.RSAPrivateKey:
    """One key for each name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(name: str) -> str:
    return (
        key(name)
        .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        .decode()
    )


def public_pem(name: str) -> str:
    return (
        key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "adapter": "wechat_ebike",
        "base_url": "https://api.mch.weixin.qq.com",
        "notify_url": "https://relay.example.com/callbacks/ebike",
        "mchid": "1900000001",
        "appid": "wxd678efh567hg678",
        "serial_no": MERCHANT_SERIAL,
        "private_key": private_pem("merchant"),
        "apiv3_key": APIV3_KEY,
        "platform_keys": {SERIAL: public_pem("platform")},
    } | changes


def adapter(**changes: Any) -> WechatEbike:
    return _made(**changes) if changes else _usual()


@cache
def _usual() -> WechatEbike:
    return _made()  # reading keys takes a while


def _made(**changes: Any) -> WechatEbike:
    return WechatEbike("ebike", WechatEbikeSettings.model_validate(settings(**changes)), lambda: NONCE)


def order(amount_fen: int = 888, attempt: int = 1, **target: Any) -> Order:
    return Order(
        order_no=NUMBER,
        source="shop",
        product="ebike",
        amount_fen=amount_fen,
        target=dict(TARGET) | target,
        route=("ebike",),
        gateway="ebike",
        attempt=attempt,
    )


def encoded(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()


def signed(body: bytes, *, by: str = "platform", serial: str = SERIAL, at: datetime = NOW) -> dict[str, str]:
    """The headers with which WeChat Pay signs `body` at a moment."""
    timestamp, nonce = str(int(at.timestamp())), "c5ac7061fccab6bf3e254dcf98995b8c"
    message = b"%s\n%s\n%s\n" % (timestamp.encode(), nonce.encode(), body)
    signature = key(by).sign(message, padding.PKCS1v15(), hashes.SHA256())
    return {
        "wechatpay-timestamp": timestamp,
        "wechatpay-nonce": nonce,
        "wechatpay-signature": b64encode(signature).decode(),
        "wechatpay-serial": serial,
    }


def reply(body: object, status: int = 200) -> Reply:
    raw = encoded(body)
    return Reply(status, signed(raw), raw)


def sent(call: Call[Any], answer: Reply) -> Any:
    """Answer the call's one request and return what the adapter makes of it."""
    next(call)
    with pytest.raises(StopIteration) as done:
        call.send(answer)
    return done.value.value


def answered(call: Call[Any], body: object, status: int = 200) -> Any:
    """Answer the call's one request, signed, and return what the adapter makes of it."""
    return sent(call, reply(body, status))


def resource(plain: object, apiv3_key: str = APIV3_KEY, associated: str = "transaction") -> dict[str, Any]:
    """Encrypt what a callback is about."""
    nonce = "fdasflkja484"
    sealed = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), encoded(plain), associated.encode())
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": b64encode(sealed).decode(),
        "nonce": nonce,
        "associated_data": associated,
        "original_type": "transaction",
    }


def plain(**changes: Any) -> dict[str, Any]:
    """What a callback says, decrypted."""
    return {
        "mchid": "1900000001",
        "appid": "wxd678efh567hg678",
        "out_trade_no": NUMBER,
        "transaction_id": "4208450740201411110007820472",
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "success_time": "2026-11-21T20:00:00+08:00",
        "payer": {"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"},
        "amount": {"total": 888, "payer_total": 800, "currency": "CNY"},
    } | changes


def envelope(plain: object, event_type: str = "TRANSACTION.SUCCESS", **changes: Any) -> dict[str, Any]:
    return {
        "id": "EV-2018022511223320873",
        "create_time": "2026-11-21T20:00:00+08:00",
        "event_type": event_type,
        "resource_type": "encrypt-resource",
        "resource": resource(plain),
    } | changes


def raw(body: object, headers: Mapping[str, str] | None = None, received_at: datetime = NOW) -> RawCallback:
    """A callback as the relay got it, signed unless `headers` say otherwise."""
    given = encoded(body)
    return RawCallback(
        received_at, "POST", "/callbacks/ebike", "", signed(given) if headers is None else headers, given
    )
