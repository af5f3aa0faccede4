# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Local-global relation network: find the eyes without being told where
#
# To mark eyes and mouth in many photographs is slow work. But many photographs carry words: *eyes closed*, *mouth open*. A network that learns such a word
# should look at the right place, and the place can be read off as a map. The paper looks through such maps at eyes and mouth, and lets a small unit
# weigh eyes, mouth and whole face against each other {cite}`l-zhang2020weakly`.
#
# ```{admonition} After this chapter you can
# - train a map of where a word is answered from, test it against true masks, and carry it to other faces;
# - test, step by step, what may keep a classifier at one half;
# - pool features through maps, train on pairs, and test with pairs of seeds whether each part helps.
# ```
# You need convolutions and the chain rule. Running this page takes about a minute and a half on two cores.

# %% tags=["remove-cell"]
# In Colab: install the book's package if it is missing, and leave numpy and torch as they are.
import importlib.metadata as installed
import importlib.util

if importlib.util.find_spec("fer_teach") is None:
    held = " ".join(f"{name}=={installed.version(name)}" for name in ("numpy", "torch", "torchvision"))
    get_ipython().system(f"pip install -q {held} git+https://github.com/fer-teach/fer-teach")  # noqa: F821

# %% tags=["parameters"]
PROFILE = "quick"  # quick, full or paper
DATA = "rendered"  # any name that fer_teach.data knows; celeba brings attributes of its own
DATA_ROOT = None  # the folder where your copy of it lies
SEED = 0
WEAK = None  # what the maps learn from: None is DATA where it knows words for eyes and mouth, and rendered faces otherwise
WEAK_ROOT = None  # the folder of WEAK

# %% tags=["method"]
import hashlib
from dataclasses import replace
from functools import partial
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.feature import hog
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur

from fer_teach import claims, contrasts, data, evaluation, figures, landmarks, tables, training
from fer_teach.augment import move, shifted
from fer_teach.devices import on_fastest
from fer_teach.errors import FerTeachError
from fer_teach.faces.pack import SPLITS as RENDERED
from fer_teach.htmltable import Table
from fer_teach.parts import part_masks
from fer_teach.processor import fast_bf16
from fer_teach.record import begin, record, record_mean, record_rate
from fer_teach.sweep import keep, sweep

# %% [markdown]
# The maps are learned from *weak* faces, which have attributes, and moved to faces with expressions. Where a data set knows attributes, as the rendered
# faces and CelebA {cite}`l-liu2015deep` do, both are one set, unless `WEAK` names another. Otherwise the maps come from rendered faces. The networks see grey
# images of 64 by 64. CelebA's pictures show shoulders and hair; we cut out the square that the face fills, as the other sets do.

# %% tags=["method"]
PARTS = {  # the words that may be known of a part: the rendered faces' own, then CelebA's
    "eyes": ("eyes_closed", "Eyeglasses", "Narrow_Eyes", "Bags_Under_Eyes"),
    "mouth": ("mouth_open", "Mouth_Slightly_Open", "Smiling"),
}

def words_for(part, split):
    """Names of the attributes for a part, "eyes" or "mouth", that a data set knows; at least one."""
    known = [name for name in PARTS[part] if name in (split.attributes or {})]
    if not known:
        raise FerTeachError(f"{split.name} has no attribute for the {part}: {', '.join(PARTS[part])}")
    return known

# %%
figures.use_style()
def seen(splits):
    return {name: split.grey().resize(64) for name, split in splits.items()}

def load(name, root):
    return data.splits(name, root=root, **({"crop": "face"} if name == "celeba" else {}))

splits = load(DATA, DATA_ROOT)
known = all(set(words) & set(splits["train"].attributes or {}) for words in PARTS.values())
source = WEAK or (DATA if known else "rendered")
shared = source == DATA and WEAK_ROOT in (None, DATA_ROOT)
weak = seen(splits if shared else load(source, WEAK_ROOT))
words = {part: words_for(part, weak["train"]) for part in PARTS}
rendered = seen(data.splits("rendered")) if max(map(len, words.values())) > 1 else None  # with several words, one set more to learn from

# %%
most = {"train": 2000, "valid": 400, "test": 400} if PROFILE == "quick" else {"train": 30_000}
draw = torch.Generator().manual_seed(SEED)
splits = {s: d[torch.randperm(len(d), generator=draw)[: most.get(s)]] for s, d in splits.items()}
if not shared:
    unseen = torch.zeros(68, 2)  # never looked at: below, only faces that dlib sees count
    splits["test"] = landmarks.landmarked(splits["test"], stand_in=unseen)  # where do the maps point? dlib shall tell
splits = seen(splits)
test, classes = splits["test"], splits["test"].classes
SEEDS = {"quick": [SEED], "full": [SEED + s for s in range(5)], "paper": [SEED]}[PROFILE]
learned_from = {} if shared else {f"{source} {name}": split for name, split in weak.items()}
learned_from |= {f"rendered {name}": split for name, split in (rendered or {}).items()}
begin("05_local_global_relation", PROFILE, splits | learned_from, SEED)
more = "" if rendered is None or source == "rendered" else f" and, to begin with, rendered, {len(rendered['train']):,}"
print(f"Expressions: {DATA}, {len(splits['train']):,} faces to learn from. Maps: {source}, {len(weak['train']):,}{more}.")

# %% [markdown]
# ![The paper in one picture. A face goes two ways. Above, frozen attention maps of eyes and mouth multiply local features; pooling gives a vector for the eyes
# and one for the mouth. Below, global features give one vector for the face. The relation unit weighs the three vectors and adds them; a classifier
# names the expression. A second face goes through the same network, and contrastive losses compare the two.](images/05_local_global_relation.svg)
#
# ## What a picture is made of, before networks
#
# A course group that set out to rebuild the paper took its local features from SIFT and its global ones from HOG. Both count *edges*: how strong, in
# which direction. SIFT {cite}`l-lowe2004distinctive` first asks where something is, and how large. It blurs the picture more and more and subtracts
# neighbours. With $G_\sigma * I$ the picture blurred by $\sigma$,
#
# $$D_\sigma = G_{k\sigma} * I - G_\sigma * I \tag{1}$$
#
# with a fixed $k > 1$ is far from zero where a blob of fitting size lies. For our $k = \sqrt 2$ its radius is about $1.7\, \sigma$. Key points are the
# extremes of $D$ over place and scale.

# %% tags=["method"]
def pixels_of(image):
    """One grey image, uint8 (H, W), from a tensor or array, uint8 (H, W) or (1, H, W)."""
    if np.asarray(image).dtype != np.uint8 or np.prod(np.shape(image)[:-2]) != 1:
        raise FerTeachError(f"SIFT and HOG read one grey image, uint8 (H, W), not {np.asarray(image).dtype} {tuple(np.shape(image))}")
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).reshape(np.shape(image)[-2:]))

def scale_space(image, sigmas):
    """Differences of Gaussians (equation 1). image: uint8 (H, W). Returns float32 (len(sigmas) - 1, H, W)."""
    blurred = [cv2.GaussianBlur(pixels_of(image).astype(np.float32), (0, 0), sigma) for sigma in sigmas]
    return np.stack([b - a for a, b in zip(blurred, blurred[1:], strict=False)])

def sift_keypoints(image):
    """SIFT's key points in an image, uint8 (H, W): (points (n, 4) of x, y, diameter, degrees; descriptors (n, 128); picture).

    The picture, uint8 (3, H, W), shows each point as a circle of its size with a radius in its direction.
    """
    grey = pixels_of(image)
    found, descriptors = cv2.SIFT_create().detectAndCompute(grey, None)
    points = np.array([[*p.pt, p.size, p.angle] for p in found], np.float32).reshape(-1, 4)
    drawn = cv2.drawKeypoints(grey, found, None, (232, 89, 12), cv2.DRAW_MATCHES_FLAGS_DRAW_RICH_KEYPOINTS)
    descriptors = np.zeros((0, 128), np.float32) if descriptors is None else descriptors
    return points, descriptors, np.ascontiguousarray(drawn.transpose(2, 0, 1))

# %% mystnb={"image": {"alt": "One rendered face four times: grey; as two differences of Gaussians, the finer with thin edges, the coarser with blobs as large as an eye; and with circles at SIFT's key points."}}
large = data.load("rendered", split="gallery").grey()
face = large.images[large.attributes["yaw"].abs().argsort()[int(large.labels[0] == 0) + 3]]
sigmas = [1.6 * 2 ** (i / 2) for i in range(7)]
differences = scale_space(face, sigmas)
points, descriptors, drawn = sift_keypoints(face)
shown = [face, *(torch.from_numpy(d / np.abs(d).max()) for d in differences[[0, 4]]), torch.from_numpy(drawn)]
figures.gallery(shown, ["face", f"D at {sigmas[0]:.1f} px", f"D at {sigmas[4]:.1f} px", f"{len(points)} key points"], size=2.1)

# %% [markdown]
# Move $\sigma$. At which size do the eyes stand out, at which the mouth, at which the head?

# %%
def blobs(sigma=4.0):
    found = torch.from_numpy(scale_space(face, [sigma, 2**0.5 * sigma])[0])
    return figures.gallery([face, found / found.abs().max()], columns=2, size=2.1)

figures.sliders(blobs, "A face, and beside it its difference of Gaussians, in which blobs of one size are bright or dark", sigma=(1, 13, 2, 5))

# %% [markdown]
# Around each point stands a grid of 4 by 4 cells, in each a histogram of edges over eight directions: a *descriptor* of 128 numbers, turned into the
# point's own direction and scaled to a fixed length. *Dense* SIFT takes a descriptor at each point of a lattice. HOG {cite}`l-dalal2005histograms`
# tiles the face with cells, nine directions to a cell, and scales blocks of 2 by 2 cells to one length.

# %% tags=["method"]
def dense_sift(image, step):
    """SIFT every `step` pixels: (descriptors (rows, columns, 128), energy (rows, columns)).

    image: uint8 (H, W). A descriptor's length is fixed, so it cannot say how strong the edges are; the energy can: the mean
    length of the gradient in the step by step pixels around each point, in grey levels a pixel.
    """
    grey = pixels_of(image)
    rows, columns = (np.arange(step / 2, side, step, dtype=np.float32) for side in grey.shape)
    lattice = [cv2.KeyPoint(float(x), float(y), 2 * step, 0) for y in rows for x in columns]
    _, descriptors = cv2.SIFT_create().compute(grey, lattice)
    dx, dy = (cv2.Sobel(grey, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1)))
    length, starts = np.hypot(dx, dy)[: len(rows) * step, : len(columns) * step], [step * np.arange(len(p)) for p in (rows, columns)]
    total, pixels = (np.add.reduceat(np.add.reduceat(v, starts[0], 0), starts[1], 1) for v in (length, np.ones_like(length)))
    energy = total / pixels
    return descriptors.reshape(len(rows), len(columns), 128), energy

def hog_features(image, cell=8, picture=True):
    """HOG of an image, uint8 (H, W): (features (n,), picture (H, W) that draws each cell's directions as strokes, or None)."""
    options = {"orientations": 9, "pixels_per_cell": (cell, cell), "cells_per_block": (2, 2), "block_norm": "L2-Hys"}
    return hog(pixels_of(image), **options, visualize=True) if picture else (hog(pixels_of(image), **options), None)

