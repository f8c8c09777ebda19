"""The signature (section 7.1): a Sigstore bundle with the method `key`."""

import base64
import hashlib
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from . import json_strict as js

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST = 240 << 20

HASHES = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}

BASE64 = re.compile(r"([A-Za-z0-9+/]*|[A-Za-z0-9_-]*)(={0,2})")

MATERIALS = ("publicKey", "x509CertificateChain", "certificate")

BUNDLE = js.members({
    "mediaType": js.string,
    "verificationMaterial": js.members({
        "publicKey": js.or_null(js.members({"hint": js.or_null(js.string)})),
        "x509CertificateChain": js.or_null(js.members({})),
        "certificate": js.or_null(js.members({})),
        "tlogEntries": js.anything,
        "timestampVerificationData": js.anything,
    }),
    "dsseEnvelope": js.members({
        "payload": js.string,
        "payloadType": js.string,
        "signatures": js.array_of(js.members({"sig": js.string})),
    }),
})  # fmt: skip


class BadSignature(Exception):
    """The bundle is malformed, or its signature doesn't hold."""


class TrustedKey:
    """The public key of the signer who is trusted."""

    def __init__(self, pem):
        self.key = serialization.load_pem_public_key(pem)
        if not isinstance(self.key, ec.EllipticCurvePublicKey) or self.key.curve.name not in HASHES:
            raise ValueError("the key is on none of the curves P-256, P-384 and P-521")
        encoded = self.key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.hint = hashlib.sha256(encoded).hexdigest()

    def check(self, message, signature):
        try:
            self.key.verify(signature, message, ec.ECDSA(HASHES[self.key.curve.name]()))
        except InvalidSignature:
            raise BadSignature("the signature isn't by the trusted key over the payload") from None


def message_over(payload):
    """What is signed (DSSE, pre-authentication encoding)."""
    return b"DSSEv1 %d %s %d %s" % (
        len(PAYLOAD_TYPE),
        PAYLOAD_TYPE.encode(),
        len(payload),
        payload,
    )


def decode(text):
    """Base64 in either alphabet, padded or not."""
    match = BASE64.fullmatch(text)
    if match is None:
        raise BadSignature("not base64")
    digits, padding = match.groups()
    if len(digits) % 4 == 1 or padding and len(text) % 4 != 0:
        raise BadSignature("base64 of another length")
    digits = digits.replace("-", "+").replace("_", "/")
    decoded = base64.b64decode(digits + "=" * (-len(digits) % 4))
    if base64.b64encode(decoded).decode().rstrip("=") != digits:
        raise BadSignature("unused bits of base64 that aren't zero")
    return decoded


def signed_payload(document, trusted):
    """The payload of a bundle that the trusted key signed."""
    try:
        bundle = js.parse(document, BUNDLE)
        material = js.required(bundle, "verificationMaterial")
        envelope = js.required(bundle, "dsseEnvelope")
        media_type, payload, payload_type, signatures = (
            js.required(bundle, "mediaType"),
            js.required(envelope, "payload"),
            js.required(envelope, "payloadType"),
            js.required(envelope, "signatures"),
        )
        signature = js.required(signatures[0], "sig") if len(signatures) == 1 else None
    except js.Malformed as error:
        raise BadSignature(f"the bundle is malformed: {error}") from None
    if media_type != MEDIA_TYPE:
        raise BadSignature("another media type")
    if payload_type != PAYLOAD_TYPE:
        raise BadSignature("another payload type")
    if signature is None:
        raise BadSignature(f"{len(signatures)} signatures")
    if [name for name in MATERIALS if material.get(name) is not None] != ["publicKey"]:
        raise BadSignature("not signed with the method `key`")
    hint = material["publicKey"].get("hint")
    if hint and hint != trusted.hint:
        raise BadSignature("signed by another key")
    payload = decode(payload)
    trusted.check(message_over(payload), decode(signature))
    return payload
