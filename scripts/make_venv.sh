#!/bin/bash
# Make a virtual environment that holds pip, also where Python comes without ensurepip (Debian without python3-venv, Colab).
#
#     scripts/make_venv.sh PYTHON FOLDER
#
# Tries Python's own venv; then virtualenv, fetched into a folder beside; then, as root, Debian's package and venv again.
# FOLDER is replaced. It is there and works when this ends with 0, and gone when it does not.
set -u
python=$1 folder=$2
helper=$folder.virtualenv
tried=()

works() { "$folder/bin/python" -m pip --version >/dev/null 2>&1; }

clean() {
  rm -rf "$helper"
  works || rm -rf "$folder"
}
trap clean EXIT
trap 'exit 130' INT TERM

with_venv() { "$python" -m venv "$folder"; }

with_virtualenv() {  # into a folder of its own: the user's Python stays as it is, and a managed one does not mind
  "$python" -m pip install --quiet --disable-pip-version-check --target "$helper" virtualenv &&
    PYTHONPATH=$helper "$python" -m virtualenv --quiet "$folder"
}

with_package() {
  [ "$(id -u)" = 0 ] || { echo "not root"; return 1; }
  command -v apt-get >/dev/null || { echo "no apt-get here"; return 1; }
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" && with_venv
}

package=$("$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
for way in venv virtualenv package; do
  rm -rf "$folder"
  said=$("with_$way" 2>&1) && works && exit 0
  tried+=("  $way: $(grep -m 1 -E '^(ERROR|Error|E): ' <<<"$said" || head -n 1 <<<"$said")")
done
{
  echo "No way to make $folder with $python. Install the package $package (Debian, Ubuntu) or name another Python: make PYTHON=python3.11"
  echo "Tried:"
  printf '%s\n' "${tried[@]}"
} >&2
exit 1
