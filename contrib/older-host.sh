# shellcheck shell=bash
# The older Host from PyPI, which tests and benchmarks run against. To be sourced behind packages.sh.

# The versions that everything here was written against; a newer FastAPI breaks the older Host's imports.
older_host=(hakuriver==0.3.0 fastapi==0.128.0 starlette==0.50.0 pyzmq)

# A Python of 3.11 or later that can make a virtual environment. 3.11 comes first: the older Host's garbage collector
# cuts sessions now and then on later ones.
find_python() {
    local python
    for python in python3.11 python3 python3.12 python3.13 python3.14; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$python"
            return
        fi
    done
    return 1
}

# The packages that bring a Python like that, when there is none.
python_packages() {
    if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        echo python3-venv
    elif [ -n "$(apt-cache search --names-only '^python3\.11-venv$' 2>/dev/null)" ]; then
        echo python3.11 python3.11-venv
    else
        echo python3 python3-venv
    fi
}

# Makes a virtual environment in the folder $2 with the Python $1, and installs the packages that follow into it.
install_from_pypi() {
    local python=$1 folder=$2
    shift 2
    "$python" -m venv "$folder"
    # The user's settings for pip may lead elsewhere than into the virtual environment.
    env -u PIP_USER -u PIP_TARGET -u PIP_PREFIX -u PYTHONPATH -u PYTHONHOME \
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@" </dev/null >&2
}

# Installs it with the Python $1 into the target folder $2, unless it is there.
install_older_host() {
    local folder=$2/older-host wanted
    wanted=$(printf '%s\n' "${older_host[@]}")
    if [ -x "$folder/bin/python" ] && [ "$(cat "$folder/complete" 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    say "installing the older Host into $folder"
    rm -rf "$folder"
    install_from_pypi "$1" "$folder" "${older_host[@]}"
    printf '%s\n' "$wanted" >"$folder/complete"
}
