"""wechat_ebike: its settings name what is wrong without showing it, and nothing shows what must not be shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.wechat import (
    APIV3_KEY,
    NOW,
    NUMBER,
    SERIAL,
    TOKEN,
    adapter,
    encoded,
    envelope,
    key,
    order,
    plain,
    private_pem,
    public_pem,
    raw,
    settings,
    signed,
)

from worker.config import SettingsError, load
from worker.core.policy import Policy
from worker.gateways.base import CallbackReport, Reply, Request
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway
from worker.gateways.lease import Lease
from worker.gateways.wechat_ebike import WechatEbike

CANARY = "c4n4ry"
EC = ec.generate_private_key(ec.SECP256R1())
EC_PRIVATE = EC.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()
EC_PUBLIC = (
    EC.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)


def toml(given: dict[str, Any]) -> str:
    table = dict(given)
    inner = table.pop("platform_keys")
    lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
    if isinstance(inner, dict):
        lines += ["[gateways.ebike.platform_keys]", *(f"{name} = {value}" for name, value in inner.items())]
    else:
        lines.append(f"platform_keys = {json.dumps(inner)}")
    return "\n".join(["[gateways.ebike]", *lines])


def complaints(directory: Path, **changes: Any) -> list[str]:
    """What the program says at start about these settings."""
    given = settings(platform_keys={SERIAL: json.dumps(public_pem("platform"))}) | changes
    (directory / "worker.toml").write_text(toml(given))
    with pytest.raises(SettingsError) as raised:
        load(directory / "worker.toml", {}, required=[])
    problems = list(raised.value.problems)
    assert CANARY not in str(problems)
    assert APIV3_KEY not in str(problems)
    assert "PRIVATE KEY" not in str(problems)
    return problems


ENCRYPTED = (
    key("merchant")
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    .decode()
)


@pytest.mark.parametrize("wrong", [CANARY, "", EC_PRIVATE, ENCRYPTED, public_pem("merchant"),
                                   private_pem("merchant")[:900]])  # fmt: skip
def test_a_private_key_that_is_none(wrong: str, tmp_path: Path) -> None:
    expected = "gateways.ebike.private_key: expected an RSA private key in PEM, without a password"
    assert complaints(tmp_path, private_key=wrong) == [expected]


@pytest.mark.parametrize("wrong", [CANARY, "", APIV3_KEY + "x", "充" * 32])
def test_an_apiv3_key_of_another_length(wrong: str, tmp_path: Path) -> None:
    assert complaints(tmp_path, apiv3_key=wrong) == ["gateways.ebike.apiv3_key: expected the APIv3 key, 32 bytes"]


@pytest.mark.parametrize(
    "wrong", [CANARY, "", EC_PUBLIC, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_platform_key_that_is_none(wrong: str, tmp_path: Path) -> None:
    expected = "expected WeChat Pay's certificate or RSA public key in PEM"
    assert complaints(tmp_path, platform_keys={SERIAL: json.dumps(wrong)}) == [
        f"gateways.ebike.platform_keys.{SERIAL}: {expected}"
    ]


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    (problem,) = complaints(tmp_path, platform_keys={SERIAL: '{file = "missing.pem"}'})
    assert problem.startswith(f"gateways.ebike.platform_keys.{SERIAL}: the file missing.pem cannot be read")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("mchid", "19000000x1"), ("mchid", ""), ("appid", 'wx"'), ("serial_no", ""), ("serial_no", 'A",mchid="1'),
     ("sub_mchid", "a&b=1"), ("notify_url", "relay"), ("platform_keys", {}), ("platform_keys", "x")],
)  # fmt: skip
def test_what_else_can_be_wrong(name: str, wrong: Any, tmp_path: Path) -> None:
    (problem,) = complaints(tmp_path, **{name: wrong})
    assert problem.startswith(f"gateways.ebike.{name}: expected ")


def test_files_are_relative_to_the_settings_and_the_environment_may_give_the_rest(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text(private_pem("merchant"))
    (tmp_path / "theirs.pem").write_text(public_pem("platform"))
    lines = toml(settings(platform_keys={SERIAL: '{file = "theirs.pem"}'})).replace(
        json.dumps(private_pem("merchant")), '{file = "own.pem"}'
    )
    (tmp_path / "worker.toml").write_text(lines.replace(json.dumps(APIV3_KEY), '{env = "WECHAT_APIV3_KEY"}'))
    other = f"WORKER_GATEWAYS__EBIKE__PLATFORM_KEYS__{SERIAL[:-1]}2"
    environ = {"WECHAT_APIV3_KEY": APIV3_KEY, other: '{"file": "theirs.pem"}'}
    read = load(tmp_path / "worker.toml", environ, required=[])
    given: Any = read.gateways["ebike"]
    assert set(given.platform_keys) == {SERIAL, f"{SERIAL[:-1]}2"}
    assert read.routes["ebike"] == ("ebike",)
    assert next(WechatEbike("ebike", given).query(order(), NOW)).url.endswith(NUMBER)


def test_no_secret_is_shown_by_settings_or_their_errors() -> None:
    assert APIV3_KEY not in repr(adapter().settings)
    assert "PRIVATE KEY" not in repr(adapter().settings)
    with pytest.raises(ValueError, match="expected the APIv3 key") as raised:
        adapter(apiv3_key=CANARY)
    assert CANARY not in str(raised.value)


class Echo:
    """A platform that says back whatever it was asked to keep for itself."""

    def __init__(self, body: bytes, status: int) -> None:
        self._reply = Reply(status, signed(body), body)

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:  # noqa: ARG002 - a fake
        """Answer."""
        return self._reply

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    ("body", "status"),
    [({"accept_state": "ACCEPTED", "payer": {"openid": "oUpF8uMuAJO"}, "echo": APIV3_KEY}, 200),
     ({"code": "PARAM_ERROR", "message": f"{TOKEN} of 192.0.2.7, 12343232, 13800138000, {APIV3_KEY}"}, 400),
     (plain(mchid="1900000002", trade_state_desc=TOKEN), 200), (f"<html>{TOKEN} {APIV3_KEY}".encode(), 200)],
)  # fmt: skip
async def test_what_must_not_be_shown_is_not(body: object, status: int) -> None:
    gateway = Gateway(adapter(), Echo(encoded(body), status), Gate(4), Policy())
    outcome = await gateway.submit(order(), NOW, None)
    report = await gateway.query(order(), NOW)
    shown = repr(outcome) + repr(report) + repr(report.fact(order(), 1))
    for secret in (TOKEN, APIV3_KEY, "oUpF8uMuAJO", "192.0.2.7", "12343232", "13800138000", "1900000002", "BEGIN"):
        assert secret not in shown
    assert outcome.evidence["request"]["out_trade_no"] == NUMBER
    assert outcome.evidence["request"]["amount"] == {"total": 888, "currency": "CNY"}


def test_a_callbacks_payer_is_not_shown() -> None:
    parsed = Gateway(adapter(), Echo(b"", 200), Gate(4), Policy()).parse_callback(raw(envelope(plain())))
    assert isinstance(parsed, CallbackReport)
    assert "oUpF8uMuAJO" not in repr(parsed)
    assert "ciphertext" not in repr(parsed)
