"""Signed manifests: another program verifies them, and what cannot sign is said before anything is made."""

from __future__ import annotations

import datetime
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.core.errors import UserError
from src.generate import main
from src.release.content_credentials import ContentCredentials
from src.release.formats.jpeg import Jpeg
from src.release.formats.png import Png
from src.release.formats.tiff import Tiff
from src.release.label import SOURCE_TYPE, Label
from tests.conftest import read_json

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed")  # it brings cryptography

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

PIXELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
LABEL = Label("dcgan of run a", 0, 3)


def certificate(subject: str, key, issuer: str, issuer_key, is_authority: bool) -> bytes:
    names = [
        x509.Name(
            [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "A Hospital"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        for name in (subject, issuer)
    ]
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(not is_authority, False, False, False, False, is_authority, is_authority, False, False)
    built = (
        x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(is_authority, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
    )
    if not is_authority:
        built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return built.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key, passphrase: bytes | None = None) -> bytes:
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


@pytest.fixture(params=["P-256", "Ed25519"])
def signer(request, tmp_path) -> tuple[Path, Path]:
    """A chain of two certificates, and the key of the first."""
    authority = ec.generate_private_key(ec.SECP256R1())
    is_curve = request.param == "P-256"
    key = ec.generate_private_key(ec.SECP256R1()) if is_curve else ed25519.Ed25519PrivateKey.generate()
    chain = certificate("Signer", key, "Authority", authority, False)
    chain += certificate("Authority", authority, "Authority", authority, True)
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(pem(key))
    return tmp_path / "chain.pem", tmp_path / "key.pem"


def manifest_of(content: bytes, media_type: str) -> tuple[dict, dict]:
    report = json.loads(c2pa.Reader(media_type, io.BytesIO(content)).json())
    return report, report["manifests"][report["active_manifest"]]


@pytest.mark.parametrize("form", [Png(), Jpeg(), Tiff()], ids=lambda form: form.name)
def test_a_signed_file_says_who_and_that_a_model_made_it_and_keeps_its_pixels(signer, form, tmp_path):
    form.save(PIXELS, tmp_path / "a", LABEL, ContentCredentials(*signer))
    content = (tmp_path / "a").read_bytes()
    report, manifest = manifest_of(content, form.media_type)
    assert report["validation_state"] == "Valid"  # by its own chain; who is trusted is for the reader to say
    assert manifest["signature_info"]["issuer"] == "A Hospital"
    actions = next(
        each["data"]["actions"] for each in manifest["assertions"] if each["label"].startswith("c2pa.actions")
    )
    assert actions[0]["action"] == "c2pa.created" and actions[0]["digitalSourceType"] == SOURCE_TYPE
    assert np.array_equal(form.decode(content), form.decode(form.encode(PIXELS, LABEL)))
    assert SOURCE_TYPE.encode() in content and len(content) < len(form.encode(PIXELS, LABEL)) + 20_000
    if shutil.which("exiftool"):
        shown = subprocess.run(["exiftool", "-a", "-j", str(tmp_path / "a")], capture_output=True, text=True).stdout
        assert json.loads(shown)[0]["DigitalSourceType"] == SOURCE_TYPE


def test_a_file_that_was_changed_after_signing_is_no_longer_valid(signer):
    content = ContentCredentials(*signer).sign(Png().encode(PIXELS, LABEL), "image/png", LABEL)
    changed = content.replace(b"dcgan of run a", b"drawn by hand.")
    assert len(changed) == len(content) and changed != content
    assert manifest_of(changed, "image/png")[0]["validation_state"] == "Invalid"


def test_what_cannot_sign_is_one_line(signer, tmp_path):
    chain, key = signer
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "other.pem").write_bytes(pem(other))
    (tmp_path / "locked.pem").write_bytes(pem(other, b"secret"))
    for given, said in (
        ((chain, tmp_path / "none.pem"), r"c2pa.key=.*none.pem cannot be read \(No such file"),
        ((chain, chain), "is no private key in PEM without a passphrase"),
        ((chain, tmp_path / "locked.pem"), "is no private key in PEM without a passphrase"),
        ((chain, tmp_path / "other.pem"), "cannot sign .*give the chain that begins with the certificate of that key"),
        ((key, key), "cannot sign .*the certificate is invalid"),
    ):
        with pytest.raises(UserError, match=said) as raised:
            ContentCredentials(*given)
        assert "\n" not in str(raised.value)


def test_every_file_of_an_export_is_signed_and_a_stopped_one_goes_on(signer, run_tiny, capfd):
    chain, key = signer
    assert run_tiny("name=a", "images=64", "with_masks=true").status == 0
    asked = [
        "run=outputs/a",
        "progress=false",
        "device=cpu",
        "copies.share=null",
        "masks.reject=false",
        "out=out",
        "n=2",
    ]
    assert main([*asked, f"c2pa.certificate={chain}"]) == 2
    assert "c2pa.certificate and c2pa.key belong together" in capfd.readouterr().err
    signed = [*asked, f"c2pa.certificate={chain}", f"c2pa.key={key}"]
    assert main([*signed, "format=npz"]) == 2
    assert "format=npz holds no C2PA manifest: take png" in capfd.readouterr().err
    assert main(signed) == 0, capfd.readouterr().err
    files = [*Path("out/images").iterdir(), *Path("out/masks/lung").iterdir(), Path("out/preview.png")]
    before = {file: file.read_bytes() for file in files}
    assert all(manifest_of(content, "image/png")[0]["validation_state"] == "Valid" for content in before.values())
    record = read_json(Path("out/dataset.json"))
    Path("out/dataset.json").write_text(json.dumps({**record, "complete": False}))
    assert main(signed) == 0
    assert all(file.read_bytes() == content for file, content in before.items() if file.name != "preview.png")
    assert main(asked) == 2 and "another data set (signed_by was" in capfd.readouterr().err


def test_without_the_package_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(UserError, match=r"needs c2pa-python: pip install -c \S+ -e '.\[provenance\]'"):
        ContentCredentials(tmp_path / "a", tmp_path / "b")
