#!/bin/sh
# Set up .venv: a checked Python, torch at its pinned version, everything else by hash, then swarmd itself.
# What pip says goes to .venv/install.log, and is shown when a step fails.

set -eu
cd "$(dirname "$0")/.."

if [ "$(uname)" = Darwin ] && command -v brew >/dev/null 2>&1; then
    CFLAGS="${CFLAGS:-} -I$(brew --prefix)/include"
    LDFLAGS="${LDFLAGS:-} -L$(brew --prefix)/lib"
    export CFLAGS LDFLAGS
fi
python=$(sh tools/preflight.sh)

log=.venv/install.log
step() {
    echo "  $1"
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "The install failed at: $*" >&2
        echo "Everything it said is in $log; correct the cause and run 'make install' again." >&2
        exit 1
    fi
}
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input install --progress-bar off "$@"; }

echo "Setting up .venv with $("$python" --version)"
"$python" -m venv --clear .venv
: >"$log"
step "torch (the largest part: minutes on a slow line)" pip -r requirements/torch.txt
step "the other packages, each checked by its hash" \
    pip --require-hashes --no-deps --no-build-isolation --use-pep517 -r requirements/lock.txt
step "swarmd" pip --no-deps --no-build-isolation -e .
step "checking that all versions agree" .venv/bin/python -m pip check
# libp2p needs trio-typing, whose type stubs describe an old trio and would hide trio's own types.
rm -rf .venv/lib/python3.*/site-packages/trio-stubs
touch .venv/installed
echo "Done: .venv/bin/swarmd"
