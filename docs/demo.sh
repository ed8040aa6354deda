#!/bin/sh
# The whole job from end to end on this machine, in a few minutes. Prints each command so that it can be repeated.
# Usage: docs/demo.sh FOLDER    (creates the folder; a second run does not repeat the measurements)
set -eu
folder=${1:?usage: docs/demo.sh FOLDER}
mkdir -p "$folder"
cd "$folder"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

run spnas devices
run spnas profile --device host --space digits --calibrate 12 --name digits-host
run spnas search --table digits-host --data digits --target-ms 50% --resume -o run
run spnas predict run/architecture.json --table digits-host
run spnas validate --table digits-host --device host --networks 20 --also run/architecture.json
run spnas report run -o report.html

printf '\nThe table is in %s/spnas.db, the network in %s/run/architecture.json, the report in %s/report.html, the figures are:\n' \
    "$folder" "$folder" "$folder"
find . -name '*.png' | sort | sed "s|^\.|  $folder|"
