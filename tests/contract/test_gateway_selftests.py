"""Self-tests: well with every house's settings; what is wrong with WeChat Pay's keys is told with its fix."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from support.doctor import HOUSES, about, trouble

from worker.core.finding import Finding
from worker.gateways import dingyin_wire, signing
from worker.gateways.registry import adapters

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SERIAL = "5157F09EFDC096DE15EBE81A47057A7200000001"
PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def own() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def theirs() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(key: rsa.RSAPrivateKey, *, days: float, serial: str = SERIAL, age: float = 100) -> str:
    """A certificate that ends in so many days, and began as many ago."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platform")])
    made = x509.CertificateBuilder(name, name, key.public_key(), int(serial, 16))
    made = made.not_valid_before(NOW - timedelta(days=age)).not_valid_after(NOW + timedelta(days=days))
    return made.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


def private(key: rsa.RSAPrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(PEM, form, serialization.NoEncryption()).decode()


def public(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def wechat(own: rsa.RSAPrivateKey, platform_keys: Mapping[str, str], **changes: Any) -> list[Finding]:
    """What the self-test of a merchant with these keys finds."""
    kind = adapters()["wechat_ebike"]
    given = {
        "adapter": "wechat_ebike",
        "base_url": "https://api.mch.weixin.qq.com",
        "notify_url": "https://relay.shop.cn/callbacks/ebike",
        "mchid": "1900000001",
        "appid": "wxd678efh567hg678",
        "serial_no": "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
        "private_key": private(own),
        "apiv3_key": "canary-apiv3-key-0123456789abcde",
        "platform_keys": platform_keys,
        **changes,
    }
    findings = list(kind("ebike", kind.settings_type.model_validate(given)).self_test(NOW))
    assert "canary" not in str(findings)
    return findings


@pytest.mark.parametrize("adapter", sorted(set(HOUSES) - {"wechat_ebike"}))
def test_nothing_is_wrong_with_a_house(adapter: str, tmp_path: Path) -> None:
    kind, house = adapters()[adapter], HOUSES[adapter]
    address = {"base_url": "http://127.0.0.1:1", "adapter": adapter}
    if "notify_url" in kind.settings_type.model_fields:
        address["notify_url"] = f"http://127.0.0.1:1/callbacks/{adapter}"
    settings = kind.settings_type.model_validate(address | dict(house.settings(tmp_path)))
    assert not trouble(list(kind(adapter, settings).self_test(NOW)))


@pytest.mark.parametrize("adapter", ["dingyin", "wikeyun"])
def test_a_wrong_signature_is_found(adapter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a Python whose MD5 is another."""
    monkeypatch.setattr(dingyin_wire, "md5_upper", lambda _: "0" * 32)
    monkeypatch.setattr(signing, "md5_upper", lambda _: "0" * 32)
    kind = adapters()[adapter]
    address = {"base_url": "http://127.0.0.1:1", "adapter": adapter, "notify_url": "http://127.0.0.1:1/"}
    settings = kind.settings_type.model_validate(address | dict(HOUSES[adapter].settings(tmp_path)))
    assert trouble(list(kind(adapter, settings).self_test(NOW))) == {"signature": "failed"}


def test_good_keys(own: rsa.RSAPrivateKey, theirs: rsa.RSAPrivateKey) -> None:
    findings = wechat(own, {SERIAL: certificate(theirs, days=31), "PUB_KEY_ID_01": public(theirs)})
    assert not trouble(findings)
    assert about(findings, f"platform_keys.{SERIAL}").detail == "it ends in 31 days, on 2026-12-23"
    assert about(findings, "platform_keys.PUB_KEY_ID_01").detail == "a public key, which does not end"


@pytest.mark.parametrize(
    ("days", "status", "told"),
    [(29, "warning", "in 29 days"), (-1, "failed", "it ended on 2026-11-21"), (-0.1, "failed", "it ended on")],
)
def test_a_certificate_that_ends(
    days: float, status: str, told: str, own: rsa.RSAPrivateKey, theirs: rsa.RSAPrivateKey
) -> None:
    findings = wechat(own, {SERIAL: certificate(theirs, days=days)})
    assert trouble(findings) == {f"platform_keys.{SERIAL}": status}
    assert told in about(findings, f"platform_keys.{SERIAL}").detail


def test_an_ended_certificate_beside_a_good_one(own: rsa.RSAPrivateKey, theirs: rsa.RSAPrivateKey) -> None:
    findings = wechat(own, {SERIAL: certificate(theirs, days=-1), "PUB_KEY_ID_01": public(theirs)})
    assert trouble(findings) == {f"platform_keys.{SERIAL}": "warning"}


def test_a_certificate_that_has_not_begun(own: rsa.RSAPrivateKey, theirs: rsa.RSAPrivateKey) -> None:
    findings = wechat(own, {SERIAL: certificate(theirs, days=100, age=-1)})
    assert trouble(findings) == {f"platform_keys.{SERIAL}": "failed"}


def test_keys_under_wrong_names(own: rsa.RSAPrivateKey, theirs: rsa.RSAPrivateKey) -> None:
    findings = wechat(own, {"ABC": certificate(theirs, days=100)})
    assert trouble(findings) == {"platform_keys.ABC": "failed"}
    assert about(findings, "platform_keys.ABC").fix == f"call it {SERIAL} in platform_keys"
    assert trouble(wechat(own, {SERIAL: public(theirs)})) == {f"platform_keys.{SERIAL}": "warning"}
    assert trouble(wechat(own, {SERIAL.lower(): certificate(theirs, days=100)})) == {}


def test_keys_that_are_mixed_up(own: rsa.RSAPrivateKey, theirs: rsa.RSAPrivateKey) -> None:
    assert trouble(wechat(own, {"PUB_KEY_ID_01": public(own)})) == {"platform_keys.PUB_KEY_ID_01": "failed"}
    good = {SERIAL: certificate(theirs, days=100)}
    assert trouble(wechat(own, good, serial_no=SERIAL)) == {"serial_no": "failed"}
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that it is found is the point
    assert trouble(wechat(short, good)) == {"private_key": "failed"}
