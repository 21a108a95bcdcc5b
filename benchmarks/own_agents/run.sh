#!/bin/sh
# Two agents of plain Stable-Baselines3, on an environment that rlstitch has never seen, under two looks: train, import,
# stitch both ways, export. Ten minutes on two cores:
#
#     sh benchmarks/own_agents/run.sh [FOLDER]     # what is there already is not trained again
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "${1:-runs/own-agents}"
cd "${1:-runs/own-agents}"

train() { [ -f "$1-s$2.zip" ] || python "$here/train.py" "$1" "$2" "$1-s$2.zip"; }
import() { rlstitch import "$1.zip" --name "$1" --env harbour:Harbour-v0 --look "$2" --force; }
stitch() { rlstitch stitch "$1" "$2" --method affine --gym-packages harbour --controls --name "$1-to-$2" --force; }

train negative 1
train swapped 2
import negative-s1 inverted
import swapped-s2 channels:bgr
stitch negative-s1 swapped-s2
stitch swapped-s2 negative-s1
rlstitch export negative-s1-to-swapped-s2 --gym-packages harbour --force
