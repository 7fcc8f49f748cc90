# shellcheck shell=bash
# Shared by demo, test and bench: makes the environment that they run in. Sourced, not run.
# Variables: WORKER_VENV (where it is, default .venv), PYTHON (the interpreter to make it with).

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
VENV=${WORKER_VENV:-$PWD/.venv}

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo -n "$@"
  else
    return 1
  fi
}

apt_install() {
  command -v apt-get >/dev/null || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q update >/dev/null 2>&1 || return 1
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@" >/dev/null 2>&1
}

# Prints an interpreter that is new enough and can make virtual environments.
find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

ensure_python() {
  find_python && return
  say "installing Python…"
  apt_install python3 python3-venv && find_python && return
  apt_install python3.11 python3.11-venv && find_python && return # Ubuntu 22.04 has it beside 3.10
  die "Python 3.11 or newer with its venv module is missing: apt-get install python3-venv (Ubuntu 22.04: python3.11-venv)"
}

# Makes the environment as the lock says; does nothing while lock and project are the ones it was made from.
prepare() {
  local mark wanted python
  mark=$VENV/.made-from
  wanted=$(cat deploy/requirements.txt pyproject.toml | sha256sum)"$PWD"
  if [ "$(cat "$mark" 2>/dev/null)" != "$wanted" ]; then
    python=$(ensure_python)
    say "making $VENV with $python…"
    "$python" -m venv --clear "$VENV"
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all: -r deploy/requirements.txt
    "$VENV/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
    printf '%s' "$wanted" >"$mark"
  fi
  "$VENV/bin/python" -m worker.embedded install
  export PATH="$VENV/bin:$PATH"
}
