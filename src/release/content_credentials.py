"""Content Credentials: a signed C2PA manifest in a file, with the certificate of who publishes it (c2pa.org)."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from src.core.errors import UserError
from src.release.label import SOFTWARE, SOURCE_TYPE, Label


class ContentCredentials:
    """Signs files.

    Args:
        certificate: PEM file with the signer's certificate first, then those that vouch for it.
        key: PEM file with the signer's private key, without a passphrase.

    Raises:
        UserError: a package or a file is missing; what they hold cannot sign.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        try:
            import c2pa
        except ImportError:
            raise UserError(
                "c2pa.certificate needs c2pa-python: pip install -c constraints.txt -e '.[provenance]'"
            ) from None
        chain, secret = _read(certificate, "c2pa.certificate"), _read(key, "c2pa.key")
        self.fingerprint = hashlib.sha256(chain).hexdigest()
        info = c2pa.C2paSignerInfo(_algorithm(c2pa, secret, key), chain, secret, None)
        # A thumbnail of a small image would be forty times its size.
        self._context = c2pa.Context(c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}}))
        blank = io.BytesIO()
        Image.fromarray(np.zeros((1, 1), np.uint8)).save(blank, format="PNG")
        try:
            self._signer = c2pa.Signer.from_info(info)
            signed = self.sign(blank.getvalue(), "image/png", Label("", 0))
            report = json.loads(c2pa.Reader("image/png", io.BytesIO(signed)).json())
            reason = "" if report["validation_state"] != "Invalid" else "what it signs is not valid"
        except c2pa.C2paError as problem:
            reason = " ".join(str(problem).split())
        if reason:
            raise UserError(
                f"c2pa.certificate={certificate} and c2pa.key={key} cannot sign ({reason}): give the chain that begins "
                "with the certificate of that key"
            )

    def sign(self, content: bytes, media_type: str, label: Label) -> bytes:
        """A file → the same with a manifest that says that a trained model created it. Another signature each time."""
        import c2pa

        created = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE, "description": label.sentence}
        manifest = {
            "claim_generator_info": [{"name": SOFTWARE}],
            "title": label.sentence,
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [created]}}],
        }
        signed = io.BytesIO()
        builder = c2pa.Builder(json.dumps(manifest), context=self._context)
        builder.sign(self._signer, media_type, io.BytesIO(content), signed)
        return signed.getvalue()


def _algorithm(c2pa: Any, secret: bytes, path: Path) -> Any:
    """The signature that goes with a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(secret, password=None)
    except (ValueError, TypeError) as problem:  # no PEM; a passphrase
        raise UserError(
            f"c2pa.key={path} is no private key in PEM without a passphrase: openssl pkcs8 -in <key> -topk8 -nocrypt "
            "writes one"
        ) from problem
    if isinstance(key, ec.EllipticCurvePrivateKey):
        name = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}.get(key.curve.name)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        name = "ED25519"
    else:
        name = "PS256" if isinstance(key, rsa.RSAPrivateKey) else None
    if name is None:
        raise UserError(f"c2pa.key={path} is of a kind that C2PA does not sign with: take a P-256 or an Ed25519 key")
    return getattr(c2pa.C2paSigningAlg, name)


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise UserError(f"{setting}={path} cannot be read ({problem.strerror}): check the path") from problem
