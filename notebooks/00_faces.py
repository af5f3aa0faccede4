# ---
# jupyter:
#   jupytext: {text_representation: {extension: .py, format_name: percent}}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Faces and expressions
#
# Every later chapter trains a network to name the expression on a face. This one asks what there is to name: how a face moves, which words people
# use for it, how often they agree, and what an accuracy over such words means.
#
# ```{admonition} After this chapter you can
# - describe an expression by its action units, and say why no unit alone names an emotion;
# - measure how far raters agree, and find images that stand in two splits;
# - put an interval, a baseline and a confusion matrix beside an accuracy, and measure it for each group of people.
# ```
# You need Python and a little probability. Running this page takes about a minute on two cores; every profile runs the same cells.

# %% tags=["remove-cell"]
# In Colab: install the book's package if it is missing, and leave numpy and torch as they are.
import importlib.metadata as installed
import importlib.util

if importlib.util.find_spec("fer_teach") is None:
    held = " ".join(f"{name}=={installed.version(name)}" for name in ("numpy", "torch", "torchvision"))
    get_ipython().system(f"pip install -q {held} git+https://github.com/fer-teach/fer-teach")  # noqa: F821

# %% tags=["parameters"]
PROFILE = "quick"  # quick, full or paper
DATA = "rendered"  # any name that fer_teach.data knows
DATA_ROOT = None  # the folder where your copy of it lies
SEED = 0

# %% tags=["method"]
from dataclasses import replace

import cv2
import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from torchvision.transforms.functional import to_pil_image

from fer_teach import data, evaluation, figures, tables
from fer_teach.data import catalog
from fer_teach.faces import plan, skin
from fer_teach.faces.expressions import CLASSES, PATTERNS
from fer_teach.faces.facs import CODES, UNITS, action
from fer_teach.faces.head import head
from fer_teach.faces.render import DENSITY, View, pose_mesh, render
from fer_teach.htmltable import Table
from fer_teach.record import begin, record

# %% [markdown]
# The pictures on this page are always the book's own [rendered faces](/book/rendered_faces.md): nobody has to be asked, and every label is known. The
# numbers come from the data set that you choose.

# %%
figures.use_style()
names = ("train", "valid", "test")
splits = data.splits(DATA, root=DATA_ROOT)
train, test, classes = splits["train"], splits["test"], splits["test"].classes
whole = splits  # before a rule on the votes leaves images out
if DATA == "ferplus":
    whole = {name: data.load(DATA, root=DATA_ROOT, split=name, rule="all") for name in names}
rendered, faces, gallery = (data.load("rendered", split=name) for name in ("train", "test", "gallery"))
begin("00_faces", PROFILE, splits, SEED)
rows = [{"class": c, **{name: f"{split.counts()[c]:,}" for name, split in splits.items()}} for c in classes]
Table(f"Images of {DATA}", "Images a class in each split.", rows)

# %% mystnb={"image": {"alt": "Eight rendered faces in colour, one of each expression, with its name above: women and men, young and old, light and dark skin."}}
nearest = gallery.attributes["yaw"].abs().argsort()
both = torch.stack([nearest[gallery.labels[nearest] == c][:1] for c in range(len(CLASSES))], 1).flatten()
figures.gallery(gallery.images[both], [CLASSES[c] for c in gallery.labels[both].tolist()], size=1.1)

# %% [markdown]
# ## What a face can do
#
# The *Facial Action Coding System* describes a face without a word about feelings {cite}`f-ekman1978facial`. It lists what the eye can tell apart, one
# *action unit* (AU) for each movement, with the muscles behind it, and scores how strong it is. These are the units that our faces know.

# %%
used = {code: [name for name in CLASSES if any(code in p.units for p in PATTERNS[name])] for code in CODES}
rows = [
    {"Unit": unit.code, "Name": unit.name, "Muscles": unit.muscles,
     "Moves in the model, by": "\n".join(f"{moved} {weight:g}" for moved, weight in unit.weights.items()),
     "Expressions that use it": ", ".join(used[unit.code]) or "none"}
    for unit in sorted(UNITS, key=lambda unit: int(unit.code[2:]))
]
about = "As the rendered faces have them. A star stands for Left and Right. The last column is read from the recipes of the expressions."
Table("Action units", about, rows)

