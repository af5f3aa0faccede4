"""What the processor can do."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_KNOWN = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def model() -> str:
    """The processor's name, as the system tells it."""
    return _listing().get("model name") or platform.processor() or platform.machine()


def instructions() -> list[str]:
    """Those of avx2, avx512f, avx512_bf16 and amx_bf16 that it has; empty where the system does not tell."""
    flags = _listing().get("flags", "").split()
    return [name for name in _KNOWN if name in flags]


def allowed() -> list[str | None]:
    """What decides which of torch's kernels run: the vector instructions, and the two variables that limit them."""
    return [*instructions(), *map(os.environ.get, ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"))]


def fast_bf16() -> bool:
    """Whether bfloat16 is computed by instructions of its own. Elsewhere it is imitated, some five times slower.

    ONEDNN_MAX_CPU_ISA counts: it tells the kernels not to use what the processor has.
    """
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    limited = not any(word in most for word in ("DEFAULT", "ALL", "BF16", "AMX", "AVX10"))
    return not limited and any(name.endswith("bf16") for name in instructions())


def _listing() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}
