"""Chapter 00: votes, intervals and splits."""

from __future__ import annotations

from .common import need, tensor


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
        got = int(tensor(answer(torch.tensor([votes]), least), (1,), "plurality()")[0])
        need(got == expected, f"The votes {votes} with least={least} give {got}, not {expected}. {words}")
    print("Right.")


def faces_needed(answer) -> None:
    """Chapter 00: test images for an interval of a given width. answer(p, width) -> n."""
    from ..evaluation import wilson

    for p, width in ((0.5, 0.2), (0.9, 0.1), (0.7, 0.05), (1.0, 0.1)):
        n = answer(p, width)
        need(n is not None, "faces_needed() returns nothing yet: return a whole number.")
        n = int(n)
        need(n >= 1, f"faces_needed({p}, {width}) is {n}; at least one face is needed.")
        low, high = wilson(p * n, n)
        need(high - low <= width + 1e-9, f"With {n} faces at {p} the interval is {high - low:.4f} wide, over {width}.")
        if n > 1:
            low, high = wilson(p * (n - 1), n - 1)
            need(high - low > width, f"{n} faces at {p} are more than needed: {n - 1} give {high - low:.4f} already.")
    print("Right.")


def held_out(answer) -> None:
    """Chapter 00: a split by person. answer(subjects (N,), share, seed) -> bool (N,)."""
    import torch

    subjects = torch.arange(300).repeat_interleave(6)[torch.randperm(1800, generator=torch.Generator().manual_seed(5))]
    for share in (0.2, 0.5):
        test = tensor(answer(subjects, share, 0), (1800,), "held_out()")
        need(test.dtype == torch.bool, f"held_out() must return truth values, not {test.dtype}.")
        both = set(subjects[test].tolist()) & set(subjects[~test].tolist())
        need(not both, f"{len(both)} of 300 people stand on both sides. Draw people, not faces.")
        part = len(set(subjects[test].tolist())) / 300
        need(abs(part - share) < 0.12, f"Asked for {share} of the people, you hold out {part:.2f}.")
    need(torch.equal(test, answer(subjects, share, 0)), "The same seed must give the same split.")
    need(not torch.equal(test, answer(subjects, share, 1)), "Another seed must give another split.")
    print("Right.")
