"""What an exported file says of itself, in words that machines know: that a trained network made it, and which."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from src.data.scale import Scale

SOFTWARE = "GAN augmentation (src.generate)"
# IPTC's term for media that a model made which learned from others
# (https://cv.iptc.org/newscodes/digitalsourcetype/).
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NAMESPACES = {
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "x": "adobe:ns:meta/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
}


@dataclass(frozen=True)
class Label:
    """The same for equal pixels: no date, no place.

    Args:
        generator: model, run and checkpoint, in words.
        seed: of the latents of the data set.
        index: of the image; None for a picture of several.
        kind: ``image``, or the name of a mask.
        case: digest of all that, with the index, decides the pixels.
        shows: what the image shows, such as its class, by name.
        scale: of which the file holds the values, in place of the pixels; None: the pixels.
    """

    generator: str
    seed: int
    index: int | None = None
    kind: str = "image"
    case: str = ""
    shows: Mapping[str, str] = field(default_factory=dict)
    scale: Scale | None = None

    @property
    def sentence(self) -> str:
        """One line, in ASCII."""
        what = "Synthetic image" if self.kind == "image" else f"Mask ({_ascii(self.kind)}) of a synthetic image"
        return f"{what}, trainedAlgorithmicMedia: a neural network made it, it shows no real patient"

    def facts(self) -> dict[str, str]:
        facts = {
            "Synthetic": "true",
            "DigitalSourceType": SOURCE_TYPE,
            "Software": SOFTWARE,
            "Generator": self.generator,
            "Seed": str(self.seed),
            "Kind": self.kind,
        }
        if self.scale is not None:
            facts |= {"Unit": self.scale.unit or "as in the files that the generator learned from"}
        return facts | ({} if self.index is None else {"Index": str(self.index)}) | dict(self.shows)

    def as_json(self) -> str:
        return json.dumps({"Description": self.sentence, **self.facts()}, indent=1)

    def xmp(self) -> bytes:
        """A packet of XMP (ISO 16684-1) with IPTC's DigitalSourceType and AISystemUsed (Photo Metadata 2025.1)."""
        spaces = " ".join(f"xmlns:{name}={quoteattr(NAMESPACES[name])}" for name in ("Iptc4xmpExt", "dc", "xmp"))
        text = escape(self.sentence)
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
            f'<x:xmpmeta xmlns:x="{NAMESPACES["x"]}"><rdf:RDF xmlns:rdf="{NAMESPACES["rdf"]}">\n'
            f'<rdf:Description rdf:about="" {spaces}\n'
            f" Iptc4xmpExt:DigitalSourceType={quoteattr(SOURCE_TYPE)}\n"
            f" Iptc4xmpExt:AISystemUsed={quoteattr(self.generator)}\n"
            f" xmp:CreatorTool={quoteattr(SOFTWARE)}>\n"
            f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></dc:description>\n'
            "</rdf:Description></rdf:RDF></x:xmpmeta>\n"
            '<?xpacket end="w"?>'
        ).encode()

    def uid(self, *parts: object) -> str:
        """A DICOM unique identifier derived from a UUID (PS3.5 B.2): equal pixels have equal ones, others never."""
        digest = hashlib.sha256("\0".join([self.case, *map(str, parts)]).encode()).digest()
        return f"2.25.{uuid.UUID(bytes=digest[:16], version=4).int}"


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