# %% [markdown]
# A unit moves a face along a fixed direction. A mesh at rest, $v_0$, has a displacement $b_u$ for each small movement $u$ of the model; a matrix $W$
# says which of them an action unit sets off, and how far: the fourth column of the table. With the intensities $a$ of the units, 0 for absent and 1 for
# as strong as can be,
#
# $$v(a) = v_0 + \sum_u (W a)_u\, b_u \tag{1}$$

# %% tags=["method"]
def sitter(number, seed=11):
    """A person by number, without glasses and beard, with painted skin: what `portrait` needs."""
    person = replace(plan.person_of(seed, number), glasses="none", beard=0.0, style="short", fringe=0.0, thickness=0.05)
    return person, skin.paint(person, DENSITY)

def portrait(person, shown, size=128):
    """Render a sitter who shows an action, intensities (units, 2): left and right. Returns uint8 (3, size, size)."""
    image = render(person[0], shown, View(zoom=1.06), size=size, texture=person[1]).image  # (size, size, 3) in 0..1
    return torch.from_numpy((255 * image).round().astype(np.uint8)).permute(2, 0, 1)

def visible(**intensities):
    """An action by code, both sides alike; only AU30, which would cancel itself, moves the jaw to one side."""
    return action(**{code: (a, 0.0) if code == "AU30" else a for code, a in intensities.items()})

# %% [markdown]
# If equation 1 holds, half the intensity gives half the displacement.

# %% tags=["check"]
model = sitter(2)
rest, half, full = (pose_mesh(model[0], action(AU12=a)) for a in (0, 0.5, 1))  # (vertices, 3)
np.testing.assert_allclose(2 * (half - rest), full - rest, atol=1e-5)

# %% mystnb={"image": {"alt": "The same rendered face many times: at rest, then with each action unit alone at full strength, its code above. Brows, lids, cheeks, lips and jaw move one at a time."}}
ordered = sorted(CODES, key=lambda code: int(code[2:]))
shown = {"at rest": action()} | {code: visible(**{code: 1.0}) for code in ordered}
figures.gallery([portrait(model, a, 104) for a in shown.values()], list(shown), columns=9, size=1.0)

# %% [markdown]
# Move one unit at a time; the table above tells its name. (The page shows pictures drawn beforehand; with a kernel all sliders move the same face
# together.)

# %%
def move(**intensities):
    return to_pil_image(portrait(model, visible(**intensities), 100))

figures.sliders(move, "A rendered face in which one action unit grows", **dict.fromkeys(ordered, (0, 1, 0.5, 0)))

# %% [markdown]
# ## From units to emotions
#
# An emotion's name stands for a *pattern* of units. Here is one person with the most frequent pattern of each of the book's eight classes.

# %% tags=["method"]
def prototype(name):
    """The most frequent pattern of an expression with each unit in the middle of its range: an action (units, 2)."""
    pattern = max(PATTERNS[name], key=lambda pattern: pattern.share)
    middle = {code: (low + high) / 2 for code, (low, high) in pattern.units.items()}
    return action(**{code: (a, 0.0) if code in pattern.one_sided else a for code, a in middle.items()})

# %% mystnb={"image": {"alt": "One rendered face eight times: neutral, happiness, surprise, sadness, anger, disgust, fear, contempt."}}
figures.gallery([portrait(model, prototype(name)) for name in CLASSES], list(CLASSES), size=1.25)

# %% [markdown]
# Most units stand in several recipes. Read the map down a column: how strong is that unit, on average, in each class?

# %% mystnb={"image": {"alt": "A map of the eight expressions against action units. Most columns are dark in several rows: the raised inner brow in surprise, sadness and fear, parted lips nearly everywhere."}}
units = torch.stack(list(rendered.action_units.values()), 1)  # (N, units)
mean = torch.stack([units[rendered.labels == c].mean(0) for c in range(len(CLASSES))], 1)  # (units, classes)
seen = (mean.amax(1) > 0.1).nonzero()[:, 0]
alone = [code for code, users in used.items() if len(users) == 1]
print(f"Of {sum(map(bool, used.values()))} units in the recipes, {len(alone)} stand in one alone: {', '.join(alone)}.")
figures.heat(mean[seen].T, CLASSES, [list(rendered.action_units)[u] for u in seen], "mean intensity")

