#!/usr/bin/env bash
# Two Ray nodes on this machine, a small search on both, and nothing left behind.
#
#     examples/cluster/two_nodes.sh [options of nas search]
#
# On two machines it is the same: `ray start --head` on one, `ray start --address=HOST:PORT` on the other with the same
# token, and the search on any of them. Run folders go to ./runs unless --out says where.
set -euo pipefail

port=${PORT:-6379}
export RAY_ADDRESS=127.0.0.1:$port # what `--ray auto` looks for first
export RAY_USAGE_STATS_ENABLED=0
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0 # what is left to do when these nodes stop is nothing

# `ray start` listens on all addresses of a machine, and whoever reaches its ports can run programs here: nobody without
# this token can.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

folder=$(mktemp -d /tmp/ray-XXXXXX) # a short path: sockets lie there
nodes=()

# Processes that share a GPU take turns on it unless CUDA's Multi-Process Service (MPS) runs.
mps=
if command -v nvidia-cuda-mps-control > "$folder/mps.log" && nvidia-smi > "$folder/mps.log" 2>&1; then
    export CUDA_MPS_PIPE_DIRECTORY=$folder/mps CUDA_MPS_LOG_DIRECTORY=$folder/mps
    mkdir "$folder/mps"
    nvidia-cuda-mps-control -d
    mps=yes
fi

stop() {
    kill "${nodes[@]}" 2> "$folder/stop.log" || true # one that is gone already is no trouble
    wait "${nodes[@]}" 2>> "$folder/stop.log" || true
    [ -z "$mps" ] || echo quit | nvidia-cuda-mps-control
    rm -rf "$folder"
}
trap stop EXIT

start() { # NAME OPTIONS...: a node with one core for trials
    local name=$1
    shift
    env -u RAY_ADDRESS ray start --block --disable-usage-stats --num-cpus=1 --node-name="$name" "$@" \
        > "$folder/$name.log" 2>&1 &
    nodes+=($!)
    until grep -q "Ray runtime started" "$folder/$name.log"; do
        if ! kill -0 "${nodes[-1]}" 2> "$folder/stop.log"; then
            cat "$folder/$name.log" >&2
            exit 1
        fi
        sleep 0.2
    done
}

start one --head --port="$port" --include-dashboard=false --temp-dir="$folder/ray"
start two --address="$RAY_ADDRESS"

nas search --space mbconv --budget 400M --data digits --trials 8 --set estimator.epochs=3 --ray auto "$@"
