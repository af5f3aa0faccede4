"""Self-checks behind the exercises: each takes the learner's function and says in words what is wrong.

A check raises Wrong, whose message is for the learner, or prints "Right." It compares with an independent computation,
never with the book's solution.
"""

from __future__ import annotations


class Wrong(AssertionError):
    """The answer is not right yet; the message says in what way."""


def _need(good: bool, message: str) -> None:
    if not good:
        raise Wrong(message)


def _tensor(value, shape: tuple, name: str):
    import torch

    _need(value is not None, f"{name} returns nothing yet: write it, and return the result.")
    _need(torch.is_tensor(value), f"{name} must return a tensor, not {type(value).__name__}.")
    _need(tuple(value.shape) == shape, f"{name} must return the shape {shape}, not {tuple(value.shape)}.")
    return value


def quarter_turn(answer, affine_grid, bilinear_sample) -> None:
    """Chapter 01: theta of a quarter turn. answer() -> (1, 2, 3)."""
    import torch

    theta = _tensor(answer(), (1, 2, 3), "quarter_turn()").float()
    _need(
        theta[0, :, 2].abs().max() < 1e-6, "The last column shifts the image. A turn about the centre shifts nothing."
    )
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    turned = bilinear_sample(image, affine_grid(theta, 8, 8))
    other = torch.rot90(image, -1, (2, 3))
    _need(
        not torch.allclose(turned, other, atol=1e-4),
        "That is a quarter turn, but the other way round: theta says where to read, not where to put.",
    )
    _need(
        torch.allclose(turned, torch.rot90(image, 1, (2, 3)), atol=1e-4), "The result is no quarter turn of the image."
    )
    print("Right.")


def nearest_sample(answer) -> None:
    """Chapter 01: the sampler of nearest pixels. answer(images (B,C,H,W), grid (B,h,w,2)) -> (B,C,h,w)."""
    import torch
    import torch.nn.functional as F

    for height, width in ((48, 48), (32, 48), (48, 20)):
        image = torch.rand(2, 1, height, width, generator=torch.Generator().manual_seed(3))
        grid = F.affine_grid(0.9 * torch.eye(2, 3).expand(2, 2, 3), [2, 1, 31, 29], align_corners=False)
        expected = F.grid_sample(image, grid, mode="nearest", align_corners=False)
        try:
            got = answer(image, grid)
        except IndexError:
            raise Wrong(
                f"On an image of {height} by {width} it reads outside the image. Which side belongs to x, which to y?"
            ) from None
        same = (_tensor(got, (2, 1, 31, 29), "nearest_sample()") - expected).abs() < 1e-6
        _need(
            same.float().mean() > 0.98,
            f"On an image of {height} by {width} it reads other pixels than PyTorch. Which side belongs to x?",
        )
    print("Right.")


def possible_counts(answer) -> None:
    """Chapter 01: the counts behind a printed per cent figure. answer(percent, n, digits) -> list of k."""
    cases = [((50.0, 2, 1), [1]), ((33.3, 3, 1), [1]), ((66.67, 3, 2), [2]), ((10.0, 7, 1), []), ((0.0, 5, 1), [0])]
    cases.append(((50.0, 1000, 0), list(range(495, 506))))
    for arguments, expected in cases:
        got = answer(*arguments)
        _need(got is not None, "possible_counts() returns nothing yet: return a list of whole numbers.")
        found = sorted(got)
        _need(
            found == expected,
            f"possible_counts{arguments} should be {expected}, not {found}. Count k = 0 and k = n too.",
        )
    print("Right.")


def plurality(answer) -> None:
    """Chapter 00: the word with the most votes. answer(votes (N, 10), least) -> int64 (N,), -1 for none."""
    import torch

    def count(**words):
        return [words.get(f"c{column}", 0) for column in range(10)]

    cases = [
        (count(c1=4, c0=3, c4=3), 1, 1, "More than any other is enough; half of the votes is not asked for."),
        (count(c2=5, c6=5), 1, -1, "Two words share the lead: nobody wins."),
        (count(c2=1, c6=1), 1, -1, "Two words share the lead: nobody wins."),
        (count(c8=6, c3=4), 1, -1, "Column 8 is 'unknown': the face gets no label."),
        (count(c9=9, c0=1), 1, -1, "Column 9 is 'not a face': the image gets no label."),
        (count(c7=4, c0=3, c5=3), 5, -1, "The winner has fewer than `least` votes."),
        (count(c7=5, c0=3, c5=2), 5, 7, "Exactly `least` votes are enough."),
        (count(c7=1), 1, 7, "No vote is dropped here, not even one that stands alone."),
    ]
    for votes, least, expected, words in cases:
        got = int(_tensor(answer(torch.tensor([votes]), least), (1,), "plurality()")[0])
        _need(got == expected, f"The votes {votes} with least={least} give {got}, not {expected}. {words}")
    print("Right.")


def faces_needed(answer) -> None:
    """Chapter 00: test images for an interval of a given width. answer(p, width) -> n."""
    from .evaluation import wilson

    for p, width in ((0.5, 0.2), (0.9, 0.1), (0.7, 0.05), (1.0, 0.1)):
        n = answer(p, width)
        _need(n is not None, "faces_needed() returns nothing yet: return a whole number.")
        n = int(n)
        _need(n >= 1, f"faces_needed({p}, {width}) is {n}; at least one face is needed.")
        low, high = wilson(p * n, n)
        _need(high - low <= width + 1e-9, f"With {n} faces at {p} the interval is {high - low:.4f} wide, over {width}.")
        if n > 1:
            low, high = wilson(p * (n - 1), n - 1)
            _need(high - low > width, f"{n} faces at {p} are more than needed: {n - 1} give {high - low:.4f} already.")
    print("Right.")


def held_out(answer) -> None:
    """Chapter 00: a split by person. answer(subjects (N,), share, seed) -> bool (N,)."""
    import torch

    subjects = torch.arange(300).repeat_interleave(6)[torch.randperm(1800, generator=torch.Generator().manual_seed(5))]
    for share in (0.2, 0.5):
        test = _tensor(answer(subjects, share, 0), (1800,), "held_out()")
        _need(test.dtype == torch.bool, f"held_out() must return truth values, not {test.dtype}.")
        both = set(subjects[test].tolist()) & set(subjects[~test].tolist())
        _need(not both, f"{len(both)} of 300 people stand on both sides. Draw people, not faces.")
        part = len(set(subjects[test].tolist())) / 300
        _need(abs(part - share) < 0.12, f"Asked for {share} of the people, you hold out {part:.2f}.")
    _need(torch.equal(test, answer(subjects, share, 0)), "The same seed must give the same split.")
    _need(not torch.equal(test, answer(subjects, share, 1)), "Another seed must give another split.")
    print("Right.")
