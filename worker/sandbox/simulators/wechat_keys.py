"""WeChat Pay's side of APIv3: its keys and the merchant's, what it signs and encrypts. Written apart from the adapter.

With a directory, keys are read from there, and made and written where they are missing:

| file | holds |
|------|-------|
| `apiclient_key.pem` | the merchant's private key: the worker's `private_key` |
| `<serial>.pem` | a platform key for the worker's `platform_keys`: the first a certificate, the others public keys |
| `<serial>_private.pem` | what the simulator signs with |

The key that comes next is there from the start, so that a merchant can know it before anything is signed with it.
"""

import base64
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

MERCHANT_FILE = "apiclient_key.pem"
FIRST_SERIAL = "5157F09EFDC096DE15EBE81A47057A7200000001"
"""The platform key that signs at first: a certificate, as merchants of old have."""

_PEM = serialization.Encoding.PEM
_BITS = 2048


def serial_of(number: int) -> str:
    """Return the serial of the platform's key `number`, counted from 0."""
    return f"PUB_KEY_ID_011900000001{number:016d}" if number else FIRST_SERIAL


@dataclass(frozen=True, slots=True)
class PlatformKey:
    """A key that the platform signs with, and what merchants verify it with: a certificate or public key, in PEM."""

    serial: str
    private: rsa.RSAPrivateKey
    shown: str


class Keys:
    """All keys of one simulator; they are made when first needed, since that takes a while."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._merchant: rsa.RSAPrivateKey | None = None
        self._platform: list[PlatformKey] = []
        self._current = 0
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self._merchant = self._private(MERCHANT_FILE)
            self.platform(1)

    @property
    def current(self) -> PlatformKey:
        """The key that signs now."""
        return self.platform(self._current)

    @property
    def merchant(self) -> rsa.RSAPrivateKey:
        """The merchant's key; the simulator itself uses only its public half."""
        if self._merchant is None:
            self._merchant = self._private(MERCHANT_FILE)
        return self._merchant

    def platform(self, number: int) -> PlatformKey:
        """Return the platform's key `number`, counted from 0."""
        while len(self._platform) <= number:
            serial = serial_of(len(self._platform))
            key = self._private(f"{serial}_private.pem")
            shown = _certificate(serial, key) if serial == FIRST_SERIAL else _public(key)
            self._write(f"{serial}.pem", shown)
            self._platform.append(PlatformKey(serial, key, shown))
        return self._platform[number]

    def rotate(self) -> PlatformKey:
        """Sign with the next key from now on, make another, and return the one that signs now."""
        self._current += 1
        self.platform(self._current + 1)
        return self.current

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Return whether the merchant has signed this."""
        try:
            self.merchant.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def sign(self, body: bytes, *, seconds: float = 0) -> dict[str, str]:
        """Return the headers that prove a body; `seconds` shifts the time that they name."""
        timestamp, nonce = str(int(time.time() + seconds)), secrets.token_hex(16)
        message = b"\n".join((timestamp.encode(), nonce.encode(), body, b""))
        signature = self.current.private.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return {
            "Wechatpay-Timestamp": timestamp,
            "Wechatpay-Nonce": nonce,
            "Wechatpay-Signature": base64.b64encode(signature).decode(),
            "Wechatpay-Serial": self.current.serial,
        }

    def _private(self, name: str) -> rsa.RSAPrivateKey:
        if self._directory is not None and (path := self._directory / name).exists():
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            if isinstance(key, rsa.RSAPrivateKey):
                return key
            raise ValueError(f"keys: {path} is not an RSA key")
        made = rsa.generate_private_key(65537, _BITS)
        pem = made.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self._write(name, pem.decode(), secret=True)
        return made

    def _write(self, name: str, text: str, *, secret: bool = False) -> None:
        if self._directory is not None:
            path = self._directory / name
            path.touch(mode=0o600 if secret else 0o644)
            path.write_text(text)


def seal(plain: bytes, apiv3_key: str, kind: str) -> Mapping[str, str]:
    """Return a callback's `resource`: `plain` encrypted with the merchant's APIv3 key."""
    nonce = secrets.token_hex(6)
    sealed = AESGCM(apiv3_key.encode()).encrypt(nonce.encode(), plain, kind.encode())
    return {
        "original_type": kind,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": base64.b64encode(sealed).decode(),
        "associated_data": kind,
        "nonce": nonce,
    }


def _public(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def _certificate(serial: str, key: rsa.RSAPrivateKey) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WeChat Pay sandbox")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(int(serial, 16))
        .public_key(key.public_key())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(_PEM).decode()