# %% [markdown]
# Those that one recipe has for itself settle nothing either: without their companions they mean little, and people open their mouths wide to yawn. Nor is
# there a border between two patterns. The first slider goes from surprise to fear; where does the name change? The second makes the face in the middle
# weaker.

# %%
def blend(fear=0.5, strength=1.0):
    mixed = strength * ((1 - fear) * prototype("surprise") + fear * prototype("fear"))
    return to_pil_image(portrait(model, mixed, 136))

figures.sliders(blend, "A rendered face between surprise and fear", fear=(0, 1, 0.25, 0), strength=(0, 1, 0.5, 1))

# %% [markdown]
# And how strong must an expression be before you see it? Start at the left and note where you would first name each face.

# %%
def row(strength=0.2):
    return figures.gallery([portrait(model, strength * prototype(name), 80) for name in CLASSES[1:]], list(CLASSES[1:]), size=1.1)

figures.sliders(row, "Seven expressions of one rendered face", strength=(0.2, 0.8, 0.3, 0.2))

# %% [markdown]
# ## The data sets
#
# Rendered faces obey a formula. Photographs do not, and they belong to somebody. None of them comes with this book; [the data guide](/book/data_guide.md)
# tells how to lay out your copy. FER2013 was collected for a contest {cite}`f-goodfellow2013challenges`; FERPlus is the same photographs, rated again by
# ten people each {cite}`f-barsoum2016training`. In CK+ {cite}`f-lucey2010extended` and JAFFE {cite}`f-lyons1998coding` people posed in a laboratory.
# RAF-DB {cite}`f-li2017reliable` and CelebA {cite}`f-liu2015deep` come from the web, SFEW {cite}`f-dhall2011static` from films, FERG
# {cite}`f-aneja2016modeling` is drawn, and COCO {cite}`f-lin2014microsoft` lends backgrounds.

# %%
heads = {"name": "Name", "what": "What it is", "chapters": "Chapters", "licence": "Licence", "access": "Who grants access"}
Table("Data sets", "From the package's catalogue.", [{heads[key]: row[key] for key in heads} for row in catalog.table()])

# %% [markdown]
# ## Ten people, ten votes
#
# A label is somebody's word for a picture. FERPlus asked ten people and kept all votes. Its common rule: drop every vote that stands alone, then
# take the word that holds more than half of what is left. Without such a word, or if it is "unknown" or "not a face", the image goes.

# %% tags=["method"]
def majority(votes, drop_single=True):
    """The word that holds more than half of the votes. votes: (N, 10) counts. Returns int64 (N,), -1 for none."""
    counted = torch.where(votes > 1, votes, 0) if drop_single else votes
    most, winner = counted.max(1)
    return torch.where((2 * most > counted.sum(1)) & (winner < 8), winner, -1)

def soft_labels(votes):
    """Votes on the eight emotions as shares that sum to 1. votes: (N, 10). Returns (N, 8), 0 where there is none."""
    return votes[:, :8] / votes[:, :8].sum(1, keepdim=True).clamp(min=1)

# %% [markdown]
# How far do raters agree? Take an image with $n_j$ votes for word $j$ and $n$ in all. Two raters drawn from the $n$ chose the same word with probability
#
# $$P = \frac{\sum_j n_j (n_j - 1)}{n (n - 1)} \tag{2}$$

# %% tags=["method"]
def agreement(votes):
    """Share of the pairs of raters who chose the same word (equation 2). votes: (N, V). Returns (N,)."""
    n_j, n = votes.double(), votes.double().sum(1)
    return (n_j * (n_j - 1)).sum(1) / (n * (n - 1))

# %% [markdown]
# Some of that is luck: if everybody always said "neutral", they would agree and say nothing. With $p_j$ the share of word $j$ among all votes,
# chance alone agrees with probability $P_e$. Fleiss' kappa is what remains {cite}`f-fleiss1971measuring`:
#
# $$\kappa = \frac{\bar P - P_e}{1 - P_e}, \qquad P_e = \sum_j p_j^2 \tag{3}$$

