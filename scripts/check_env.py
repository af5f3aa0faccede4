"""Is the environment of the Python that runs this whole?

Exit status 0: all that requirements.lock names is installed at its version, and this book from this folder.
1: something is not, and installing again mends it. 3: the environment was made in another place: make it anew.
"""

import json
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def wrong(lock: str) -> str:
    """What installing again would mend, in a sentence; "" where nothing is wrong."""
    from packaging.requirements import Requirement

    for line in lock.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        needed = Requirement(line)
        if needed.marker and not needed.marker.evaluate():
            continue
        try:
            found = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            return f"{needed.name} is not installed"
        if not needed.specifier.contains(found, prereleases=True):
            return f"{needed.name} is {found}, not {needed.specifier}"
    try:
        origin = json.loads(metadata.distribution("fer_teach").read_text("direct_url.json") or "{}")
    except metadata.PackageNotFoundError:
        return "fer_teach is not installed"
    here = origin.get("url") == ROOT.as_uri() and origin.get("dir_info", {}).get("editable")
    return "" if here else "fer_teach is a copy, or installed from another folder"


def moved(folder: Path) -> bool:
    """Whether the programs in an environment's bin folder call a Python elsewhere, or none at all."""
    program = folder / "fer-teach"
    if not program.is_file():
        return False  # installing again writes it
    called = Path(program.read_text().partition("\n")[0].removeprefix("#!").strip())
    return called.is_absolute() and called.name.startswith("python") and called.parent.resolve() != folder.resolve()


if __name__ == "__main__":
    here = Path(sys.prefix) / "bin"
    if moved(here):
        print(f"{here.parent} was made in another place and is made anew")
        sys.exit(3)
    found = (
        wrong((ROOT / "requirements.lock").read_text())
        if (here / "fer-teach").is_file()
        else "its programs are missing"
    )
    if found:
        print(f"{here.parent} is being completed: {found}")
    sys.exit(bool(found))
