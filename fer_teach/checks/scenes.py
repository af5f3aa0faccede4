"""Chapter 03: one-word predictors, mirrored scenes, a loss that stays finite."""

from __future__ import annotations

from .common import need, tensor


def one_word(answer) -> None:
    """Chapter 03: could it be a constant predictor? answer(accuracy, precision, recall, classes) -> bool."""
    cases = [
        ((25.0, 3.6, 14.3, 7), True, "recall is 100 / 7 and precision is 25.0 / 7, as far as one digit tells."),
        ((33.3, 4.2, 12.5, 8), True, "33.3 / 8 is 4.16 and prints as 4.2."),
        ((62.9, 51.8, 53.5, 7), False, "recall is far above 100 / 7."),
        ((25.0, 3.6, 20.0, 7), False, "a recall of 20 needs more than one class."),
        ((25.0, 12.0, 14.3, 7), False, "a precision of 12 needs more than one class."),
        ((50.0, 25.0, 50.0, 2), True, "with two classes, 100 / 2 and 50 / 2."),
    ]
    for figures, expected, why in cases:
        got = answer(*figures)
        need(got is not None, "one_word() returns nothing yet: return True or False.")
        need(bool(got) == expected, f"one_word{figures} should be {expected}: {why}")
    print("Right.")


def mirrored(answer) -> None:
    """Chapter 03: mirror image and mask together. answer(image, mask, chosen) -> (image, mask)."""
    import torch

    generator = torch.Generator().manual_seed(4)
    image, mask = torch.rand(6, 3, 5, 7, generator=generator), torch.rand(6, 5, 7, generator=generator) > 0.5
    chosen = torch.tensor([True, False, True, False, False, True])
    got = answer(image, mask, chosen)
    need(isinstance(got, tuple) and len(got) == 2, "mirrored() must return two things: image and mask.")
    new_image, new_mask = tensor(got[0], (6, 3, 5, 7), "The image"), tensor(got[1], (6, 5, 7), "The mask")
    need(torch.equal(new_image[chosen], image[chosen].flip(-1)), "A chosen image is not its mirror image.")
    need(torch.equal(new_image[~chosen], image[~chosen]), "An image that was not chosen has changed.")
    need(torch.equal(new_mask[chosen], mask[chosen].flip(-1)), "The mask of a mirrored image must be mirrored too.")
    need(torch.equal(new_mask[~chosen], mask[~chosen]), "The mask of an image that was not chosen has changed.")
    print("Right.")


def stable(answer) -> None:
    """Chapter 03: 5 tanh(3 |d|) without overflow. answer(d) -> same shape."""
    import torch

    d = torch.tensor([-100.0, -15.0, -0.4, 0.0, 0.01, 0.5, 15.0, 30.0, 100.0])
    got = tensor(answer(d), (9,), "stable()")
    bad = d[~torch.isfinite(got)]
    need(len(bad) == 0, f"At d = {bad.tolist()} the result is no finite number. Which exponential grows without end?")
    need(got[3] == 0, f"At d = 0 the loss is 0, not {got[3]:.3g}.")
    need(torch.allclose(got[:3], answer(-d[:3])), "The loss must not depend on the sign of d.")
    expected = 5 * torch.tanh(3 * d.abs())
    need(torch.allclose(got, expected, atol=1e-4), f"At d = 0.5 you get {got[5]:.4f}, not {expected[5]:.4f}.")
    print("Right.")