# %% tags=["method"]
def fleiss_kappa(votes):
    """Agreement beyond chance (equation 3): 1 is perfect, 0 is chance. votes: (N, V)."""
    p_j = votes.sum(0).double() / votes.sum()
    P_e = p_j.square().sum()
    return float((agreement(votes).mean() - P_e) / (1 - P_e))

# %% [markdown]
# The entropy of the votes counts the doubt in bits: 0 where all agree, 1 where two words share the votes evenly. It is also the floor
# under the cross-entropy of any network that is trained with soft labels.
#
# $$H = -\sum_j q_j \log_2 q_j, \qquad q_j = n_j / n \tag{4}$$

# %% tags=["method"]
def entropy(votes):
    """Doubt in bits (equation 4). votes: (N, V). Returns (N,)."""
    q = votes.double() / votes.sum(1, keepdim=True)
    return -torch.xlogy(q, q).sum(1) / np.log(2)

# %% tags=["check"]
from statsmodels.stats.inter_rater import fleiss_kappa as library

known = torch.tensor([[10, *[0] * 9], [5, 5, *[0] * 8]])  # all agree; two halves
torch.testing.assert_close(entropy(known), torch.tensor([0.0, 1.0], dtype=torch.double))
torch.testing.assert_close(agreement(known), torch.tensor([1.0, 4 / 9], dtype=torch.double))
torch.testing.assert_close(soft_labels(known)[:, :2], torch.tensor([[1, 0], [0.5, 0.5]]))
np.testing.assert_allclose(fleiss_kappa(faces.votes), library(faces.votes[:, faces.votes.sum(0) > 0].numpy()))

# %% [markdown]
# Two faces that all raters of the rendered set named alike, and the four that split them most. The raters here are simulated. They are a formula, which
# makes them unsure where an expression is weak or mixed; do not read psychology into their votes.

# %% mystnb={"image": {"alt": "Six rendered faces with a bar for each word that raters chose. All votes for the first two go to one word; those of the other four spread over several."}}
order = entropy(faces.votes).argsort()
picked = torch.cat([order[:2], order[-4:]])
figures.ballots(faces.images[picked], faces.votes[picked], [*CLASSES, "unknown", "not a face"])

# %% [markdown]
# Now the whole training split, before any image is dropped. `contested` is the share that gets no label: no word holds a majority, or
# "unknown" or "not a face" does. `one rater` is how often a single rater
# says what the majority says. Keep that number in mind when a network's accuracy on such labels is praised or blamed.

# %%
if train.votes is None:
    print(f"{DATA} keeps one label an image and no votes, so nobody can say how far its raters agreed.")
else:
    votes = whole["train"].votes
    word = majority(votes)
    clear, n = word >= 0, len(votes)
    one = (votes[clear].gather(1, word[clear][:, None])[:, 0] / votes[clear].sum(1)).mean().item()
    record(contested=1 - clear.double().mean(), n=n, interval=evaluation.wilson(int((~clear).sum()), n))
    record(one_rater=one, n=int(clear.sum()))
    record(agreement=agreement(votes).mean(), kappa=fleiss_kappa(votes), entropy_bits=entropy(votes).mean(), n=n)
    print(f"{n:,} faces: contested {1 - clear.double().mean():.3f}, one rater {one:.3f},", end=" ")
    print(f"agreement {agreement(votes).mean():.3f}, kappa {fleiss_kappa(votes):.3f}, {entropy(votes).mean():.2f} bits")

# %%
tables.say("paper", "ferplus", """
On the photographs of FERPlus the raters were people. They agree with κ = {kappa}, and {contested} of the images get no label by the common rule;
a single rater says what the majority says with a share of {one_rater}.
""")

# %% [markdown]
# ## The same face twice
#
# A test asks what a network does with faces that it has *not* seen. So the first thing to look for in a data set is a test image that stands in training.

# %%
rows = []
for a, b in (("test", "train"), ("valid", "train"), ("test", "valid")):
    found = whole[a][data.duplicates(whole[a], whole[b])].images.flatten(1)
    distinct = len(found.unique(dim=0))
    record(**{f"{a}_images_also_in_{b}": len(found), f"{a}_images_also_in_{b}_distinct": distinct}, n=len(whole[a]))
    rows.append({"Images of": a, "that stand in": b, "count": f"{len(found):,}", "distinct": f"{distinct:,}", "of": f"{len(whole[a]):,}"})
