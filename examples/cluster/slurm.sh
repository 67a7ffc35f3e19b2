#!/usr/bin/env bash
#SBATCH --job-name=nas
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#
# A search on all nodes of a SLURM job: a Ray head and a worker on the first node, a worker on each of the others.
#
#     sbatch examples/cluster/slurm.sh --data /shared/photos --budget 400M --trials 1000 --name first --out /shared/runs \
#         --ledger journal
#
# The options are those of `nas search`; data and run folder must lie where all nodes see them, on a network file system as
# a rule, for which the ledger is a journal. Two minutes before the
# time is over the search is asked to end in order. The same command, or a requeued job, goes on.
set -euo pipefail

cores=${SLURM_CPUS_PER_TASK:?set --cpus-per-task}
gpus=${SLURM_GPUS_ON_NODE:-0}
port=$((20000 + SLURM_JOB_ID % 20000)) # jobs that share a node do not meet
mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts[0]}

# Other users of the cluster reach the ports of these nodes; without the token they can do nothing there. It travels in the
# environment, which nobody else can read, and never on a command line, which all can.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
export RAY_ADDRESS=$head:$port OMP_NUM_THREADS=1

# Trials that share a GPU take turns on it unless CUDA's Multi-Process Service (MPS) runs there. It ends with the job.
with_mps() { # COMMAND...: run it, with MPS where this node has GPUs
    local uuids
    if command -v nvidia-cuda-mps-control > /dev/null &&
        uuids=$(nvidia-smi --id="${CUDA_VISIBLE_DEVICES:-}" --query-gpu=uuid --format=csv,noheader); then
        export CUDA_VISIBLE_DEVICES=${uuids//$'\n'/,} # by UUID: MPS numbers the GPUs that it is given from 0
        export CUDA_MPS_PIPE_DIRECTORY=/tmp/nas-mps-$SLURM_JOB_ID CUDA_MPS_LOG_DIRECTORY=/tmp/nas-mps-$SLURM_JOB_ID/log
        mkdir -p "$CUDA_MPS_LOG_DIRECTORY"
        nvidia-cuda-mps-control -f &
    fi
    exec "$@"
}
export -f with_mps

node() { # HOST OPTIONS...: a Ray node that lives as long as this script
    local host=$1
    shift
    srun --nodes=1 --ntasks=1 --overlap --nodelist="$host" --export=ALL bash -c 'with_mps "$@"' node \
        env -u RAY_ADDRESS ray start --block --disable-usage-stats --num-cpus="$cores" --num-gpus="$gpus" "$@" &
}

node "$head" --head --port="$port" --include-dashboard=false --temp-dir="/tmp/ray-$SLURM_JOB_ID"
until ray status > /dev/null 2>&1; do sleep 2; done
for host in "${hosts[@]:1}"; do
    node "$host" --address="$RAY_ADDRESS"
done

# In the background, so that the signal before the end reaches this script, which passes it on as SIGTERM; SLURM may send
# the search another one, which changes nothing.
signalled=
trap 'signalled=yes; kill -TERM $!' USR1 TERM
nas search --ray auto "$@" &
search=$!
code=0
wait "$search" || code=$?
if [ -n "$signalled" ]; then # what ended then was the wait: the search's own end is to come, or has come meanwhile
    code=0
    wait "$search" || code=$?
fi
exit "$code" # SLURM ends the Ray nodes with the job
