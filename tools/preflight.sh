#!/bin/sh
# Is everything here that the install needs from the system? Prints the Python to use on standard output;
# or, on standard error, what is missing and the command that installs it, and exits 1.
#
#   PYTHON=/path/to/python3.12   use this one instead of the first that fits

set -u

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

fits() { case "$(version_of "$1")" in 3.11 | 3.12 | 3.13) return 0 ;; *) return 1 ;; esac; }

package_manager() {
    for manager in apt-get dnf pacman brew; do
        command -v "$manager" >/dev/null 2>&1 && { echo "$manager"; return; }
    done
}

as_root() { [ "$(id -u)" = 0 ] || echo "sudo "; }

# What each missing thing is called, per package manager. $version is 3.11, 3.12 or 3.13.
package() {
    case "$1 $2" in
        "apt-get compiler") echo build-essential ;;
        "apt-get gmp") echo libgmp-dev ;;
        "apt-get headers") echo "python$version-dev" ;;
        "apt-get venv") echo "python$version-venv" ;;
        "apt-get python") echo "python$version python$version-dev python$version-venv" ;;
        "dnf compiler") echo gcc ;;
        "dnf gmp") echo gmp-devel ;;
        "dnf headers") echo "python$version-devel" ;;
        "dnf venv") echo "python$version-libs" ;;
        "dnf python") echo "python$version python$version-devel" ;;
        "pacman compiler") echo gcc ;;
        "pacman gmp") echo gmp ;;
        "pacman "*) echo python ;;
        "brew gmp") echo gmp ;;
        "brew compiler") echo gcc ;;
        "brew "*) echo "python@$version" ;;
    esac
}

cure() {
    manager=$(package_manager)
    names=""
    for thing in "$@"; do names="$names $(package "$manager" "$thing")"; done
    case "$manager" in
        apt-get) echo "$(as_root)apt-get update && $(as_root)apt-get install -y$names" ;;
        dnf) echo "$(as_root)dnf install -y$names" ;;
        pacman) echo "$(as_root)pacman -S --needed$names" ;;
        brew) echo "brew install$names" ;;
        *) echo "your system's package manager: a C compiler, GMP, and Python $version, each with its headers" ;;
    esac
}

refuse() {
    what=$1
    shift
    {
        echo "swarmd cannot be installed yet. Missing: $what"
        echo "Install it with:  $(cure "$@")"
    } >&2
    exit 1
}

missing=""
words=""
lack() {
    missing="$missing $1"
    words="${words:+$words, }$2"
}

version=3.11
if [ -n "${PYTHON:-}" ]; then
    if ! fits "$PYTHON"; then
        found=$(version_of "$PYTHON")
        echo "swarmd cannot be installed yet. It needs Python 3.11, 3.12 or 3.13; $PYTHON $([ -n "$found" ] && echo "is $found" || echo "does not run")." >&2
        echo "Name another:  make install PYTHON=python3.11   or install one:  $(cure python)" >&2
        exit 1
    fi
else
    for PYTHON in python3.11 python3.12 python3.13 python3 ""; do
        [ -n "$PYTHON" ] && fits "$PYTHON" && break
    done
fi

compiler=${CC:-cc}
compiles() { printf '%s\n' "$1" "int main(void) { return 0; }" | $compiler ${CFLAGS:-} -x c -fsyntax-only - 2>/dev/null; }
header() { find /usr/include /usr/local/include -maxdepth 2 -name "$1" 2>/dev/null | grep -q .; }

if compiles ""; then
    compiles "#include <gmp.h>" || lack gmp "the GMP headers (gmp.h)"
else
    lack compiler "a C compiler ($compiler)"
    header gmp.h || lack gmp "the GMP headers (gmp.h)"
fi
if [ -n "$PYTHON" ]; then
    version=$(version_of "$PYTHON")
    headers=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$headers/Python.h" ] || lack headers "the headers of Python $version (Python.h)"
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || lack venv "the venv module of Python $version"
else
    lack python "Python 3.11, 3.12 or 3.13"
fi

# shellcheck disable=SC2086
[ -z "$missing" ] || refuse "$words" $missing
command -v "$PYTHON"