Table(f"Duplicates in {DATA}", "Equal in every pixel; all images, also those without a label.", rows)

# %%
tables.say("paper", "ferplus", """
In FERPlus {test_images_also_in_train} test images ({test_images_also_in_train_distinct} distinct) and {valid_images_also_in_train} validation images
({valid_images_also_in_train_distinct} distinct) stand in training too. On the test images a linear classifier of gradients, which we shall meet below, is
right in {gradients_accuracy}, and the constant answer in {majority_class}.
""")

# %% [markdown]
# The same *person* in two splits is a leak as well. CK+ is cut from recorded sequences: neighbouring frames of one face are nearly one image. Split them
# at random, and a classifier that only looks up the most similar picture scores high. Let us do it wrong once. Every validation face gives three frames,
# shifted by up to one pixel and with fresh noise; nearest-neighbour search answers from half of them. What it reads are *gradients*: how strong edges of
# each direction are in each part of the face, the feature that was common before networks {cite}`f-dalal2005histograms`.

# %% tags=["method"]
def gradients(split):
    """Histograms of nine edge directions in 16 cells of a face. Returns float32 (N, 324)."""
    describe = cv2.HOGDescriptor((64, 64), (32, 32), (16, 16), (16, 16), 9).compute
    return np.stack([describe(image).ravel() for image in split.grey().resize(64).images[:, 0].numpy()])

def frames(split, count, seed):
    """`count` frames of every face, one after the other: moved by up to a pixel, with noise. Returns a data set."""
    rng, repeated = np.random.default_rng(seed), split[torch.arange(len(split)).repeat_interleave(count)]
    moved = [np.roll(image, rng.integers(-1, 2, 2), (1, 2)) for image in repeated.images.numpy()]
    noisy = np.stack(moved) + rng.normal(0, 4, repeated.images.shape)
    return replace(repeated, images=torch.from_numpy(noisy.clip(0, 255).round().astype(np.uint8)))

