"""Can OpenCV be loaded? Its wheel takes a few libraries from the system; install what is missing, or say what.

Exit status 0: it can. 1: it cannot, and a sentence says what to do.
"""

import os
import shutil
import subprocess
import sys

PACKAGES = ("libgl1", "libglib2.0-0", "libxcb1")  # on Debian and Ubuntu
ABSENT = "cannot open shared object file"


def failure() -> str:
    """What `import cv2` says, in a line; "" where it works."""
    done = subprocess.run([sys.executable, "-c", "import cv2"], capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it stopped without a message"])[-1]


def install() -> None:
    """Ask apt for the packages, as root or where sudo needs no password; whether that helped, `failure` says."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not prefix or shutil.which("sudo")):
        print("installing libraries that OpenCV needs:", *PACKAGES, flush=True)
        get = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends " + " ".join(PACKAGES)
        subprocess.run([*prefix, "sh", "-c", f"apt-get update -q && {get}"], stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    said = failure()
    if ABSENT in said:
        install()
        said = failure()
    if said:
        hint = f" Install {', '.join(PACKAGES)} (names on Debian), then run make again." if ABSENT in said else ""
        sys.exit(f"OpenCV cannot be loaded: {said}.{hint}")
