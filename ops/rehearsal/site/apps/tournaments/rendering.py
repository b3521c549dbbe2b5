"""Draws a certificate as PDF and as PNG. ReportLab and Pillow are imported with the first one, not at start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

_WIDTH, _HEIGHT = 842, 595  # an A4 page across, in points
_PLAIN_PNG_KB = 8
_NOISE_WIDTH = 256  # pixels of three random bytes, which no compression makes smaller


@dataclass(frozen=True)
class Text:
    """What stands on a certificate."""

    title: str
    lines: tuple[str, ...]


def pdf(text: Text, size_kb: int | None) -> bytes:
    """Returns a one-page PDF, of about `size_kb` KB (1,024 bytes) if a size is asked for, else of 2 KB."""
    from reportlab import rl_config  # noqa: PLC0415 - see above
    from reportlab.lib.utils import ImageReader  # noqa: PLC0415 - see above
    from reportlab.pdfgen.canvas import Canvas  # noqa: PLC0415 - see above

    rl_config.useA85 = 0  # as text, the filling would grow by a quarter
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=(_WIDTH, _HEIGHT), pageCompression=1)
    canvas.setTitle(text.title)
    canvas.setFont("Helvetica-Bold", 36)
    canvas.drawCentredString(_WIDTH / 2, 400, text.title)
    canvas.setFont("Helvetica", 18)
    for number, line in enumerate(text.lines):
        canvas.drawCentredString(_WIDTH / 2, 340 - 30 * number, line)
    if size_kb is not None:
        canvas.drawImage(ImageReader(_noise(size_kb)), 40, 40, width=_WIDTH - 80, height=100)
    canvas.save()
    return buffer.getvalue()


def png(text: Text, size_kb: int | None) -> bytes:
    """Returns the certificate as a PNG, of about `size_kb` KB if that is more than the 8 KB that it has anyway."""
    from PIL import Image, ImageDraw  # noqa: PLC0415 - see above

    image = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    drawing = ImageDraw.Draw(image)
    for number, line in enumerate((text.title, *text.lines)):
        drawing.text((60, 60 + 30 * number), line, fill="black")
    if size_kb is not None and size_kb > _PLAIN_PNG_KB:
        noise = _noise(size_kb - _PLAIN_PNG_KB)
        whole = Image.new("RGB", (_WIDTH, _HEIGHT + noise.height), "white")
        whole.paste(image)
        whole.paste(noise, (0, _HEIGHT))
        image = whole
    buffer = BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _noise(size_kb: int) -> Image:
    from PIL import Image  # noqa: PLC0415 - see above

    height = max(1, size_kb * 1024 // (3 * _NOISE_WIDTH))
    return Image.frombytes("RGB", (_NOISE_WIDTH, height), os.urandom(3 * _NOISE_WIDTH * height))