# %%
filmed = frames(splits["valid"], 3, SEED)
x, y = gradients(filmed), filmed.labels.numpy()
face = np.arange(len(y)) // 3
person = face if filmed.subjects is None else filmed.subjects.numpy()
rng = np.random.default_rng(SEED)
for name, group in (("frame", np.arange(len(y))), ("face" if filmed.subjects is None else "person", person)):
    held = np.isin(group, rng.permutation(np.unique(group))[: len(np.unique(group)) // 2])
    right = KNeighborsClassifier(1).fit(x[~held], y[~held]).predict(x[held]) == y[held]
    record(**{f"split_by_{name}": right.mean()}, n=len(right))
    print(f"split by {name:7} {100 * right.mean():.1f} % of {len(right):,} frames right")

# %% [markdown]
# The same images, the same method; only the split differs. (No interval stands here: frames of one face are right or wrong together, and an interval
# that counts them as independent would be too narrow.) In the rendered set no person stands in two splits, and the page checks it:

# %% tags=["check"]
people = {name: set(data.load("rendered", split=name).subjects.tolist()) for name in names}
assert sum(map(len, people.values())) == len(set.union(*people.values()))

# %% [markdown]
# ## What an accuracy says
#
# An accuracy $\hat p = k/n$ is measured on $n$ faces. Other faces would have given another one. Wilson's interval holds every accuracy under which
# $k$ of $n$ would be no surprise {cite}`f-wilson1927probable`; with $z = 1.96$ it covers the true one about 95 times in 100:
#
# $$\frac{1}{1 + z^2/n} \left( \hat p + \frac{z^2}{2n} \pm z \sqrt{\frac{\hat p (1 - \hat p)}{n} + \frac{z^2}{4 n^2}} \right) \tag{5}$$

# %% tags=["method"]
def wilson(k, n, z=1.959964):
    """Interval of a share k / n (equation 5). Returns (low, high)."""
    p = k / n
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (p + z**2 / (2 * n) - half) / (1 + z**2 / n), (p + z**2 / (2 * n) + half) / (1 + z**2 / n)

# %% tags=["check"]
from statsmodels.stats.proportion import proportion_confint

for k, n in ((0, 20), (9, 36), (36, 36), (700, 1000)):
    np.testing.assert_allclose(wilson(k, n), proportion_confint(k, n, method="wilson"), atol=1e-6)
print("36 right of 36:", np.round(wilson(36, 36), 2), "   900 of 1000:", np.round(wilson(900, 1000), 3))

# %% [markdown]
# To have something to measure we train the smallest honest classifier: linear discriminant analysis, which fits one Gaussian a class with a common
# covariance. It reads gradients. Where the 68 landmarks of a face are known it may read those instead, turned and scaled by the eyes, so that only the
# face's shape is left.

# %% tags=["method"]
def align(points):
    """Landmarks with the eyes' middle at 0 and the distance of the eyes 1. points: (N, 68, 2). Returns (N, 136)."""
    z = torch.view_as_complex(torch.as_tensor(points).double().contiguous())  # (N, 68)
    right, left = z[:, 36:42].mean(1, keepdim=True), z[:, 42:48].mean(1, keepdim=True)
    return torch.view_as_real((z - (right + left) / 2) / (left - right)).flatten(1).numpy()

def linear(x, y):
    """Linear discriminant analysis with a shrunken covariance."""
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(x, y)

# %%
features = {"gradients": gradients} | ({"landmarks": lambda split: align(split.landmarks)} if test.landmarks is not None else {})
fitted = {name: linear(feature(train), train.labels.numpy()) for name, feature in features.items()}
scored, right = {}, {}
for name, feature in features.items():
    probabilities = np.zeros((len(test), len(classes)))
    probabilities[:, fitted[name].classes_] = fitted[name].predict_proba(feature(test))
    scored[name] = evaluation.scores(probabilities, test.labels, classes)
    right[name] = probabilities.argmax(1) == test.labels.numpy()
    record(**{f"{name}_accuracy": scored[name].accuracy}, n=len(test), interval=scored[name].interval)
    record(**{f"{name}_balanced_accuracy": scored[name].balanced_accuracy}, n=len(test))
most = int((test.labels == train.labels.mode().values).sum())
record(majority_class=most / len(test), n=len(test), interval=evaluation.wilson(most, len(test)))

# %% [markdown]
# An accuracy alone says nothing. Beside it belong *chance*, one over the number of classes, and the *majority class*, which a constant answer reaches.

# %% mystnb={"image": {"alt": "Dots with 95 per cent intervals on a line from 0 to 100 per cent: the constant answer, a linear classifier of gradients, and one of landmarks. A dashed line marks chance."}}
shares = [(most / len(test), evaluation.wilson(most, len(test))), *((s.accuracy, s.interval) for s in scored.values())]
means, lows, highs = zip(*((100 * mean, 100 * low, 100 * high) for mean, (low, high) in shares), strict=True)
figures.intervals(["majority class", *scored], means, lows, highs, f"accuracy on {len(test):,} test images, per cent", 100 / len(classes), "chance")

# %% mystnb={"image": {"alt": "A confusion matrix of the linear classifier of gradients, in per cent of each true class. Frequent classes attract the answers."}}
best = scored["gradients"]
title = f"gradients: {100 * best.accuracy:.0f} % right, balanced {100 * best.balanced_accuracy:.0f} %"
figures.confusion(best.confusion, classes, title)

# %% [markdown]
# *Balanced accuracy* is the mean of the diagonal: every class counts alike, however rare. Where it lies far under the accuracy, a few frequent classes
# carry the result. The matrix says more: which word is taken for which.
#
# On rendered faces the landmarks do far better than the gradients, because ours are exact, even under a hand or a scarf. Nobody has such landmarks for a
# photograph. What they show is that the class *is* written in the shape of these faces. The task of a network is to read it off the pixels.
#
# We can now ask our reader of landmarks what we asked you above: how strong must an expression be?

# %% mystnb={"image": {"alt": "Seven rising curves: the share of people whose expression is named rightly against its strength, from 0 to 1. Some expressions are mostly named rightly from little more than half their strength on, others only near the full one."}}
strengths, curves = np.linspace(0, 1, 9), {name: [] for name in CLASSES[1:]}
sitters = [plan.person_of(SEED + 1, number) for number in range(20)]
reader, places = linear(align(rendered.landmarks), rendered.labels.numpy()), head().places
for c, name in enumerate(CLASSES[1:], start=1):
    for strength in strengths:
        meshes = np.stack([places(pose_mesh(person, strength * prototype(name))) for person in sitters])  # (20, 68, 3)
        curves[name].append(100 * (reader.predict(align(meshes[..., :2] * [1, -1])) == c).mean())
figures.emotion_lines(strengths, curves, "strength", f"named rightly, per cent of {len(sitters)} people")

# %% [markdown]
# ## Right for whom?
#
# A total can hide a group for which a classifier fails. The rendered faces know who is in the picture, so the question has an answer.

# %% tags=["method"]
def groups(split):
    """Name of a group -> bool (N,): who is in it. Skin in thirds of this split, from light to dark."""
    a = split.attributes
    light, dark = a["tone"].quantile(torch.tensor([1 / 3, 2 / 3]))
    return {
        "women": ~a["male"], "men": a["male"],
        "under 16 years": a["years"] < 16, "16 to 59": (a["years"] >= 16) & (a["years"] < 60), "60 and over": a["years"] >= 60,
        "lightest skin": a["tone"] < light, "middle": (a["tone"] >= light) & (a["tone"] < dark), "darkest skin": a["tone"] >= dark,
        "no glasses": ~a["eyeglasses"], "glasses": a["eyeglasses"],
        "nothing in front": ~a["occluded"], "partly covered": a["occluded"],
    }

# %% mystnb={"image": {"alt": "A dot with its 95 per cent interval for each group of people: accuracy of the classifier of gradients. Small groups have wide intervals. A dashed line marks the accuracy over all."}}
figure = None
if test.attributes is None or "tone" not in test.attributes:
    print(f"{DATA} does not say who is in the picture: accuracy by group cannot be measured on it.")
else:
    labels, bounds = [], []
    for name, member in groups(test).items():
        k, n = int(right["gradients"][member.numpy()].sum()), int(member.sum())
        if not n:
            continue
        record(**{f"accuracy_{name.replace(' ', '_')}": k / n}, n=n, interval=evaluation.wilson(k, n))
        labels.append(f"{name} ({n:,} of {len(test.subjects[member].unique())})")
        bounds.append((k / n, *wilson(k, n)))
    title = "accuracy, per cent (in brackets: faces, of how many people)"
    figure = figures.intervals(labels, *100 * np.array(bounds).T, title, 100 * best.accuracy, "all")
figure

# %% [markdown]
# Read the intervals first. Two groups whose intervals overlap widely have not been shown to differ. A small group has a wide interval: a data set that
# holds few of a kind cannot even tell how badly it serves them. Of twelve intervals at 95 per cent, one will miss in about every other such figure. And
# several faces of one person are not as good as several people: the true intervals are wider than these.
#
# Does it matter who stands in the training set? The same classifier learns from one group alone, then from as many faces of everybody.

# %%
def lesson(member, seed):
    """Rows: accuracy inside a group and outside it, after training on the group alone and on as many of everybody."""
    inside, tested = groups(rendered)[member].numpy(), groups(faces)[member].numpy()
    mixed = np.random.default_rng(seed).permutation(len(rendered))[: inside.sum()]
    for name, chosen in ((member, np.flatnonzero(inside)), ("everybody", mixed)):
        hit = linear(x[chosen], y[chosen]).predict(shapes) == faces.labels.numpy()
        shares = [tables.share([part.mean()], len(part)) for part in (hit[tested], hit[~tested])]
        yield {"Trained on": name, "faces": f"{len(chosen):,}", f"{member}, per cent": shares[0], "the others": shares[1]}

x, y, shapes = gradients(rendered), rendered.labels.numpy(), gradients(faces)
about = "Rendered faces; with 95 % intervals."
tables.Stack([Table(f"Trained on {m}", about, list(lesson(m, SEED))) for m in ("nothing in front", "16 to 59", "lightest skin")])

# %% [markdown]
# Compare the two rows of a table. Where the gap between the columns grows by more than the intervals allow, the training set made it. Where it does not, this
# classifier does not look at what tells the groups apart, or there are too few faces to see it. A network may well look at it.

# %% [markdown]
# ## What a face does not say
#
# Nothing on this page measured a feeling. A class of the rendered set is a recipe of movements; a label of FERPlus is a word that strangers gave a
# picture. The best review of the evidence finds that people who feel the same do not move their faces the same way, and that the same movement goes with
# many states {cite}`f-barrett2019emotional`. A network that agrees with the raters has learned the raters.
#
# Our groups are no people either. Sex is a slider of a head model, skin a colour, and the expressions follow one formula for all; a gap measured here is
# a gap of this classifier on these pictures. On photographs the labels themselves may differ by group, and no interval shows that.
#
# So: do not judge what somebody feels, intends or deserves from such a classifier. Not in hiring, teaching, policing or care. Do not run it on people who
# did not agree. Report every accuracy with its interval, its baseline, and the groups that it was not measured on. [More on this](/book/ethics.md).
#
# ## Exercises
#
# ```{exercise} The other rule
# :label: ex-plurality
# FERPlus can also be labelled by *plurality*: the word with more votes than any other wins, if it has at least `least` votes. No vote is dropped. A tie,
# and a win of "unknown" or "not a face" (columns 8 and 9), gives -1. Write it. How many training faces does it add to those with a majority?
# ```

# %% tags=["exercise"]
def plurality(votes, least=1):
    """votes: int64 (N, 10). Returns int64 (N,): the winning word, or -1."""
    ### BEGIN SOLUTION
    most, winner = votes.max(1)
    alone = (votes == most[:, None]).sum(1) == 1
    return torch.where(alone & (winner < 8) & (most >= least), winner, -1)
    ### END SOLUTION

# %% tags=["check"]
from fer_teach import checks

checks.plurality(plurality)
print(int((plurality(rendered.votes) >= 0).sum() - (majority(rendered.votes) >= 0).sum()), "rendered faces more")

# %% [markdown]
# ```{exercise} How many faces does a claim need?
# :label: ex-enough
# You expect an accuracy of `p`. From how many test images on is Wilson's interval at most `width` wide, from end to end? Return the smallest `n`, with
# $k = pn$ not rounded. Guess first: one point in all, at 90 per cent?
# ```

# %% tags=["exercise"]
def faces_needed(p, width):
    """The smallest whole n for which the interval of a share p is at most `width` wide."""
    ### BEGIN SOLUTION
    n = 1
    while np.subtract(*wilson(p * n, n)[::-1]) > width:
        n += 1
    return n
    ### END SOLUTION

# %% tags=["check"]
checks.faces_needed(faces_needed)
print(f"{faces_needed(0.9, 0.01):,} faces")

# %% [markdown]
# ```{exercise} Find the leak
# :label: ex-leak
# A colleague holds out a fifth of the faces with `return torch.rand(len(subjects), generator=generator) < share`. His accuracy is splendid. Mend the
# split so that no person stands on both sides; about `share` of the *people* shall be held out.
# ```

# %% tags=["exercise"]
def held_out(subjects, share, seed):
    """Which faces to test on. subjects: int64 (N,), one number a person. Returns bool (N,)."""
    generator = torch.Generator().manual_seed(seed)
    ### BEGIN SOLUTION
    people = subjects.unique()
    chosen = people[torch.rand(len(people), generator=generator) < share]
    return torch.isin(subjects, chosen)
    ### END SOLUTION

# %% tags=["check"]
checks.held_out(held_out)

# %% [markdown]
# ```{exercise} Predict, then measure
# :label: ex-half-a-face
# Which two classes lose most if the reader of landmarks sees the mouth alone (points 48 to 67), and which if it sees brows and eyes alone (17 to 47)?
# Look at the map of units, write your guess down, then fit `linear` on those columns of `align` and read `evaluation.scores(...).per_class_recall`. Mind
# that `align` gives x and y of each point side by side.
# ```
#
# ## In short
#
# Faces move in units; words for faces overlap; raters differ. A label is a vote, a test is only as good as its split, and an accuracy needs an interval,
# a baseline, a confusion matrix and the question for whom it holds. The next chapters train networks on such labels. Keep these questions at hand.
#
# ```{bibliography}
# :filter: docname in docnames
# :keyprefix: f-
# :labelprefix: F
# ```
