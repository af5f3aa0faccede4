"""Chapter 01: spatial transformer."""

from __future__ import annotations

from .common import Wrong, need, tensor


def quarter_turn(answer, affine_grid, bilinear_sample) -> None:
    """Chapter 01: theta of a quarter turn. answer() -> (1, 2, 3)."""
    import torch

    theta = tensor(answer(), (1, 2, 3), "quarter_turn()").float()
    need(theta[0, :, 2].abs().max() < 1e-6, "The last column shifts the image. A turn about the centre shifts nothing.")
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    turned = bilinear_sample(image, affine_grid(theta, 8, 8))
    other = torch.rot90(image, -1, (2, 3))
    need(
        not torch.allclose(turned, other, atol=1e-4),
        "That is a quarter turn, but the other way round: theta says where to read, not where to put.",
    )
    need(
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
        same = (tensor(got, (2, 1, 31, 29), "nearest_sample()") - expected).abs() < 1e-6
        need(
            same.float().mean() > 0.98,
            f"On an image of {height} by {width} it reads other pixels than PyTorch. Which side belongs to x?",
        )
    print("Right.")


def possible_counts(answer) -> None:
    """Chapter 01: the counts behind a printed per cent figure. answer(percent, n, digits) -> list of k."""
    cases = [((50.0, 2, 1), [1]), ((33.3, 3, 1), [1]), ((66.67, 3, 2), [2]), ((10.0, 7, 1), []), ((0.0, 5, 1), [0])]
    cases.append(((50.0, 999, 0), list(range(495, 505))))  # of 999 no k is a tie: any way to round is right
    for arguments, expected in cases:
        got = answer(*arguments)
        need(got is not None, "possible_counts() returns nothing yet: return a list of whole numbers.")
        found = sorted(got)
        need(
            found == expected,
            f"possible_counts{arguments} should be {expected}, not {found}. Count k = 0 and k = n too.",
        )
    print("Right.")
