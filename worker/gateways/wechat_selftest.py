"""Whether a WeChat Pay gateway's keys do their work and for how long: each used as in earnest, without a call."""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256

from worker.core.finding import Finding
from worker.gateways.apiv3 import Merchant, UnopenedError, certificate, open_resource, platform_key, private_key
from worker.gateways.wechat_settings import WechatEbikeSettings

FEWEST_DAYS = 30
"""A certificate that ends sooner is to be replaced now: its successor is there already."""

_BITS = 2048
_PUBLIC_KEY = "PUB_KEY_ID_"
_TEXT = b'{"out_trade_no":"self-test"}'
_NONCE = "self-test-nonce"
_SERIAL = "run `openssl x509 -noout -serial -in apiclient_cert.pem`, and set serial_no to what it says"
_RENEW = "fetch the present one from the merchant platform (API security), and add it to platform_keys"


def check_keys(settings: WechatEbikeSettings, now: datetime) -> Iterator[Finding]:
    """Yield what there is to say about our private key, the APIv3 key, and each of the platform's keys."""
    own = private_key(settings.private_key.get_secret_value())
    yield _private_key(own, settings, now)
    yield _apiv3_key(settings.apiv3_key.get_secret_value().encode())
    findings = [_platform_key(name, pem.get_secret_value(), own, now) for name, pem in settings.platform_keys.items()]
    serves = any(finding.status != "failed" for finding in findings)
    for finding in findings:
        if serves and finding.status == "failed":  # while they rotate: another one is good
            yield Finding.warning(finding.check, finding.detail, finding.fix or _RENEW)
        else:
            yield finding


def _private_key(own: RSAPrivateKey, settings: WechatEbikeSettings, now: datetime) -> Finding:
    """Sign as for a request, and verify that by the public half."""
    if own.key_size != _BITS:
        detail = f"an RSA key of {own.key_size} bits, which WeChat Pay does not take"
        return Finding.failed("private_key", detail, f"set private_key to apiclient_key.pem, which has {_BITS}")
    if settings.serial_no.upper() in {name.upper() for name in settings.platform_keys}:
        return Finding.failed("serial_no", "it is one of platform_keys, not our own certificate's", _SERIAL)
    header = Merchant(settings.mchid, settings.serial_no, own).authorization("POST", "/", _TEXT, now, _NONCE)
    signature = header.partition('signature="')[2].partition('"')[0]
    message = f"POST\n/\n{int(now.timestamp())}\n{_NONCE}\n".encode() + _TEXT + b"\n"
    try:
        own.public_key().verify(b64decode(signature), message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return Finding.failed("private_key", "what it signs cannot be verified", "set private_key to a whole key")
    return Finding.ok("private_key", f"RSA, {_BITS} bits; what it signs is verified")


def _apiv3_key(key: bytes) -> Finding:
    """Encrypt as the platform does, and decrypt that."""
    nonce = secrets.token_hex(6)
    resource = {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": nonce,
        "associated_data": "transaction",
        "ciphertext": b64encode(AESGCM(key).encrypt(nonce.encode(), _TEXT, b"transaction")).decode(),
    }
    try:
        opened = open_resource(key, resource) == _TEXT
    except UnopenedError:
        opened = False
    if opened:
        return Finding.ok("apiv3_key", "what it encrypts is decrypted")
    return Finding.failed("apiv3_key", "what it encrypts cannot be decrypted", "set the APIv3 key of this merchant")


def _platform_key(name: str, pem: str, own: RSAPrivateKey, now: datetime) -> Finding:
    """Say whether a platform key is one, is called by its own number, and how long it holds."""
    check = f"platform_keys.{name}"
    if platform_key(pem).public_numbers() == own.public_key().public_numbers():
        return Finding.failed(check, "it is our own key, not the platform's", _RENEW)
    found = certificate(pem)
    if found is None:
        if name.upper().startswith(_PUBLIC_KEY):
            return Finding.ok(check, "a public key, which does not end")
        detail = "a public key without its certificate: nobody can tell when it ends"
        return Finding.warning(check, detail, f"put the certificate there; a key of its own is called {_PUBLIC_KEY}…")
    serial = f"{found.serial_number:X}"
    if serial != name.upper().lstrip("0"):
        detail = f"this certificate's serial number is {serial}: no answer will name it otherwise"
        return Finding.failed(check, detail, f"call it {serial} in platform_keys")
    return _lifetime(check, found, now)


def _lifetime(check: str, found: x509.Certificate, now: datetime) -> Finding:
    if now < found.not_valid_before_utc:
        told = f"it begins on {found.not_valid_before_utc:%Y-%m-%d} only"
        return Finding.failed(check, told, "let NTP set this machine's clock, or keep the one before it as well")
    days = (found.not_valid_after_utc - now).days
    told = f"it ends in {days} days, on {found.not_valid_after_utc:%Y-%m-%d}"
    if days < 0:
        return Finding.failed(check, f"it ended on {found.not_valid_after_utc:%Y-%m-%d}", _RENEW)
    return Finding.warning(check, told, _RENEW) if days < FEWEST_DAYS else Finding.ok(check, told)
