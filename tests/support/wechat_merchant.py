"""A merchant of the simulated WeChat Pay: signs, calls, verifies and hears callbacks, by cryptography's primitives."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worker.sandbox import Sandbox, SandboxSettings

CHARGE = "/wechat/v3/ebike/charge/transactions"
APIV3_KEY = "sandbox-apiv3-key-sandbox-apiv3-"
SERIAL_NO = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
MCHID = "1900000001"
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """Its JSON."""
        said: dict[str, Any] = json.loads(self.body)
        return said


class WechatMerchant:
    """Calls the simulator with the keys that it wrote into `keys`."""

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession, keys: Path) -> None:
        self.base, self._http, self._keys = sandbox.url, http, keys
        self.notify_url = ""
        self.callbacks: list[Answer] = []
        self.acknowledgement = 204
        self._heard = asyncio.Event()
        own = serialization.load_pem_private_key((keys / "apiclient_key.pem").read_bytes(), None)
        assert isinstance(own, rsa.RSAPrivateKey)
        self._key = own

    async def receive(self, request: web.Request) -> web.Response:
        """Take a callback."""
        self.callbacks.append(Answer(0, request.headers, await request.read()))
        self._heard.set()
        return web.Response(status=self.acknowledgement)

    def authorization(self, method: str, path: str, body: bytes, **changes: str) -> str:
        """The header of a call; `changes` replaces parts of it after signing."""
        timestamp = changes.pop("at", str(int(time.time())))
        message = f"{method}\n{path}\n{timestamp}\n{NONCE}\n".encode() + body + b"\n"
        signature = base64.b64encode(self._key.sign(message, padding.PKCS1v15(), hashes.SHA256())).decode()
        parts = {"mchid": MCHID, "nonce_str": NONCE, "signature": signature, "timestamp": timestamp}
        parts |= {"serial_no": SERIAL_NO} | changes
        return "WECHATPAY2-SHA256-RSA2048 " + ",".join(f'{name}="{value}"' for name, value in parts.items())

    async def call(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """Make a call, signed unless `Authorization` is given."""
        given = {"Authorization": self.authorization(method, path, body), "Accept": "application/json"}
        given |= {"Content-Type": "application/json"} if body else {}
        async with self._http.request(method, self.base + path, data=body or None, headers=given | headers) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    def order(self, number: str = "T1", ending: str = "00", **changes: Any) -> dict[str, Any]:
        """The body of a deduction."""
        return {
            "appid": "wxd678efh567hg678",
            "out_trade_no": number,
            "notify_url": self.notify_url,
            "description": "充电",
            "charging_token": f"sdjf23kdsHJfdk{ending}",
            "amount": {"total": 888, "currency": "CNY"},
            "charge_info": {
                "start_time": "2026-11-21T10:00:00+08:00",
                "end_time": "2026-11-21T12:00:00+08:00",
                "charging_station_name": "北门",
                "charging_gun_number": "6555",
                "charged_capacity": 10,
            },
            "device_info": {"device_id": "12343232", "device_ip": "192.0.2.7"},
        } | changes

    async def charge(self, number: str = "T1", ending: str = "00", **changes: Any) -> Answer:
        """Ask for a deduction from a token that ends so."""
        return await self.call("POST", CHARGE, json.dumps(self.order(number, ending, **changes)).encode())

    async def state(self, number: str = "T1") -> str:
        """What a query shows: the state, or the code that refuses."""
        said = (await self.call("GET", f"{CHARGE}/out-trade-no/{number}")).said
        return str(said.get("trade_state") or said["code"])

    async def page(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        """Use a page beside the simulators."""
        async with self._http.request(method, self.base + path, json=body or None) as answer:
            assert answer.status == 200
            said: dict[str, Any] = await answer.json()
            return said

    def verifies(self, answer: Answer) -> bool:
        """Whether the platform has signed it, now, with the key that it names."""
        headers = answer.headers
        timestamp = headers.get("Wechatpay-Timestamp", "0")
        path = self._keys / f"{headers.get('Wechatpay-Serial')}.pem"
        if abs(time.time() - int(timestamp)) > 300 or not path.exists():
            return False
        pem = path.read_bytes()
        certified = b"CERTIFICATE" in pem
        key = x509.load_pem_x509_certificate(pem).public_key() if certified else serialization.load_pem_public_key(pem)
        assert isinstance(key, rsa.RSAPublicKey)
        message = f"{timestamp}\n{headers['Wechatpay-Nonce']}\n".encode() + answer.body + b"\n"
        try:
            signature = base64.b64decode(headers["Wechatpay-Signature"], validate=True)
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True

    async def hears(self, count: int) -> list[Answer]:
        """Wait for so many callbacks."""
        async with asyncio.timeout(5):
            while len(self.callbacks) < count:
                self._heard.clear()
                await self._heard.wait()
        return self.callbacks


def opened(callback: Answer) -> dict[str, Any]:
    """What a callback says, decrypted."""
    sealed = callback.said["resource"]
    raw = base64.b64decode(sealed["ciphertext"])
    plain = AESGCM(APIV3_KEY.encode()).decrypt(sealed["nonce"].encode(), raw, sealed["associated_data"].encode())
    said: dict[str, Any] = json.loads(plain)
    return said


@asynccontextmanager
async def wechat_merchant(keys: Path, **own: Any) -> AsyncIterator[WechatMerchant]:
    """A merchant of a quick simulator; `own` are its settings."""
    quick = SandboxSettings(
        port=0, settle_after=0.05, callback_repeat_after=0.02, simulators={"wechat": {"keys": str(keys)} | own}
    )
    async with (
        Sandbox(quick) as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        merchant = WechatMerchant(running, http, keys)
        relay = web.Application()
        relay.router.add_post("/callbacks/ebike", merchant.receive)
        runner = web.AppRunner(relay, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        merchant.notify_url = f"http://127.0.0.1:{runner.addresses[0][1]}/callbacks/ebike"
        try:
            yield merchant
        finally:
            await runner.cleanup()