# %% tags=["check"]
small = test.images[0]
assert dense_sift(small, 8)[0].shape == (8, 8, 128)
assert hog_features(small)[0].shape == (7 * 7 * 2 * 2 * 9,)  # 8 by 8 cells hold 7 by 7 blocks of 2 by 2
shade = torch.arange(64, dtype=torch.uint8).expand(64, 64)  # one grey level brighter a pixel, to the right
np.testing.assert_allclose(dense_sift(shade, 8)[1][:, 1:-1], 1)

# %% [markdown]
# The largest key point whose square fits into the picture, and one block of HOG. SIFT's strokes point up the gradient, as the point itself sees it; HOG's lie
# along the edge.

# %% tags=["method"]
def upright(image, point, side=64):
    """The square that a SIFT descriptor reads, six diameters wide, as the point sees it: (patch, corners (4, 2))."""
    x, y, diameter, degrees = (float(v) for v in point)
    cos, sin = (6 * diameter / side * f(np.radians(degrees)) for f in (np.cos, np.sin))
    turn = np.array([[cos, -sin], [sin, cos]])
    back = np.column_stack([turn, np.array([x, y]) - turn @ np.full(2, (side - 1) / 2)])  # patch -> image
    corners = np.array([[0, 0], [side - 1, 0], [side - 1, side - 1], [0, side - 1]]) @ turn.T + back[:, 2]
    return cv2.warpAffine(pixels_of(image), back, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP), corners

