#!/bin/sh
# Write requirements/lock.txt: every package of pyproject.toml but torch and what torch brings
# (requirements/torch.txt), with the hashes of all its files. Made with the oldest Python we support,
# so that each version it picks exists for the newer ones too.

set -eu
cd "$(dirname "$0")/.."

[ -n "${PYTHON:-}" ] || PYTHON=python3.11
venv=build/lock
[ -x "$venv/bin/pip-compile" ] || {
    "$PYTHON" -m venv --clear "$venv"
    "$venv/bin/python" -m pip --disable-pip-version-check --quiet install pip-tools==7.6.2
}
case "$("$venv/bin/python" --version)" in
    "Python 3.11."*) ;;
    *) echo "make lock needs Python 3.11, the oldest we support: make lock PYTHON=/path/to/python3.11" >&2; exit 1 ;;
esac

elsewhere=$(sed -n 's/^\([a-z0-9-]*\)==.*/--unsafe-package=\1/p' requirements/torch.txt)
"$venv/bin/python" tools/lock_input.py >build/lock.in
# shellcheck disable=SC2086
"$venv/bin/pip-compile" --quiet --strip-extras --generate-hashes --no-header --no-annotate --no-emit-options \
    --constraint requirements/torch.txt $elsewhere --output-file build/lock.txt build/lock.in
{
    echo "# Made by 'make lock' from pyproject.toml. Holds on Python 3.11, 3.12 and 3.13."
    grep -E '^[a-z0-9]|^    --hash' build/lock.txt
} >requirements/lock.txt
echo "requirements/lock.txt: $(grep -c '==' requirements/lock.txt) packages"
