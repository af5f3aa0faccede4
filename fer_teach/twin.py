"""A slider that works on a page without a kernel: one picture for every position, drawn beforehand."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from string import Template

_WIDEST = 1200  # pixels; nearly twice the width that a page gives a figure
_LARGE = 10_000  # bytes; above this a frame may lose a little sharpness

# One style and one script serve every twin of a page. Nothing refers to an id, so a twin may be shown twice.
_STYLE = """
.ft-twin{margin:1rem 0;max-width:44rem}
.ft-twin img{display:block;max-width:100%;height:auto;margin:0;background:#fff;border-radius:.35rem}
.ft-twin img[hidden],.ft-twin-bar[hidden]{display:none!important}
.ft-twin-bar{display:grid;grid-template-columns:auto minmax(4rem,1fr) minmax(3em,auto);gap:.25rem .9rem;
align-items:center;margin-top:.6rem;font-size:.95rem}
.ft-twin-bar label{display:contents}
.ft-twin-bar input{width:100%;height:1.75rem;margin:0;cursor:pointer;accent-color:var(--pst-color-primary,#0b6e6e)}
.ft-twin-bar input:focus-visible{outline:3px solid var(--pst-color-primary,#0b6e6e);outline-offset:2px}
.ft-twin-bar output{font-variant-numeric:tabular-nums;font-weight:600}
.ft-twin-say{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
""".strip()
_SCRIPT = """
(function(){document.querySelectorAll('figure.ft-twin:not([data-ready])').forEach(function(twin){
var bar=twin.querySelector('.ft-twin-bar'),slider=bar.querySelector('input'),out=bar.querySelector('output');
var frames=twin.querySelectorAll('img'),say=twin.querySelector('.ft-twin-say');
function show(speak){var now=frames[+slider.value];frames.forEach(function(f){f.hidden=f!==now});
out.textContent=now.dataset.label;slider.setAttribute('aria-valuetext',now.dataset.label);if(speak)say.textContent=now.alt}
slider.addEventListener('input',function(){show(true)});
twin.dataset.ready='';bar.hidden=false;slider.value=slider.defaultValue;show(false)})})();
""".strip()
_PAGE = Template(
    '<figure class="ft-twin"><style>$style</style>$frames'
    '<div class="ft-twin-bar" hidden><label><span>$name</span>'
    '<input type="range" min="0" max="$last" step="1" value="$start" aria-valuetext="$label"></label>'
    '<output aria-live="off">$label</output></div>'
    '<span class="ft-twin-say" aria-live="polite"></span>'
    "<noscript><p>$name: $label. Moving the slider needs JavaScript.</p></noscript>"
    "<script>$script</script></figure>"
)


class Twin:
    """Pictures with a label each and the slider that chooses one; shown as HTML by Jupyter, Colab and the book."""

    def __init__(self, name: str, frames: Sequence[tuple[str, str, tuple[str, int, int]]], start: int):
        self.name, self.start = name, start
        self.labels, self.alt, self._pictures = zip(*frames, strict=True)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def width(self) -> int:
        """Of the widest picture, in pixels."""
        return max(width for _, width, _ in self._pictures)

    def __repr__(self) -> str:
        return f"{self.name}: {len(self)} pictures, from {self.labels[0]} to {self.labels[-1]}"

    def _repr_html_(self) -> str:
        frames = "".join(
            f'<img src="{uri}" width="{width}" height="{height}" alt="{escape(alt)}" data-label="{escape(label)}"'
            f"{'' if i == self.start else ' hidden'}>"
            for i, (label, alt, (uri, width, height)) in enumerate(
                zip(self.labels, self.alt, self._pictures, strict=True)
            )
        )
        return _PAGE.substitute(
            style=_STYLE,
            script=_SCRIPT,
            frames=frames,
            name=escape(self.name),
            last=len(self) - 1,
            start=self.start,
            label=escape(self.labels[self.start]),
        )


def twin(
    frames: Sequence,
    name: str,
    alt: Callable[[str], str] | Sequence[str],
    start: int = 0,
    labels: Sequence | None = None,
) -> Twin:
    """Make the kernel-free counterpart of a live slider.

    frames: (label, picture) pairs in the slider's order, or pictures alone where `labels` is given. A picture is a
        matplotlib Figure (drawn, then closed, so that a notebook does not show it once more), the bytes of an image
        file or a PIL image; it is laid on white and kept as WebP, no wider than 1200 px.
    name: what the slider changes, shown beside it.
    alt: what each picture shows, in words: one text a frame, or a function of the label.
    start: index of the picture that is shown first; it alone is shown where scripts do not run.
    Raises ValueError for no frames, a start outside them, and labels or texts that are missing or too few.
    """
    if labels is not None:
        frames = list(zip(labels, frames, strict=True))
    frames = list(frames)
    if not frames:
        raise ValueError("a twin needs at least one frame")
    if not 0 <= start < len(frames):
        raise ValueError(f"start must lie in 0..{len(frames) - 1}, got {start}")
    names = [str(label) for label, _ in frames]
    texts = [alt(label) for label in names] if callable(alt) else list(alt)
    if len(texts) != len(frames) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"every one of the {len(frames)} frames needs a text that says what it shows")
    pictures = [_encode(picture) for _, picture in frames]
    return Twin(name, list(zip(names, texts, pictures, strict=True)), start)


def flat(image):
    """Lay a PIL image on white, and keep 256 of its colours where one can hardly tell: a palette packs far better.

    Hardly means that no channel moves by more than 40 of 255, nor by more than 2.5 in root mean square. Returns an RGB
    image, or a palette image of the same size.
    """
    from PIL import Image, ImageChops, ImageStat

    if "transparency" in image.info or "A" in image.getbands():
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("RGB")
    few = image.quantize(256, kmeans=1, dither=Image.Dither.NONE)
    moved = ImageStat.Stat(ImageChops.difference(image, few.convert("RGB")))
    worst = max(high for _, high in moved.extrema)
    return few if worst <= 40 and max(moved.rms) <= 2.5 else image


def _encode(picture) -> tuple[str, int, int]:
    """Return a picture as a data URI with its width and height in pixels."""
    from PIL import Image

    if hasattr(picture, "savefig"):
        picture = _draw(picture)
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else picture
    if image.width > _WIDEST:
        image = image.convert("RGBA").resize((_WIDEST, round(image.height * _WIDEST / image.width)))
    image = flat(image).convert("RGB")
    packed, lossy = webp(image, lossless=True), webp(image, quality=70)
    if len(packed) > _LARGE or len(lossy) < 0.3 * len(packed):  # large, or a face in colour
        packed = min(packed, lossy, key=len)
    return "data:image/webp;base64," + base64.b64encode(packed).decode(), image.width, image.height


def webp(image, **options) -> bytes:
    """A PIL image as a WebP file. options: Pillow's, such as lossless or quality."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", method=6, **options)
    return buffer.getvalue()


def _draw(figure) -> bytes:
    from matplotlib import pyplot

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    pyplot.close(figure)
    return buffer.getvalue()