# %% mystnb={"image": {"alt": "Four panels: a face with a tilted square; the square set upright with strokes in each of its 16 cells; the face as HOG strokes with a block of four cells marked; that block's strokes."}}
squares = [upright(face, point) for point in points]
inside = [((corners > 0) & (corners < min(face.shape[-2:]) - 1)).all() for _, corners in squares]
chosen = int(np.argmax(points[:, 2] * inside))
seen_from_it = descriptors[chosen].reshape(4, 4, 8)  # rows, columns, directions
blocks = hog(pixels_of(face), 9, (12, 12), (2, 2), feature_vector=False)  # (rows, columns, 2, 2, 9)
middle = blocks[tuple(side // 12 // 2 for side in face.shape[-2:])]
figures.histograms(pixels_of(face), squares[chosen][1], squares[chosen][0], seen_from_it, hog_features(face, 12)[1], 12, middle)

# %% [markdown]
# Each descriptor is turned into its point's own direction. So over all its cells most of the gradient should point to the right, and for most points it does:

# %% tags=["check"]
strongest = descriptors.reshape(-1, 16, 8).sum(1).argmax(1)  # (n,) directions, 0 is the point's own
assert (strongest == 0).mean() > 0.5

# %% mystnb={"image": {"alt": "Three faces, and under each its gradient energy, bright at eyes, mouth and outline, and its HOG strokes, which follow the same edges."}}
three = [large.images[(large.labels == c).nonzero()[1, 0]] for c in (0, 1, 2)]
energy = [torch.from_numpy(dense_sift(image, 4)[1] / 24 - 1) for image in three]
strokes = [torch.from_numpy(np.clip(hog_features(image, 12)[1] / 16, 0, 1) * 2 - 1) for image in three]
figures.gallery([*three, *energy, *strokes], ["face"] * 3 + ["energy"] * 3 + ["HOG"] * 3, columns=3, size=1.35)

# %% [markdown]
# As a baseline, dense SIFT, HOG and both go into a linear support vector machine. Validation faces choose the strength of its penalty. Here a point stands
# every 16 pixels, and its descriptor reads a square wider than the picture, so it is hardly local.

# %% tags=["method"]
def classic_features(split, kind):
    """Features of every face, float32 (N, n): "SIFT" (every 16 pixels), "HOG" (cells of 8 pixels) or "SIFT + HOG"."""
    made = []
    for image in split.images[:, 0].numpy():
        sift = dense_sift(image, 16)[0].ravel() / 512 if "SIFT" in kind else []
        made.append(np.concatenate([sift, hog_features(image, picture=False)[0] if "HOG" in kind else []]))
    return np.stack(made).astype(np.float32)

def classic(splits, kind, seed, penalties=(1e-5, 1e-4, 1e-3)):
    """Shares right on valid and test of the linear machine whose penalty does best on valid."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = {name: classic_features(split, kind) for name, split in splits.items()}
    best = None
    for alpha in penalties:
        machine = make_pipeline(StandardScaler(), SGDClassifier(alpha=alpha, average=True, max_iter=20, tol=None, random_state=seed))
        machine.fit(x["train"], splits["train"].labels.numpy())
        valid = machine.score(x["valid"], splits["valid"].labels.numpy())
        if best is None or valid > best["valid"]:
            best = {"valid": valid, "test": machine.score(x["test"], splits["test"].labels.numpy())}
    return best

# %%
def linear_machine(kind, seed):
    return classic(splits, kind, seed, (1e-4,) if PROFILE == "quick" else (1e-5, 1e-4, 1e-3))

machines = sweep({"kind": ["HOG"] if PROFILE == "quick" else ["SIFT", "HOG", "SIFT + HOG"], "seed": [SEED]}, linear_machine)
record(classic_accuracy=(best := machines["test"][machines["valid"].idxmax()]), n=len(test), interval=evaluation.wilson(round(best * len(test)), len(test)))
tables.show("classic", machines, ["kind"], ["valid", "test"], n={name: len(splits[name]) for name in ("valid", "test")})

# %% [markdown]
# A key point has no place on a lattice, so there is nothing to multiply a map with. Dense SIFT and HOG have one, but nothing in them can learn. So our local
# and global features are small convolutional networks.

# %% [markdown]
# ## One word for an image
#
# The first stage learns from *weak labels*: one word about the eyes and one about the mouth, and none about where. CelebA knows several words for each.
# The rendered faces' words are thresholds on a measured gap. Near a threshold the gap is a pixel or two high, and nobody could say the word: such faces are
# left out. From the rest we draw as many with the word as without.

# %% tags=["method"]
GAPS = {"eyes_closed": ("eye_opening", 0.06, 0.15), "mouth_open": ("mouth_opening", 0.05, 0.15)}  # left out: from low to below high
LESSONS = 30_000  # faces at most, as in the paper

# %% tags=["method"]
def weak_split(split, part, n=None, seed=0, fault="healthy", borderline=False, balance=True, word=None):
    """Faces labelled by a word of a part, the first one known unless named, half with it: n at most. fault: of the labels (see below)."""
    word, draw = word or words_for(part, split)[0], torch.Generator().manual_seed(seed)
    rows = {"shifted labels": torch.arange(len(split)).roll(1), "shuffled labels": torch.randperm(len(split), generator=draw)}
    values = {name: value[rows.get(fault, slice(None))] for name, value in split.attributes.items()}
    labels, clear = values[word].long(), torch.ones(len(split), dtype=torch.bool)
    if GAPS.get(word, [None])[0] in values and not borderline:
        measure, low, high = GAPS[word]
        clear = (values[measure] < low) | (values[measure] >= high)
    index = clear.nonzero()[:, 0]
    if balance:
        held = 2 * int(labels[index].bincount(minlength=2).min())
        index = index[data.balanced(labels[index], min(n or held, held), seed, word)]
    labels = labels[index]
    if fault == "noisy labels":
        labels = torch.where(torch.rand(len(labels), generator=draw) < 0.4, 1 - labels, labels)
    return replace(split[index], labels=labels, classes=(f"not {word}", word))

# %%
rows = []
for part, word, split in ((p, w, s) for p in PARTS for w in words[p] for s in weak):
    own = weak_split(weak[split], part, LESSONS, SEED, word=word)
    whole = weak_split(weak[split], part, borderline=True, balance=False, word=word)
    counts = {"All faces": f"{len(whole):,}", "with the word": f"{100 * whole.labels.float().mean():.1f} %", "Chosen 1:1": f"{len(own):,}"}
    rows.append({"Part": part, "Word": own.classes[1], "Split": split, **counts})
Table(f"Weak labels of {weak['train'].name}", "A constant answer is right for half of the chosen faces.", rows)

# %% [markdown]
# Before any training, look at twelve faces with their labels. A row that slipped shows here, and nowhere so cheaply.

# %% mystnb={"image": {"alt": "Twelve small faces in two rows, each with its label above: the eyes' word or its opposite in the upper row, the mouth's in the lower."}}
looked = [weak_split(weak["train"], part, 6, SEED + 1) for part in PARTS]
titles = [split.classes[int(label)].replace("_", " ") for split in looked for label in split.labels]
figures.gallery(torch.cat([split.images for split in looked]), titles, columns=6, size=1.1)

# %% [markdown]
# ## Where, and what
#
# The *attention map generator* (AMG) answers with one number for the image, and with a map. From the features at every place $p$ of a coarse lattice
# come a score $s(p)$, *should one look here?*, and the evidence $e(p)$, *what does one see?* The answer is the mean of the evidence, weighted by the
# map $A$; this is attention pooling {cite}`l-ilse2018attention`:
#
# $$A(p) = e^{s(p)}, \qquad \mathrm{logit} = \frac{\sum_p A(p)\, e(p)}{\sum_p A(p)} \tag{2}$$
#
# The paper's generator is a variant of DenseNet {cite}`l-huang2017densely`, where each layer sees all features before it. Ours is small: two blocks of one
# layer each, at a quarter of the image's side. Convolutions that halve are 4 wide, so that a cell's centre lies in the middle of its 4 by 4 pixels.
#
# Nothing yet makes the map mean something. A network may leave $A$ almost flat and let $e$ shout at a few places, or say $e$ at a place from what it sees
# elsewhere. Then the words come out right, and most of the map lies elsewhere. So we add two rules [our own]. Evidence is *near*: it reads 10 by 10
# pixels, while the score may look around in 26 by 26. And evidence is *bounded*: with $u$ what the last convolution gives, $e = E \tanh(u / E)$ and
# $E = 10$. Under a flat map, an eye that fills 4 of 256 cells can then move the answer by $2 \cdot 10 \cdot 4 / 256 \approx 0.3$ at most. To be surer, the
# network must look. The rows `free evidence` below show a generator without the two rules.

# %% tags=["method"]
class Found(NamedTuple):
    """logit (B,) of the word, and map (B, 1, h, w), above 0."""

    logit: torch.Tensor
    map: torch.Tensor

    @property
    def logits(self):
        """(B, 2), for the functions that expect one score a class: the softmax of (0, logit) is its sigmoid."""
        return torch.stack([torch.zeros_like(self.logit), self.logit], 1)

# %% tags=["method"]
def normed(channels):
    return [nn.BatchNorm2d(channels), nn.ReLU()]

def halve(channels, out):
    """Half the size: a convolution of 4 by 4, whose centre lies between pixels."""
    return [nn.Conv2d(channels, out, 4, 2, 1, bias=False), *normed(out)]

class DenseBlock(nn.Module):
    """`layers` convolutions; each adds `growth` channels to all that came before. (B, C, h, w) -> (B, C + layers growth, h, w)."""

    def __init__(self, channels, growth, layers):
        super().__init__()
        widths = [channels + growth * i for i in range(layers)]
        self.layers = nn.ModuleList(nn.Sequential(*normed(c), nn.Conv2d(c, growth, 3, padding=1, bias=False)) for c in widths)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x

# %% tags=["method"]
class AttentionMapGenerator(nn.Module):
    """forward(x (B, in_channels, H, W)) -> Found: logit (B,) and map (B, 1, H / 4, W / 4) (equation 2).

    growth: channels a dense layer adds; layers: of each block; spread: cells to each side over which the map is averaged; bound: E,
    or None for evidence without a bound, from all that the score sees."""
    def __init__(self, in_channels=1, growth=12, layers=(1, 1), spread=0, bound=10.0):
        super().__init__()
        self.spread, self.bound, stem = spread, bound, 2 * growth
        before, after = stem + growth * layers[0], stem + growth * layers[1]
        self.stem = nn.Sequential(*halve(in_channels, 16), nn.Conv2d(16, stem, 4, 2, 1, bias=False))
        blocks = DenseBlock(stem, growth, layers[0]), DenseBlock(stem, growth, layers[1])
        self.around = nn.Sequential(blocks[0], *normed(before), nn.Conv2d(before, stem, 1, bias=False), blocks[1], *normed(after))
        self.near = nn.Sequential(*normed(stem), nn.Conv2d(stem, after, 1, bias=False), *normed(after)) if bound else None
        self.score, self.evidence = nn.Conv2d(after, 1, 1), nn.Conv2d(after, 1, 1)
        for parameter in (*self.score.parameters(), *self.evidence.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x):
        stem = self.stem(x)
        around = self.around(stem)
        A = self.score(around).to(self.score.weight).clamp(-10, 10).exp()  # (B, 1, h, w), in 32 bits whatever came before
        e = self.evidence(self.near(stem) if self.bound else around).to(A)
        e = self.bound * torch.tanh(e / self.bound) if self.bound else e
        logit = (A * e).sum((1, 2, 3)) / A.sum((1, 2, 3))
        return Found(logit, F.avg_pool2d(A, 2 * self.spread + 1, 1, self.spread, count_include_pad=False))

# %% [markdown]
# Before any training the answer is one half for every face. So the first batch's loss must be $\ln 2 = 0.693$, whatever the labels are. And since
# everything is convolution, a face that moves by 4 pixels must move its map by one cell, but for a rim where the cells see past the edge.

# %% tags=["check"]
generator = AttentionMapGenerator().eval()
x = training.normalise(test.images[:4])
torch.testing.assert_close(F.binary_cross_entropy_with_logits(generator(x).logit, torch.tensor([0.0, 1, 1, 0])), torch.tensor(2.0).log())
nn.init.normal_(generator.score.weight)
moved = generator(x.roll((4, -4), (2, 3))).map
torch.testing.assert_close(moved[..., 5:-4, 4:-5], generator(x).map.roll((1, -1), (2, 3))[..., 5:-4, 4:-5])

# %% [markdown]
# ### The map must not tell the answer
#
# The loss of the answers alone, their binary cross-entropy (BCE), leaves the place open. An open mouth must be found where it is, but "I see no open
# mouth" can be said from anywhere: skin will do. Yet faces are framed alike whether their mouths are open or not. So in each batch we take the mean map
# of the faces with the word and that of the faces without, each map first blurred over 3 by 3 cells and scaled to sum 1 (the mouth's comes from `forward`
# averaged over as many cells already, see `SPREAD` below). We ask that the two be the same.
# With these means $\bar A_1$ and $\bar A_0$ the loss is
#
# $$\mathcal{L} = \mathrm{BCE} + \lambda\, \tfrac12 \sum_p \bigl|\bar A_1(p) - \bar A_0(p)\bigr| \tag{3}$$
#
# This term is ours, not the paper's. What it is worth, the rows `no place term` below say. We took $\lambda = 1$ for the eyes and $0.5$ for the mouth, as
# we took $E$, the views and `SCALE` below, because the words came out right and the maps pointed best at the masks of validation faces, for `SCALE` of
# photographs too. That, and the choice among several words, is the only use of a mask before the test: no generator ever learns from one.

# %% tags=["method"]
def place_gap(maps, target):
    """The second term of equation 3 without lambda, from 0 to 1. maps: (B, 1, h, w); target: (B,) of 0 and 1."""
    blurred = F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    share = blurred / blurred.sum((1, 2, 3), keepdim=True)
    with_word = target.bool()
    if with_word.all() or not with_word.any():
        return share.new_zeros(())
    return (share[with_word].mean(0) - share[~with_word].mean(0)).abs().sum() / 2

def word_loss(output, target, where):
    """Equation 3. output: Found; target: int64 (B,); where: lambda."""
    bce = F.binary_cross_entropy_with_logits(output.logit.float(), target.float())
    return bce + where * place_gap(output.map, target) if where else bce

# %% [markdown]
# ### Eight changes
#
# The generator of the course group's report (R0) hardly learned. To read its log we change ours on purpose: labels *shifted* by one row against the files,
# *shuffled*, or *noisy* (four in ten flipped); a *doubled sigmoid*, where the network answers with a probability and the loss takes it for a logit; *no place
# term*; *free evidence*, without the two rules; *Adam* {cite}`l-loshchilov2019decoupled`, with a rate and a decay of its own,
# where our other rows take the paper's gradient descent with a rate of 0.1; and *constant rate*, that rate from the first step to the last. Our other rows
# climb to it and fall, clip the gradient and average the weights.

# %% tags=["method"]
class DoubledSigmoid(AttentionMapGenerator):
    """The generator with a sigmoid too many: its `logit` is a probability."""

    def forward(self, x):
        found = super().forward(x)
        return Found(found.logit.sigmoid(), found.map)

FAULTS = ("healthy", "Adam", "constant rate", "no place term", "free evidence", "shifted labels", "shuffled labels", "noisy labels", "doubled sigmoid")
TURN = training.Augment(flip=0.5, shift=0.06, rotate=8, brightness=0.05, contrast=0.15)
DESCENT = training.Recipe(
    epochs=40, batch=64, optimizer="sgd", lr=0.1, weight_decay=5e-4, warmup=0.25, clip=1.0, ema=0.98)  # fmt: skip
RECIPES = {
    "Adam": replace(DESCENT, optimizer="adamw", batch=32, lr=3e-3, weight_decay=0.01),
    "constant rate": replace(DESCENT, schedule="constant", clip=None, ema=None),
}  # fmt: skip
IMAGES = {"quick": 24_000, "full": 96_000, "paper": 96_000}  # seen in one training, counted with repetitions
SPREAD = {"eyes": 0, "mouth": 1}  # an eye is one cell high, a mouth several wide; chosen on validation faces
PLACE = {"eyes": 1.0, "mouth": 0.5}  # lambda; likewise
SCALE = {"eyes": 0.2, "mouth": 0.08}  # how much larger or smaller a face may become in training; likewise

# %% tags=["method"]
def train_generator(weak, part, fault, seed, images, growth=24, word=None, start=None, directory=None):
    """Train a generator on weak faces; fault: one of FAULTS; start: a generator to begin at, with a fifth of the rate.

    Leaves maps.pt: six validation faces, and their maps after each epoch."""
    train, valid = (weak_split(weak[name], part, LESSONS, seed, fault, word=word) for name in ("train", "valid"))
    recipe = replace(RECIPES.get(fault, DESCENT), epochs=max(1, round(images / len(train))), augment=replace(TURN, scale=SCALE[part]))
    torch.manual_seed(seed)
    options = {"growth": growth, "spread": SPREAD[part]} | ({"bound": None} if fault == "free evidence" else {})
    model, learned = (DoubledSigmoid if fault == "doubled sigmoid" else AttentionMapGenerator)(**options), False
    if start is not None:
        model.load_state_dict(start.state_dict())
        recipe = replace(recipe, lr=recipe.lr / 5)

    def loss(output, target, model):
        nonlocal learned
        if learned and not model.training and directory is not None:  # the first validation batch of an epoch
            shoot(directory / "maps.pt", valid.images[:6], output.map[:6, 0].float().cpu())
        learned = model.training
        return word_loss(output, target, PLACE[part] if model.training and fault != "no place term" else 0.0)

    return training.fit(model, train, valid, loss=loss, recipe=recipe, seed=seed, directory=directory)

# %% tags=["method"]
def shoot(film, images, maps):
    """Add maps (6, h, w) to a film, a file of (images, maps (epochs, 6, h, w)) that is whole at any moment."""
    shots = torch.load(film)[1] if film.is_file() else maps[None][:0]
    torch.save((images, torch.cat([shots, maps[None]])), film.with_suffix(".new"))
    film.with_suffix(".new").replace(film)

def digest(generators):
    """Eight hex digits of the generators' weights, so that what was trained on other maps is not taken for this."""
    weights = [value.cpu().numpy().tobytes() for g in generators for value in g.state_dict().values()]
    return hashlib.sha256(b"".join(weights)).hexdigest()[:8]

def generator_for(weak, profile, part, seed, fault="healthy", word=None, start=None):
    """Train a generator, or take the checkpoint that the same training left; returns (Fit, its folder)."""
    choice = {"part": part, "word": word or words_for(part, weak["train"])[0], "fault": fault, "seed": seed, "images": IMAGES[profile]}
    folder = keep(train_generator, **choice, start=start and digest([start]))
    return train_generator(weak, **choice, start=start, directory=folder), folder

# %% [markdown]
# ### Ask eight times
#
# A map of 16 by 16 cells is coarse for an eye. But move the face by one pixel, and the cells lie elsewhere. So from here on we average eight views [our own]:
# the face and its mirror image, each moved by one pixel up or down and one to a side. Each view's map is enlarged to the image, moved and mirrored back, and
# scaled to mean 1. The answers are averaged too.

# %% tags=["method"]
class Views(nn.Module):
    """A generator asked about eight views of a face, in bfloat16 where that is fast. forward(x (B, C, H, W)) -> Found.

    The map has the image's size, (B, 1, H, W), and mean 1."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator.to(memory_format=torch.channels_last)  # twice as fast on a processor

    def forward(self, x):
        logits, maps = [], []
        for down, right, mirrored in product((-1, 1), (-1, 1), (False, True)):
            view = shifted(x, down, right)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda or fast_bf16()):
                found = self.generator(view.flip(-1) if mirrored else view)
            large = F.interpolate(found.map, x.shape[2:], mode="bilinear", align_corners=False)
            logits.append(found.logit)
            maps.append(even(shifted(large.flip(-1) if mirrored else large, -down, -right)))
        return Found(torch.stack(logits).mean(0), torch.stack(maps).mean(0))

def even(maps):
    """Maps (B, K, h, w) divided by their own mean."""
    return maps / maps.mean((2, 3), keepdim=True).clamp_min(1e-6)

# %% tags=["check"]
views = Views(generator).eval()
torch.testing.assert_close(views(x.flip(-1)).map, views(x).map.flip(-1))
assert views(x).map.shape == x.shape

# %% [markdown]
# ## Does the map point at the part?
#
# In the *pointing game* a map scores a *hit* when its highest point lies in the part {cite}`l-zhang2018excitation`. One pixel decides, so noise in one cell
# may. But a mouth is several cells wide. So we read its map through a Gaussian window of about its height: the highest point is where most attention lies
# *around*. An eye is only about as high as one of 16 by 16 cells; there a window harms. `WINDOW` was chosen on validation faces, like `SCALE`, and every row
# below is read through it.
#
# We also count a *touch*: the highest cell holds any of the part. *Inside* is the share of the map itself that lies in such cells. The rendered
# faces bring masks. For photographs we draw them around the data set's own points, or around dlib's where dlib finds a face.

# %% tags=["method"]
WINDOW = {"eyes": 0.0, "mouth": 5.0}  # standard deviation in pixels of the image

def smoothed(maps, sigma):
    """Maps (B, h, w) through a Gaussian window: how much attention lies around each point. sigma: in steps of the map, 0 for none."""
    return gaussian_blur(maps[:, None], 2 * round(3 * sigma) + 1, sigma)[:, 0] if sigma else maps

def pointing(generator, split, part, masks, index):
    """Where a generator's maps look on faces `index` of a split, whose masks are given: {"hits", "touches", "inside"}.

    hits: evaluation.Pointing, is the highest point in the mask? touches: likewise, does the highest of 16 by 16 cells hold any of the mask? Both of the
    map through the part's WINDOW. inside: share of the map itself that lies in such cells, mean over the faces.
    """
    with torch.no_grad():
        maps = torch.cat([generator(training.normalise(x)).map[:, 0] for x in split.images[index].split(256)])
    cells, covered = F.adaptive_avg_pool2d(maps, 16), F.adaptive_max_pool2d(masks[part].float(), 16)
    inside = ((cells * covered).sum((1, 2)) / cells.sum((1, 2)))[covered.flatten(1).any(1)].mean()
    read = smoothed(maps, WINDOW[part] * maps.shape[-1] / split.size[1])
    touches = evaluation.pointing_game(F.adaptive_avg_pool2d(read, 16), covered)
    return {"hits": evaluation.pointing_game(read, masks[part]), "touches": touches, "inside": inside.item()}

# %% tags=["method"]
def one_place(mask, touch=False):
    """How often the one pixel (or cell) that suits these faces best lies in (or touches) their mask, bool (N, 64, 64): no map at all."""
    shown = mask[mask.flatten(1).any(1)].float()
    return (F.adaptive_max_pool2d(shown, 16) if touch else shown).mean(0).max().item()

def moved_about(split, masks, index, reach=8):
    """Faces `index` of a split and their masks, each face moved by its own whole numbers of pixels, up to reach; the rim is repeated.

    Returns (split, masks, index) for `pointing`. The moves are the same in every call."""
    down, right = torch.randint(-reach, reach + 1, (2, len(index)), generator=torch.Generator().manual_seed(0))
    theta = torch.eye(2, 3).repeat(len(index), 1, 1)
    theta[:, :, 2] = -2 * torch.stack([right / split.size[1], down / split.size[0]], 1)  # from where each pixel comes
    images = move(split.images[index].float(), theta).round().byte()
    masks = {part: move(mask[:, None].float(), theta)[:, 0] > 0.5 for part, mask in masks.items()}
    return replace(split[index], images=images), masks, torch.arange(len(index))

# %% [markdown]
# ### Which word?
#
# Where a data set knows several words for a part, we do not know beforehand which of them leads there: glasses, say, can be told from their bridge, between
# the eyes. So a generator learns each word, once from nothing and once from where the generator of the rendered faces stands; and that one is tried as it is.
# Those maps are taken that hit most *validation* faces. Rendered faces know one word a part, so there is nothing to choose.
# A generator that begins elsewhere than at nothing learns at a fifth of the rate.

# %% tags=["method"]
def ways(part, weak, rendered):
    """Of learning a part's maps: [(word, where to begin)], the last one without the weak faces. rendered: splits, or None."""
    begins = ("nothing",) if rendered is None else ("nothing", "rendered")
    own = [(word, begin) for word in words_for(part, weak["train"]) for begin in begins]
    return own if rendered is None else [*own, (words_for(part, rendered["train"])[0], "nothing")]

def learn(weak, rendered, profile, part, word, begin, seed):
    """(Fit, folder) of one of the `ways`."""
    if word not in words_for(part, weak["train"]):
        return generator_for(rendered, profile, part, seed, word=word)
    start = generator_for(rendered, profile, part, seed)[0].best if begin == "rendered" else None
    return generator_for(weak, profile, part, seed, word=word, start=start)

# %%
from IPython.display import display

masks, where = part_masks(weak["valid"]) if rendered else (None, None)
def try_word(part, word, begin, seed):
    model = learn(weak, rendered, PROFILE, part, word, begin, seed)[0].best.eval()
    got = pointing(Views(model), weak["valid"], part, masks, where)
    return {"hits": got["hits"].rate, "touches": got["touches"].rate}

own = best = {part: ways(part, weak, rendered)[0] for part in PARTS}  # without masks: the first word, from nothing
if masks:
    grid = [{"part": p, "word": word, "begin": begin, "seed": SEED} for p in PARTS for word, begin in ways(p, weak, rendered)]
    tried = sweep(grid, try_word, name="words")
    hits = {part: rows.set_index(["word", "begin"])["hits"] for part, rows in tried.groupby("part")}
    best = {part: hits[part].idxmax() for part in PARTS}
    own = {part: hits[part][ways(part, weak, rendered)[:-1]].idxmax() for part in PARTS}
    display(tables.show("words", tried, ["part", "word", "begin"], ["hits", "touches"], n=len(where)))
print("; ".join(f"{part}: {word}, begun at {begin}" for part, (word, begin) in best.items()))

# %%
WORD = {part: word for part, (word, _) in own.items()}  # of the tests of this stage
lessons = {part: {name: weak_split(split, part, LESSONS, SEED, word=WORD[part]) for name, split in weak.items()} for part in PARTS}
fits = {part: learn(weak, rendered, PROFILE, part, *own[part], SEED) for part in PARTS}
generators = tuple(Views(learn(weak, rendered, PROFILE, part, *best[part], SEED)[0].best) for part in PARTS)  # eyes, mouth: of the second stage
for part in PARTS:
    models = [Views(learn(weak, rendered, PROFILE, part, *own[part], seed)[0].best) for seed in SEEDS]
    for name, suffix in (("valid", ""), ("test", "_test")):
        asked = lessons[part][name]
        right = [evaluation.accuracy(model, asked) for model in models]
        record_rate(f"{part}_word_accuracy{suffix}", right, len(asked))
        print(f"{part}, {name}: {100 * np.mean(right):.1f} % of {len(asked)} words right, {len(right)} seeds")

# %% [markdown]
# When does the place settle? The maps of two faces for each part, while the generator learns:

# %% mystnb={"image": {"alt": "Four rows of one face each, two for the eyes' map and two for the mouth's. Columns from left to right: the map laid over the face as training goes on, from the first epoch to the last."}}
films = {part: torch.load(fits[part][1] / "maps.pt") for part in PARTS}
shown = torch.cat([images[:2] for images, _ in films.values()])
shares = {"first epoch": 0.0, "a quarter": 0.25, "half": 0.5, "end": 1.0} if PROFILE != "quick" else {"first epoch": 0.0, "last epoch": 1.0}
over_time = [torch.cat([shots[int(share * (len(shots) - 1)), :2] for _, shots in films.values()]) for share in shares.values()]
figures.maps_over_time(shown, over_time, list(shares))

# %% [markdown]
# What do hits and touches reach without a map? A random point hits as often as the mask covers the image, a random cell touches as often as cells hold any
# of the part, and a flat map has that same share inside. Faces are framed alike, so we also take the *one place*, a pixel or a cell, that suits all these
# faces best. Where a publisher aligned the faces by their eyes, as CelebA's did, that place is hard to beat, whatever a map knows. So we ask once more on
# faces that are *moved*, each by up to an eighth of its side.

# %%
pointed, where = part_masks(weak["test"])
about = moved_about(weak["test"], pointed, where) if pointed else None  # (faces, masks, rows)
def point(part, fault, seed, word, begin):
    views, taken = fault != "one view", fault == "taken"
    other = (weak, PROFILE, part, seed, fault if views else "healthy", word)
    model = (learn(weak, rendered, PROFILE, part, word, begin, seed) if taken else generator_for(*other))[0].best.eval()
    model = Views(model) if views else model
    faces, masks, rows = about
    got, moved_hits = pointing(model, weak["test"], part, pointed, where), pointing(model, faces, part, masks, rows)["hits"]
    return {"hits": got["hits"].rate, "touches": got["touches"].rate, "inside": got["inside"], "moved_hits": moved_hits.rate}

# %%
rows = []
kinds = {"hits": (pointed, False), "moved_hits": (about[1], False), "touches": (pointed, True)} if pointed else {}
for part, (metric, (masks, touch)) in product(PARTS, kinds.items()):
    mask = masks[part][masks[part].flatten(1).any(1)].float()
    chance = (F.adaptive_max_pool2d(mask, 16) if touch else mask).mean()
    rates = {"chance": chance, "one_place": one_place(mask, touch)}
    for name, rate in rates.items():
        interval = evaluation.wilson(round(float(rate) * len(mask)), len(mask)) if name == "one_place" else None
        record(**{f"{part}_{metric}_{name}": rate}, n=len(mask), interval=interval)
    cells = {name.replace("_", " "): f"{100 * rate:.1f} %" for name, rate in rates.items()}
    rows.append({"Part": part, "Measure": metric.replace("_", " "), **cells, "n": f"{len(mask):,}"})
without = Table("Without a map", f"Shares of the test faces of {weak['test'].name} on which the part is seen.", rows)
display(without if rows else "dlib finds no face on the test images, so nothing can be said here about where the maps point.")

# %% [markdown]
# And now with maps. In the full run the rows after `healthy` are controls: one view in place of eight, and each of the eight changes. Where several words were
# tried, `healthy` is the set's own best word, from nothing, and `taken` are the maps that were taken. A generator trained on shuffled labels must not do better
# than one place.

# %%
TAKEN = "taken" if rendered else "healthy"
controls = {"healthy": SEEDS} | ({"taken": SEEDS, "shuffled labels": SEEDS[:1]} if rendered else {})
if PROFILE == "full":
    controls |= {"one view": SEEDS[:3], **{fault: SEEDS[: 3 if fault == "free evidence" else 1] for fault in FAULTS[1:]}}
shown = []
for part in PARTS if pointed else ():
    grid = []
    for fault, seeds in controls.items():
        word, begin = best[part] if fault == "taken" else (WORD[part], "nothing")
        grid += [{"part": part, "fault": fault, "seed": seed, "word": word, "begin": begin} for seed in seeds]
    aims, n = sweep(grid, point), int(pointed[part].flatten(1).any(1).sum())
    for fault, metric in product(dict.fromkeys((TAKEN, "healthy")), ("hits", "touches", "inside", "moved_hits")):
        scores, name = aims[aims["fault"] == fault][metric], "map" if fault == TAKEN else "from_nothing"
        if metric == "inside":  # a share of a map's mass counts no faces
            record_mean(f"{part}_{name}_inside", scores, n)
        else:
            record_rate(f"{part}_{name}_{metric}", scores, n)
    shown.append(tables.show(f"pointing_{part}", aims, ["part", "fault"], ["hits", "moved_hits", "touches", "inside"], n, values=["inside"]))
tables.Stack(shown)

# %% [markdown]
# Look at `no place term` in the recorded full run, one seed each. Hits and touches fall, for the mouth far, although more of either map lies inside. Without
# the two rules, near and bounded (`free evidence`), all three fall, in every seed. One view in place of eight costs hits, above all at the eyes.

# %% [markdown]
# ## Reading a log that hardly moved
#
# For ten epochs the report's log stays near a loss of $\ln 2$, the loss of a network that answers one half. *Why* it answers so is another matter. Here
# are our generators, one view each, on the chosen validation faces, and `unbalanced` on all validation faces, borderline cases included. Where a fault
# spoils labels, it spoils these too, as a slipped table would. The area under the ROC curve (AUC) is the share of pairs, one face with the word and one
# without, that the answers put in order.

# %% tags=["method"]
def reported_history(epochs=10):
    """The report's log of the eyes, as the history of a Fit."""
    def read(epoch, name):
        return claims.get("05_local_global_relation", f"r0-eyes-{epoch}-{name}").value

    return [
        {"epoch": e + 1, "train_loss": read(e, "train-bce"), "valid_loss": read(e, "valid-bce"), "valid_accuracy": read(e, "valid-accuracy") / 100}
        for e in range(epochs)
    ]

def word_scores(model, split):
    """What the log holds, on labelled faces: {"bce", "accuracy", "auc"}."""
    from sklearn.metrics import roc_auc_score

    p = evaluation.predict(model, split)[:, 1].clamp(1e-6, 1 - 1e-6)
    bce = F.binary_cross_entropy(p, split.labels.float())
    both = len(split.labels.unique()) == 2
    auc = roc_auc_score(split.labels.numpy(), p.numpy()) if both else float("nan")
    return {"bce": bce, "accuracy": ((p > 0.5).long() == split.labels).float().mean(), "auc": auc}

# %%
def faults(part, fault, seed, word):
    model = generator_for(weak, PROFILE, part, seed, fault, word)[0].best
    valid = weak_split(weak["valid"], part, None, seed, fault, word=word)
    natural = weak_split(weak["valid"], part, None, seed, fault, borderline=True, balance=False, word=word)
    unbalanced = {f"{name}_unbalanced": value for name, value in word_scores(model, natural).items() if name != "bce"}
    return {**word_scores(model, valid), **unbalanced}

fewer = ["healthy", "shifted labels"]
named = {
    "quick": {"eyes": fewer}, "full": {"eyes": FAULTS, "mouth": FAULTS},
    "paper": {"eyes": [*fewer, "shuffled labels", "Adam", "constant rate"], "mouth": [*fewer, "shuffled labels"]},
}[PROFILE]
grid = [
    {"part": part, "fault": fault, "seed": seed, "word": WORD[part]}
    for part in named for fault in named[part] for seed in SEEDS[: 3 if fault == "healthy" else 1]
]
spoiled = sweep(grid, faults)
def fault_table(part):
    own, n, every = spoiled[spoiled["part"] == part], len(lessons[part]["valid"]), len(weak["valid"])
    n = {"bce": n, "accuracy": n, "auc": n, "accuracy_unbalanced": every, "auc_unbalanced": every}
    return tables.show(f"faults_{part}", own, ["part", "fault"], list(n), n, values=["bce", "auc", "auc_unbalanced"])

tables.Stack([fault_table(part) for part in named])

# %% [markdown]
# Our training loss includes the place term of equation 3, the validation loss does not. So compare the losses in validation.

# %% mystnb={"image": {"alt": "Training loss, validation loss and validation accuracy over ten epochs: the report's log, which stays near 0.69 and near one half, and our generators, healthy and spoiled."}}
runs = {fault: generator_for(weak, PROFILE, "eyes", SEED, fault, WORD["eyes"])[0].history[:10] for fault in named["eyes"] if fault != "no place term"}
figures.curves({"report": reported_history(), **runs})

# %% [markdown]
# Is the report's AUC chance? For scores that know nothing of $n$ labels, half of them yes, it is one half with a standard error of
# $\sqrt{(n + 1) / 3n^2}$. For $n$ we take the faces that the paper validates on: every validation accuracy in the log of the eyes is a whole count of so
# many.

# %%
faces, rows = claims.get("05_local_global_relation", "paper-eyes-valid").value, []
for epoch in range(10):
    accuracy, auc = (claims.get("05_local_global_relation", f"r0-eyes-{epoch}-valid-{name}") for name in ("accuracy", "auc"))
    right, errors = round(accuracy.value * faces / 100), (auc.value - 0.5) / ((faces + 1) / (3 * faces**2)) ** 0.5
    assert round(100 * right / faces, 2) == accuracy.value
    rows.append({"Epoch": str(epoch), "Accuracy": accuracy.text, "Right": f"{right:,}", "AUC": auc.text, "Above chance": f"{errors:.1f}"})
Table("The report's validation of the eyes", f"Right: of {faces:,} faces. Above chance: AUC less one half, in standard errors.", rows)

# %% [markdown]
# Now the suspects:
#
# - *The rate.* 0.1 is the paper's own, and ours, but ours climbs to it and falls again. Where the row `constant rate` learns, too, the rate does not explain
#   the log.
# - *A doubled sigmoid.* Every probability is above zero, so read as a logit it always says yes. On a set with as many of either kind the accuracy is then
#   one half in every epoch; the report's is not. If such a network learns, it still puts the faces in order, with a high AUC. But under gradient descent
#   ours hardly learned. So the report's low AUC alone would not rule this fault out.
# - *Labels that slipped by a row*, or were shuffled, hold the loss at $\ln 2$, and accuracy and AUC at one half. The report's AUC is too far above.
# - *Noisy labels.* Where a share $\varepsilon$ is flipped, even perfect knowledge has accuracy and AUC $1 - \varepsilon$, and no loss below
#   $-\varepsilon \ln \varepsilon - (1 - \varepsilon) \ln (1 - \varepsilon)$. So the report's highest AUC says how large $\varepsilon$ can be at most. Its
#   loss lies above the floor that belongs to that. Noise of that size is not ruled out. Our own row with four in ten
#   flipped learned nothing at all, so it tells nothing about less noise.
#
# The AUC says that some tie between face and label was left. Perhaps a table slipped from some row on. Perhaps raters seldom agreed. Perhaps the training
# found little of what was there. The log does not decide between them. The accuracy of the mouth's first epoch, which the first exercise prints, says more.
# Where half of the faces have the word, a constant answer is right for half. A threshold seldom leads far below: accuracy is one half plus half the
# difference of true and false positive rate, and an AUC above one half says that this difference is mostly positive. So the set was hardly balanced. In an
# unbalanced set a threshold that is far off is enough.
#
# ### A ladder for networks that do not learn
#
# Each rung but the fifth costs seconds; that one is a training. Climb them before you train for hours. The first three are done above.
#
# 1. *First batch:* the loss is $\ln 2$.
# 2. *Look* at a dozen faces with their labels.
# 3. *Class prior in each split.*
# 4. *Overfit 64 faces.* Where a network cannot, suspect its code or its rate first.
# 5. *Shuffled labels:* on held-out faces the loss must not fall clearly below $\ln 2$. If it does, something leaks. If it climbs above, the faces were learned by
#    heart.
# 6. *Range of rates:* raise the rate at every step. Where does the loss begin to fall, where does it fly off {cite}`l-smith2017cyclical`?

# %% tags=["method"]
def overfit(split, seed, steps=60):
    """Training accuracy after learning 64 faces of a labelled split by heart, half of them with the word, without augmentation."""
    torch.manual_seed(seed)
    index = data.balanced(split.labels, 64, seed)
    recipe = replace(DESCENT, epochs=steps, augment=None, ema=None, weight_decay=0.0)
    model, few = AttentionMapGenerator(growth=24), split[index]
    training.fit(model, few, loss=lambda o, t, m: word_loss(o, t, 0.0), recipe=recipe, seed=seed)
    return evaluation.accuracy(model, few)

def rate_range(split, seed, rates):
    """Loss on the faces of a split at each of growing learning rates, one step each (descent with momentum). Returns a list."""
    torch.manual_seed(seed)
    model, x, losses = AttentionMapGenerator(growth=24).train(), training.normalise(split.images), []
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    for rate in rates:
        loss = word_loss(model(x), split.labels, 0.0)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses

# %% mystnb={"image": {"alt": "Loss against learning rate on a logarithmic axis, with a dashed line at ln 2: flat there for small rates, then lower, then jumping."}}
record(overfit_64=overfit(lessons["mouth"]["train"], SEED), n=64)
few_faces = lessons["mouth"]["train"][data.balanced(lessons["mouth"]["train"].labels, 64, SEED)]
rates = np.geomspace(1e-3, 3, 60)
figures.rate_range(rates, rate_range(few_faces, SEED, rates.tolist()))

# %% [markdown]
# Rung 5, from the table of faults: how far does the loss on held-out faces lie from $\ln 2$?

# %%
for fault, own in spoiled[spoiled["fault"].isin(["shifted labels", "shuffled labels"])].groupby("fault"):
    record(**{f"{fault.split()[0]}_bce_less_ln2": (own["bce"] - np.log(2)).mean()}, n=len(own))
    print(f"{fault}: loss less ln 2 {', '.join(f'{bce:+.4f}' for bce in own['bce'] - np.log(2))}")

# %% [markdown]
# One rung more: the AUC must peak where the labels are shifted by 0 rows. (Our loaders match a row with the image
# that it names. Kaggle's two tables for FERPlus name none; they go by order, and the loader compares splits and counts.)

# %%
def alignment(part, shift, word):
    slipped = replace(weak["valid"], attributes={name: value.roll(shift) for name, value in weak["valid"].attributes.items()})
    network = generator_for(weak, PROFILE, part, SEED, word=word)[0].best
    return {"auc": word_scores(network, weak_split(slipped, part, None, SEED, word=word))["auc"]}

slips = sweep([{"part": p, "shift": shift, "word": WORD[p]} for p in PARTS for shift in range(-2, 3)], alignment)
shown = [tables.show(f"alignment_{p}", slips[slips["part"] == p], ["part", "shift"], ["auc"], len(lessons[p]["valid"]), values=["auc"]) for p in PARTS]
tables.Stack(shown)

# %% [markdown]
# ## Frozen and moved
#
# From here on the generators learn nothing more. Frozen, they move to the faces with expressions.

# %% tags=["method"]
def freeze(module):
    """Stop a module for good, in place: no gradients, and eval mode whatever it is told, so that BatchNorm's buffers stay too."""
    module.requires_grad_(False).eval()
    for part in module.modules():
        part.train = partial(_stay, part)
    return module

def _stay(module, mode=True):
    return module

# %% mystnb={"image": {"alt": "Two rows of the same faces, one of each expression. Over the upper row lies the eyes' map, over the lower the mouth's."}}
generators = tuple(freeze(generator) for generator in generators)
one_each = test[torch.stack([(test.labels == c).nonzero()[0, 0] for c in test.labels.unique()])]
with torch.no_grad():
    maps = [generator(training.normalise(one_each.images)).map[:, 0] for generator in generators]
names = [classes[c] for c in one_each.labels.tolist()]
figures.gallery(one_each.images.repeat(2, 1, 1, 1), names + [""] * len(names), columns=len(names), maps=torch.cat(maps), size=1.15)

# %% [markdown]
# Do they still point at the part on another set of faces? Where the maps were learned on the data set itself, that is the rendered gallery, with every
# expression equally often; if the maps that were taken learned from rendered faces too, that is no other set. Its pictures show more around each face, so we
# take their middle, where faces are as large as those that taught. Otherwise it is the test faces.

# %% mystnb={"image": {"alt": "A dot with an interval for each part and expression: the share of faces where the map's highest cell touches the part, beside a dashed line at the mouth's chance."}}
def middle(split, zoom):
    """The middle of each picture of a data set, 1 / zoom of its side."""
    side = round(split.size[0] / zoom)
    low = (split.size[0] - side) // 2
    cut = (..., slice(low, low + side), slice(low, low + side))
    masks = {name: mask[cut] for name, mask in split.masks.items()}
    return replace(split, images=split.images[cut], masks=masks, landmarks=split.landmarks - low)

foreign = middle(data.load("rendered", split="gallery").grey(), RENDERED["gallery"]["zoom"]).resize(64) if source == DATA else test
masks, where = part_masks(foreign)
rows = []
for k, part in enumerate(PARTS if masks else ()):
    got = pointing(generators[k], foreign, part, masks, where)
    for name in ("hits", "touches"):
        n, rate = len(got[name].hits), one_place(masks[part], name == "touches")
        record(**{f"transfer_{part}_{name}": got[name].rate}, n=n, interval=got[name].interval)
        record(**{f"transfer_{part}_{name}_one_place": rate}, n=n, interval=evaluation.wilson(round(rate * n), n))
    kept = masks[part].flatten(1).any(1)
    for c in foreign.labels[where].unique().tolist():
        of = foreign.labels[where][kept] == c
        right = got["touches"].hits[of.numpy()]
        rows.append((f"{part}, {foreign.classes[c]}", right.mean(), *evaluation.wilson(int(right.sum()), len(right))))
    chance = got["touches"].area_baseline
if rows:
    display(figures.intervals(*zip(*rows, strict=True), "share of faces whose highest cell touches the part", chance, "chance (mouth)"))

# %% [markdown]
# ## Look through the maps
#
# In the second stage a small network turns the face into $C$ *local* features $F$ (local feature extraction, LFE) at every place $p$ of the maps'
# lattice. Each map $A_k$ picks its part of them. That is *bilinear attention pooling*:
#
# $$f_{kc} = \frac{1}{hw} \sum_p A_k(p)\, F_c(p) \tag{4}$$

# %% tags=["method"]
def bilinear_attention_pooling(maps, features):
    """One vector a map (equation 4). maps: (B, K, h, w); features: (B, C, h, w). Returns (B, K, C)."""
    return maps.flatten(2) @ features.flatten(2).transpose(1, 2) / (maps.shape[2] * maps.shape[3])

# %% [markdown]
# A map of ones gives the plain mean. A map that is 1 at one place and 0 elsewhere reads the features there, divided by $hw$.

# %% tags=["check"]
maps, features = torch.rand(2, 3, 4, 5), torch.randn(2, 7, 4, 5)
pooled = bilinear_attention_pooling(maps, features)
torch.testing.assert_close(pooled, torch.einsum("bkhw,bchw->bkc", maps, features) / 20)
torch.testing.assert_close(bilinear_attention_pooling(torch.ones(2, 1, 4, 5), features)[:, 0], features.mean((2, 3)))
one = torch.zeros(2, 1, 4, 5)
one[:, :, 2, 3] = 1
torch.testing.assert_close(bilinear_attention_pooling(one, features)[:, 0], features[:, :, 2, 3] / 20)

# %% [markdown]
# The maps come in the features' cells, divided by their mean, so that a map without preference is a map of ones.

# %% tags=["method"]
def attention(generators, x):
    """Maps of a tuple of K generators in cells of 4 by 4 pixels, each with mean 1. x (B, C, H, W) -> (B, K, H / 4, W / 4)."""
    maps = torch.cat([generator(x).map for generator in generators], 1)
    return even(F.adaptive_avg_pool2d(maps, (x.shape[2] // 4, x.shape[3] // 4)))

# %% [markdown]
# The report multiplies maps with SIFT. We multiply them with the gradient energy: what do the eyes' and the mouth's map let through?

# %% mystnb={"image": {"alt": "Three rows: a face, its gradient energy, and the energy times the eyes' map and times the mouth's map."}}
picked = torch.stack([(test.labels == c).nonzero()[0, 0] for c in test.labels.unique()[:3]])
with torch.no_grad():
    seen_by = attention(generators, training.normalise(test.images[picked]))  # (3, 2, 16, 16)
energy = torch.stack([torch.from_numpy(dense_sift(image, 4)[1]) for image in test.images[picked, 0]])

def let_through(strength, name):  # strength: (3, 16, 16)
    rows = [(training.normalise(x)[0], s, s * a, s * b) for x, s, (a, b) in zip(test.images[picked], strength, seen_by, strict=True)]
    scaled = [part if i == 0 else 2 * part / part.max() - 1 for row in rows for i, part in enumerate(row)]
    return figures.gallery(scaled, ["face", name, "times eyes", "times mouth"] * len(rows), columns=4, size=1.5)

let_through(energy, "gradient energy")

# %% [markdown]
# ## Who should be heard?
#
# Two local vectors and one for the whole face: three opinions $f_1, f_2, f_3$. The *relational reasoning unit* (RRU) compares each with all, gives it
# a weight, and adds. The summary page that we used does not print its equations. Ours take the pairs from relation networks {cite}`l-santoro2017simple`:
#
# $$r_i = \frac{1}{N} \sum_j \mathrm{relu}\bigl(W [f_i, f_j] + b\bigr), \qquad w = \mathrm{softmax}\bigl(v^\top r_i\bigr)_i, \qquad
#   f = \sum_i w_i f_i \tag{5}$$

# %% tags=["method"]
class RelationalReasoningUnit(nn.Module):
    """Weigh N vectors by how they relate to each other (equation 5). (B, N, features) -> (fused (B, features), weights (B, N))."""

    def __init__(self, features, hidden=32):
        super().__init__()
        self.relation = nn.Linear(2 * features, hidden)
        self.scorer = nn.Linear(hidden, 1)
        nn.init.zeros_(self.scorer.weight)
        nn.init.zeros_(self.scorer.bias)

    def forward(self, units):
        n = units.shape[1]
        first, second = units[:, :, None].expand(-1, -1, n, -1), units[:, None].expand(-1, n, -1, -1)
        relations = F.relu(self.relation(torch.cat([first, second], -1))).mean(2)  # (B, N, hidden)
        weights = self.scorer(relations)[..., 0].softmax(1)  # (B, N)
        return (weights[..., None] * units).sum(1), weights

# %% [markdown]
# The scorer starts at zero: before any training all three are heard alike. And the order of the three does not matter.

# %% tags=["check"]
unit, units = RelationalReasoningUnit(8), torch.randn(4, 3, 8)
fused, weights = unit(units)
torch.testing.assert_close(weights, torch.full((4, 3), 1 / 3))
torch.testing.assert_close(fused, units.mean(1))
nn.init.normal_(unit.scorer.weight)
fused, weights = unit(units)
other, moved = unit(units[:, [2, 0, 1]])
torch.testing.assert_close(weights.sum(1), torch.ones(4))
torch.testing.assert_close(moved, weights[:, [2, 0, 1]])
torch.testing.assert_close(other, fused)

# %% [markdown]
# The network holds the two frozen generators, local features on their lattice, global features (GFE), and the unit. Options leave parts out.

# %% tags=["method"]
class Related(NamedTuple):
    """logits (B, K), local (B, 2, D), global_ (B, D), weights (B, 3) of eyes, mouth and face, maps (B, 2, h, w)."""

    logits: torch.Tensor
    local: torch.Tensor
    global_: torch.Tensor
    weights: torch.Tensor
    maps: torch.Tensor

def local_features(in_channels=1):
    """LFE: (B, in_channels, H, W) -> (B, 48, H / 4, W / 4)."""
    return nn.Sequential(*halve(in_channels, 16), *halve(16, 32), nn.Conv2d(32, 48, 3, padding=1, bias=False), *normed(48))

def global_features(width, features, in_channels=1):
    """GFE: (B, in_channels, H, W) -> (B, features), by way of 2 by 2 places; width multiplies the channels."""
    wide = [int(width * c) for c in (16, 32, 64, 96)]
    layers = [layer for pair in zip((in_channels, *wide), wide, strict=False) for layer in halve(*pair)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * wide[-1], features))

# %% tags=["method"]
def fuse(units, relation, rru):
    """(What the classifier sees, weights (B, 3)) of units (B, 3, D), which are eyes, mouth and face."""
    weights = units.new_full(units.shape[:2], 1 / 3)
    if relation == "learned":
        return rru(units)
    if relation == "none":
        return units[:, 2], units.new_tensor([0, 0, 1]).expand_as(weights)
    return units.flatten(1) if relation == "concat" else units.mean(1), weights

# %% tags=["method"]
class LocalGlobalRelationNetwork(nn.Module):
    """forward(x (B, in_channels, H, W), maps=None) -> Related. maps (B, 2, H / 4, W / 4): cached ones, in place of the generators'.

    relation: "learned" weights, "fixed" ones, "concat" (side by side) or "none" (face alone). uniform: maps of ones."""
    def __init__(self, eyes, mouth, num_classes, relation="learned", uniform=False, width=1.0, features=64, in_channels=1):
        super().__init__()
        if relation not in ("learned", "fixed", "concat", "none"):
            raise ValueError(f'relation must be "learned", "fixed", "concat" or "none", not {relation!r}')
        self.relation, self.uniform, self.gfe = relation, uniform, global_features(width, features, in_channels)
        self.eyes, self.mouth, seen = freeze(eyes), freeze(mouth), (3 if relation == "concat" else 1) * features
        self.rru = RelationalReasoningUnit(features) if relation == "learned" else None
        self.lfe = None if relation == "none" else local_features(in_channels)
        self.heads, self.classifier = nn.ModuleList(nn.Linear(48, features) for _ in range(2 if self.lfe else 0)), nn.Linear(seen, num_classes)

    def forward(self, x, maps=None):
        maps = attention((self.eyes, self.mouth), x) if maps is None else maps  # (B, 2, h, w)
        maps, global_ = torch.ones_like(maps) if self.uniform else maps, self.gfe(x)  # (B, D)
        local = torch.zeros_like(global_)[:, None].expand(-1, 2, -1)
        if self.lfe:
            pooled = bilinear_attention_pooling(maps.to(global_.dtype), self.lfe(x))  # (B, 2, C)
            local = torch.stack([head(pooled[:, k]) for k, head in enumerate(self.heads)], 1)  # (B, 2, D)
        fused, weights = fuse(torch.cat([local, global_[:, None]], 1), self.relation, self.rru)
        return Related(self.classifier(fused), local, global_, weights, maps)

# %% [markdown]
# `requires_grad_(False)` stops gradients, but a BatchNorm in training mode goes on averaging what it sees. So a frozen module also ignores `train()`, its own
# and its parents'.

# %% tags=["check"]
network = LocalGlobalRelationNetwork(*generators, len(classes)).train()
before = {name: value.clone() for name, value in network.eyes.state_dict().items()}
network(training.normalise(test.images[:8])).logits.sum().backward()
assert all(torch.equal(value, before[name]) for name, value in network.eyes.state_dict().items())
assert all(parameter.grad is None for parameter in network.eyes.parameters())
record(trained_parameters=sum(p.numel() for p in network.parameters() if p.requires_grad))

# %% [markdown]
# ## Pairs
#
# Two faces of one expression should lie close, two of different expressions at least a margin $m$ apart {cite}`l-hadsell2006dimensionality`. With
# $d$ the distance of two vectors, and $s = 1$ where the expressions are the same, $s = 0$ where not:
#
# $$\mathcal{L}_c = s\, d^2 + (1 - s)\, \max(0,\, m - d)^2 \tag{6}$$

# %% tags=["method"]
def contrastive_loss(a, b, same, margin=1.0):
    """Mean of equation 6. a, b: (B, ..., D); same: bool (B,). Returns a scalar."""
    d = torch.linalg.vector_norm(a - b, dim=-1)  # (B, ...)
    same = torch.as_tensor(same, device=d.device).bool().reshape(-1, *[1] * (d.ndim - 1))
    return torch.where(same, d.square(), F.relu(margin - d).square()).mean()

# %% tags=["check"]
a, far = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])  # 5 apart
losses = [contrastive_loss(a, b, torch.tensor([s]), 2.0) for b, s in ((a, True), (far, False), (a, False), (far, True))]
torch.testing.assert_close(torch.stack(losses), torch.tensor([0.0, 0.0, 4.0, 25.0]))

# %% [markdown]
# The loss of a pair names both expressions and compares eyes with eyes, mouth with mouth and face with face, all scaled to length one:
#
# $$\mathcal{L} = \tfrac12 \bigl(\mathrm{CE}_a + \mathrm{CE}_b\bigr) + \lambda_l\, \mathcal{L}_c^{\text{local}} + \lambda_g\, \mathcal{L}_c^{\text{global}} \tag{7}$$
#
# *Siamese* means one network, used twice. It need not run twice: each image of a batch runs once and gets a partner there. Every other one gets the
# nearest face of its own expression before it in the batch, or one of another expression if there is none. The others get the face just before them.

# %% tags=["method"]
def pair_loss(output_a, output_b, target_a, target_b, local=0.1, global_=0.1, margin=1.0):
    """Equation 7. outputs: Related; targets: int64 (B,); local, global_: lambda. Returns a scalar."""
    named = F.cross_entropy(output_a.logits, target_a) + F.cross_entropy(output_b.logits, target_b)
    same, unit = target_a == target_b, lambda part: F.normalize(part.float(), dim=-1)
    loss = named / 2
    if local:
        loss = loss + local * contrastive_loss(unit(output_a.local), unit(output_b.local), same, margin)
    if global_:
        loss = loss + global_ * contrastive_loss(unit(output_a.global_), unit(output_b.global_), same, margin)
    return loss

def partners(target):
    """For each image of a batch another one; at even places the last one before it of the same class, if any. Returns int64 (B,)."""
    order = target.argsort(stable=True)
    alike = torch.empty_like(order).scatter_(0, order, order.roll(1))
    place = torch.arange(len(target), device=target.device)
    return torch.where(place % 2 == 0, alike, place.roll(1))

# %% [markdown]
# Six faces of a batch, each above its partner:

# %% mystnb={"image": {"alt": "Six faces, and under each its partner, with the expression's name above every face. Some pairs share a name, some do not."}}
batch = splits["train"][torch.arange(32)]
both = torch.cat([torch.arange(26, 32), partners(batch.labels)[26:]])
figures.gallery(batch.images[both], [classes[c] for c in batch.labels[both].tolist()], columns=6, size=1.1)

# %% [markdown]
# ## Train it
#
# The generators are frozen, so a face's maps never change: they are computed once and kept. Augmentation may then only do what maps can follow: mirror, and
# shift by whole cells.

# %% tags=["method"]
def with_maps(split, generators):
    """The same faces with attributes["maps"], float16 (N, 2, H / 4, W / 4): eyes and mouth."""
    with on_fastest(*generators) as device, torch.no_grad():
        made = [attention(generators, training.normalise(x).to(device)).half().cpu() for x in split.images.split(256)]
    return replace(split, attributes={**(split.attributes or {}), "maps": torch.cat(made)})

def feed_with_maps(dataset, index, generator):
    """What the network takes, ((images, maps), labels): in training mirrored and shifted by up to a cell each way."""
    images, maps = training.normalise(dataset.images[index]), dataset.attributes["maps"][index].float()
    if generator is None:
        return (images, maps), dataset.labels[index]
    mirror = (torch.rand(len(index), generator=generator) < 0.5)[:, None, None, None]
    images, maps = torch.where(mirror, images.flip(-1), images), torch.where(mirror, maps.flip(-1), maps)
    down, right = (torch.randint(-1, 2, (2,), generator=generator)).tolist()  # one shift a batch
    return (shifted(images, 4 * down, 4 * right), shifted(maps, down, right)), dataset.labels[index]

# %% tags=["method"]
STEADY = training.Recipe(epochs=8, batch=32, lr=6e-3, weight_decay=0.05, warmup=0.2, clip=1.0, ema=0.99)
EPOCHS = {"quick": 5, "full": 4, "paper": None}  # None: as many as the recipe says
NONE = {"local_weight": 0.0, "global_weight": 0.0, "margin": 1.0}
BOTH = {**NONE, "local_weight": 0.1, "global_weight": 0.1}
VARIANTS = {
    "global": {"relation": "none", **NONE},
    "global, wider": {"relation": "none", "width": 1.11, **NONE},
    "with local": {"relation": "concat", **NONE},
    "with contrast": {"relation": "concat", **BOTH},
    "weights fixed": {"relation": "fixed", **BOTH},
    "weights learned": {"relation": "learned", **BOTH},
    "maps of ones": {"relation": "learned", "uniform": True, **BOTH},
    "maps of ones, fixed": {"relation": "fixed", "uniform": True, **BOTH},
}

# %% tags=["method"]
def train_relation(splits, generators, seed, epochs, local_weight, global_weight, margin, directory=None, **options):
    """Train the network on splits that carry maps; options: those of LocalGlobalRelationNetwork."""
    torch.manual_seed(seed)
    model = LocalGlobalRelationNetwork(*generators, len(splits["train"].classes), **options)

    def loss(output, target, model):
        other = partners(target)
        paired = Related(*(part[other] for part in output))
        return pair_loss(output, paired, target, target[other], local_weight, global_weight, margin)

    recipe = replace(STEADY, epochs=epochs or STEADY.epochs)
    pair = splits["train"], splits["valid"]
    return training.fit(model, *pair, loss=loss, recipe=recipe, seed=seed, directory=directory, feed=feed_with_maps)

def related(splits, generators, profile, seed, variant="weights learned", **changes):
    """Train, or take the checkpoint that the same training on the same maps left."""
    choice = {"seed": seed, "epochs": EPOCHS[profile], **VARIANTS[variant], **changes}
    return train_relation(splits, generators, **choice, directory=keep(train_relation, maps=digest(generators), **choice))

# %% [markdown]
# ## What is each part worth?
#
# The network grows part by part: the *global* branch alone; *with local* features, all three vectors side by side; *with contrast*, the pairs'
# losses; then the unit, with weights *fixed* at one third, then *learned*. Two rows are ours. *Global, wider* trains about as many weights as the
# whole network, so a gain over it is not a matter of size. *Maps of ones* keeps all but the attention, with learned weights or *fixed* ones. Each row sees the
# same batches, seed by seed.

# %%
cached = {name: with_maps(split, generators) for name, split in splits.items()}
lengths = {name: len(split) for name, split in splits.items()}

def ablation(variant, seed, maps):
    network, got = related(cached, generators, PROFILE, seed, variant).best, {}
    for name in ("valid", "test"):
        right = evaluation.predict(network, cached[name], feed=feed_with_maps).argmax(1) == cached[name].labels
        got |= {name: right.float().mean(), "right": contrasts.pack(right)}
    return got  # "right": of the test images

rungs = ["global", "weights learned"] if PROFILE == "quick" else list(VARIANTS)
TEN = [SEED + s for s in range(10)] if PROFILE == "full" else SEEDS  # differences are small
built = sweep({"variant": rungs, "seed": TEN, "maps": [digest(generators)]}, ablation)
for variant, scores in built.groupby("variant")["test"]:
    record_rate(f"accuracy_{variant.replace(', ', '_').replace(' ', '_')}", scores, len(test))
tables.show("ablation", built, ["variant"], ["valid", "test"], n=lengths)

# %% [markdown]
# Intervals that overlap settle nothing. Two paired tests are sharper. One takes the differences under the same seed. McNemar's
# {cite}`l-mcnemar1947note` takes the images that only one of two networks reads right; it knows nothing of luck in training. A claim should pass both.
# An interval that contains 0 says: not shown here.

# %%
steps = [("with local", "global"), ("with contrast", "with local"), ("weights fixed", "with contrast"), ("weights learned", "weights fixed"),
         ("weights learned", "with contrast"), ("weights learned", "global"), ("weights learned", "global, wider"),
         ("weights learned", "maps of ones"), ("weights fixed", "maps of ones, fixed"), ("weights fixed", "global, wider")]  # fmt: skip
steps = {f"{a} : {b}": ({"variant": a}, {"variant": b}) for a, b in steps if {a, b} <= set(rungs)}
compared = contrasts.pairs(built, steps, len(test))
for name, (own, other) in steps.items():
    if name.startswith("weights") and len(SEEDS) > 1:
        gains = [row["a"] - row["b"] for row in compared if row["contrast"] == name]
        slug = ("fixed_" if own["variant"] == "weights fixed" else "") + "gain_over_" + other["variant"].replace(", ", "_").replace(" ", "_")
        record_mean(slug, gains, len(gains))
contrasts.show("steps", compared)

# %% [markdown]
# What do the trained local features hold where the maps look? Here is their mean over the channels.

# %% mystnb={"image": {"alt": "Three rows: a face, the mean of its local features, and that mean times the eyes' map and times the mouth's map."}}
network = related(cached, generators, PROFILE, SEED).best
with torch.no_grad():
    strength = network.lfe(training.normalise(test.images[picked])).mean(1)  # (3, 16, 16)
let_through(strength, "features")

# %% [markdown]
# ## Whom does the unit listen to?
#
# Does the mouth win for happiness and the eyes for surprise? Each row of the table is the mean weight over the test faces of one expression; in the figure
# the line marks one third.

# %%
def heard(expression, seed, maps):
    chosen = cached["test"][test.labels == classes.index(expression)]
    network = related(cached, generators, PROFILE, seed).best
    with torch.no_grad():
        weights = network(*feed_with_maps(chosen, torch.arange(len(chosen)), None)[0]).weights
    return dict(zip(("eyes", "mouth", "face"), weights.mean(0).tolist(), strict=True))

present = [name for name, count in test.counts().items() if count]
listened = sweep({"expression": present, "seed": TEN, "maps": [digest(generators)]}, heard)
tables.show("heard", listened, ["expression"], parts := ["eyes", "mouth", "face"], n=len(test), values=parts)

# %% mystnb={"image": {"alt": "For each expression three dots, with intervals where there are several seeds: the weights of eyes, mouth and face, around a line at one third."}}
bounds = {
    part: [evaluation.seed_interval(listened[listened["expression"] == name][part]) for name in present] for part in ("eyes", "mouth", "face")
}
mean, low, high = (np.array([[b[i] for b in bounds[part]] for part in bounds]).T for i in range(3))
for name, part, other in (("happiness", "mouth", "eyes"), ("surprise", "eyes", "mouth")):
    for expression in [c for c in present if c.startswith(name[:4])]:
        own = listened[listened["expression"] == expression]
        record_mean(f"{name}_{part}_less_{other}", own[part] - own[other], len(own))
figures.part_shares(present, list(bounds), mean, low, high, "mean weight")

# %% [markdown]
# Such weights say how much of each vector enters the sum, not how much it changes the answer: a long vector with a small weight may decide. And all seeds use
# the same maps and the same training faces. What they agree on may come from these.
#
# ## How much contrast, how wide a margin?
#
# Equation 7 has two weights and a margin. Both weights are alike here, and each row is one seed on validation faces. Which rows do the intervals separate?

# %%
def contrast(weight, margin, seed, maps):
    changes = {"local_weight": weight, "global_weight": weight, "margin": margin}
    return {"valid": evaluation.accuracy(related(cached, generators, PROFILE, seed, **changes).best, cached["valid"], feed=feed_with_maps)}

grid = {"weight": [0.1], "margin": [1.0]} if PROFILE != "full" else {"weight": [0.1, 0.5], "margin": [0.5, 1.0]}
tables.show("contrast", sweep({**grid, "seed": [SEED], "maps": [digest(generators)]}, contrast), ["weight", "margin"], ["valid"], n=lengths)

# %% [markdown]
# ## What held, what did not, and why

# %%
tables.Stack([claims.table("05_local_global_relation", group) for group in ("R0, text", "Settings")])

# %%
tables.say("full", "rendered", """
**The words.** The report's generators were right in {r0-eyes-accuracy} of the eyes' words and {r0-mouth-accuracy} of the mouth's. That is by its text;
the one logged epoch of the mouth shows another number. Ours, on clear cases of the rendered validation faces: {eyes_word_accuracy} and
{mouth_word_accuracy}.

**The place.** The map's highest point lies in the eyes in {eyes_map_hits} and in the mouth in {mouth_map_hits} of the test faces, on average over
generators; the one point that suits these faces best in {eyes_hits_one_place} and {mouth_hits_one_place}. The highest cell touches them in
{eyes_map_touches} and {mouth_map_touches}. Such cells hold {eyes_map_inside} and {mouth_map_inside} of the attention. On the gallery the highest point
lies in them in {transfer_eyes_hits} and {transfer_mouth_hits}, and the highest cell touches them in {transfer_eyes_touches} and {transfer_mouth_touches}.
(This record is older than `WINDOW` and than the cut of the gallery: it read the mouth's map without one, and smaller faces.)

**The parts**, over ten seeds. With equal weights the network reads {accuracy_weights_fixed} of the expressions right, with learned weights
{accuracy_weights_learned}, the wider global branch {accuracy_global_wider}, the linear machine on edges {classic_accuracy}. Equal weights gain
{fixed_gain_over_maps_of_ones_fixed:points} over maps of ones: to look at eyes and mouth helps, by both tests. Their {fixed_gain_over_global_wider:points}
over the wider branch pass the test over seeds alone. Learned weights gain {gain_over_maps_of_ones:points} over maps of ones,
{gain_over_global_wider:points} over the wider branch and {gain_over_weights_fixed:points} over equal weights. A gain below zero is a loss: the unit that learns
whom to hear does worse here than one that hears all alike, by both tests.

**The weights.** Mouth less eyes for happiness: {happiness_mouth_less_eyes:plain}; eyes less mouth for surprise: {surprise_eyes_less_mouth:plain}. Below zero
the second part weighs more. The mouth weighs more for every expression, so this does not show that the unit looks where an expression is.
""")

# %%
tables.say("paper", "ferplus", """
**On FERPlus**, with maps learned on rendered faces, one training each: the whole network reads {accuracy_weights_learned} of the test images right, the
global branch alone {accuracy_global}, the same network on maps of ones {accuracy_maps_of_ones}, the linear machine on edges {classic_accuracy}. Where dlib
sees the face, the maps' highest cell touches the eyes in {transfer_eyes_touches} and the mouth in {transfer_mouth_touches}; one and the same cell for all
faces would do so in {transfer_eyes_touches_one_place} and {transfer_mouth_touches_one_place}. The highest point
lies in them in {transfer_eyes_hits} and {transfer_mouth_hits}, one and the same point in {transfer_eyes_hits_one_place} and
{transfer_mouth_hits_one_place}. So either map knows more than where the part usually is, though no generator ever saw a photograph. But here the whole
network is not better than its global branch.
""")

# %%
tables.say("paper", "fer2013", """
**On FER2013**, of the images of the PrivateTest whose labels we have: the whole network {accuracy_weights_learned}, the global branch alone
{accuracy_global}, maps of ones {accuracy_maps_of_ones}, the linear machine {classic_accuracy}. The maps' highest cell touches the eyes in
{transfer_eyes_touches} and the mouth in {transfer_mouth_touches}, the one cell in {transfer_eyes_touches_one_place} and
{transfer_mouth_touches_one_place}. This record is older: Adam taught its maps, and the mouth's is no better than one cell.
""")

# %%
tables.say("paper", "celeba", """
**On CelebA**, learned there: the highest point lies in the eyes in {eyes_map_hits} and in the mouth in {mouth_map_hits} of the test faces; with maps that
began at nothing in {eyes_from_nothing_hits} and {mouth_from_nothing_hits}, at the one place in {eyes_hits_one_place} and {mouth_hits_one_place}. On faces that
are moved it is {eyes_map_moved_hits} and {mouth_map_moved_hits}, at the one place {eyes_moved_hits_one_place} and {mouth_moved_hits_one_place}.
""")

# %% [markdown]
# We know the paper from a summary page. Its accuracies for expressions stand in no claim of this book, so nothing here is compared with them. And the
# recorded runs are not on CK+ and CelebA. Three things limit what they say. All networks look through one pair of generators, so the intervals hold for
# these maps, not for maps in general. The networks are small and train for few epochs. And a word teaches its own place only as far as nothing else gives
# it away: open mouths go with raised brows, and a map may honestly point at both.
#
# ## Limits, and what not to do with this
#
# An attribute such as *narrow eyes* is somebody's word for another person's face. A company's annotators gave CelebA's words to celebrities; some of
# its forty words are about beauty and weight. A generator learns such words with all that clings to them. Use it to study maps, not to judge people, and
# read {doc}`the page on ethics </book/ethics>` before you carry a model to other people. A face is not a feeling {cite}`l-barrett2019emotional`.
#
# ## Exercises
#
# ```{exercise} What does saying nothing cost?
# :label: ex-lg-constant
# A network answers $p$ for every face, and a share $\pi$ of the faces has the word. Write its loss and its accuracy. Then explain the accuracy that
# the report's log gives for the mouth.
# ```

# %% tags=["exercise"]
def constant_answer(prior, p):
    """(Binary cross-entropy, accuracy) of the constant answer p, 0 < p < 1, where a share `prior` has the word."""
    ### BEGIN SOLUTION
    bce = -prior * np.log(p) - (1 - prior) * np.log(1 - p)
    return bce, prior if p > 0.5 else 1 - prior
    ### END SOLUTION

# %% tags=["check"]
from fer_teach import checks

checks.constant_answer(constant_answer)
logged = claims.get("05_local_global_relation", "r0-mouth-0-valid-accuracy")
bce, accuracy = constant_answer(logged.value / 100, 0.51)
print(f"Printed: {claims.cite('05_local_global_relation', logged.id)}.")
print(f"Always 0.51, where that share has the word: loss {bce:.4f}, accuracy {100 * accuracy:.2f} %.")

# %% [markdown]
# ```{exercise} By how many rows did they slip?
# :label: ex-lg-slip
# A table of labels slipped against the images: `labels = truth.roll(k)`. A network trained elsewhere scores each image, higher for *yes*. Find $k$.
# ```

# %% tags=["exercise"]
def best_shift(scores, labels, most):
    """By how many rows, -most..most, labels (N,) of 0 and 1 slipped against scores (N,)."""
    ### BEGIN SOLUTION
    def fit(k):
        back = labels.roll(-k).bool()
        return float(scores[back].mean() - scores[~back].mean())

    return max(range(-most, most + 1), key=fit)
    ### END SOLUTION

# %% tags=["check"]
checks.best_shift(best_shift)

# %% [markdown]
# ```{exercise} Find the bug
# :label: ex-lg-pool
# A colleague's pooling has the right shape and trains without an error, but its numbers are wrong:
# `maps.reshape(B, K, -1) @ features.reshape(B, -1, C) / (h * w)`. Mend it.
# ```

# %% tags=["exercise"]
def mended_pooling(maps, features):
    """Equation 4. maps: (B, K, h, w); features: (B, C, h, w). Returns (B, K, C)."""
    B, K, h, w = maps.shape
    C = features.shape[1]
    ### BEGIN SOLUTION
    return maps.reshape(B, K, -1) @ features.reshape(B, C, -1).transpose(1, 2) / (h * w)
    ### END SOLUTION

# %% tags=["check"]
checks.mended_pooling(mended_pooling)

# %% [markdown]
# ```{exercise} Push
# :label: ex-lg-push
# Two faces of different expressions lie closer than the margin. Write equation 6's gradient for $a$, without autograd; beyond the margin it must be zero.
# Where does a step downhill move $a$?
# ```

# %% tags=["exercise"]
def push(a, b, margin):
    """Gradient of max(0, margin - d)^2, d = |a - b| > 0, with respect to a. a, b: (D,). Returns (D,)."""
    ### BEGIN SOLUTION
    d = torch.linalg.vector_norm(a - b)
    return -2 * torch.relu(margin - d) * (a - b) / d
    ### END SOLUTION

# %% tags=["check"]
checks.push(push)

# %% [markdown]
# ```{exercise} Read a table
# :label: ex-lg-read
# In the recorded table of steps, which intervals over seeds miss 0? Which p over images lie below 0.05? If none of its steps had an effect and the
# tests were independent, how often would at least one p over seeds lie below 0.05 nevertheless? Which stays below 0.05 divided by the number of steps? A p over
# images is a median over seeds: would it fall below 0.05 as often? Why can the two tests disagree?
# ```
#
# ```{exercise} Predict, then measure
# :label: ex-lg-measure
# With $s = 0$ in equation 2 the map is even. Will the accuracy of the word fall? Write down your guess, then set the weights of `score` to zero in a
# copy of `fits["mouth"][0].best` and read `word_scores`. What does the answer say about *where* and *what*?
# ```
#
# ## In short
#
# A word for an image can teach a map; play the pointing game before you believe it. A loss at $\ln 2$ is a finding, and cheap tests say whose fault it
# may be. Freeze buffers as well as weights. Ask what each part is worth under the same seeds, and against a plain network of the same size.
#
# ```{bibliography}
# :filter: docname in docnames
# :keyprefix: l-
# :labelprefix: L
# ```
