#!/bin/bash
# CartPole and Acrobot, state vectors and rendered pixels, from nothing: two trainings and two grafts each, then the
# table of crosses (docs/results/sensors-classic.md). What is there already is not made again.
#   bash benchmarks/sensors_classic/run.sh [cartpole] [acrobot]
set -e
export OMP_NUM_THREADS=1
declare -A SHAPE=(
  [cartpole]="--encoder-arch crop --action-weight 0 --set size=96 --set frame_stack=6 --rounds 7 --states 24500 --steps 12000"
  [acrobot]="--set size=32 --set frame_stack=3 --rounds 3 --states 6000 --steps 2400"
)
for name in "${@:-cartpole acrobot}"; do
  for environment in $name; do
    for seed in 1 2; do
      [ -d agents/$environment-state-s$seed ] || rlstitch train benchmarks/sensors_classic/$environment.yaml \
        --seed $seed --name $environment-state-s$seed --resume
      [ -d agents/$environment-pixels-s$seed ] || rlstitch graft --controller $environment-state-s$seed \
        --sensor pixels ${SHAPE[$environment]} --seed $seed --name $environment-pixels-s$seed --resume
    done
  done
done
python benchmarks/cross.py benchmarks/crosses/sensors-classic.yaml
