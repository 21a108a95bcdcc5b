#!/bin/sh
# Two SAC agents of plain Stable-Baselines3 on a MuJoCo task, with different seeds and different layouts of sensors: train,
# import, stitch both ways (docs/results/mujoco.md). Needs the extra `mujoco`. What is there already is not made again.
#
#     sh benchmarks/mujoco/run.sh [FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1
mkdir -p "${1:-runs/mujoco}"
cd "${1:-runs/mujoco}"

train() { [ -f "$1-s$2.zip" ] || python "$here/train.py" "$1" "$2" "$1-s$2.zip"; }
import() { # LAYOUT SEED SPLIT
  [ -d "agents/$1-s$2-split$3" ] || rlstitch import "$1-s$2.zip" --name "$1-s$2-split$3" \
    --env pendulum:TwoLayoutPendulum-v0 --world "keys=[$1]" --split "$3"
}
stitch() {
  [ -d "agents/$1-to-$2" ] || rlstitch stitch "$1" "$2" --method affine --gym-packages pendulum --controls --name "$1-to-$2"
}

train left 1 &
train right 2
wait
for split in 2 1; do
  import left 1 $split
  import right 2 $split
  stitch left-s1-split$split right-s2-split$split
  stitch right-s2-split$split left-s1-split$split
done
