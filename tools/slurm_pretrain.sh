#!/bin/bash
# Pretrains on several hosts of a SLURM cluster: sbatch slurm_pretrain.sh WORKSPACE RUN HOURS
#
# The workspace lies on a file system that all hosts share. A worker that dies restarts all of them from the last
# checkpoint (--max-restarts), and so does a job that SLURM puts back into the queue (--requeue): same workspace, same
# name of the run.
#SBATCH --job-name=hssl-pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

workspace=$1 run=$2 minutes=$(($3 * 60))
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Otherwise torchrun keeps its store over restarts, with the addresses of the workers that died.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

# Behind the two dashes nothing is torchrun's: it takes --run and --start for beginnings of options of its own.
srun torchrun \
  --nnodes="$SLURM_NNODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" --max-restarts=3 \
  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first:29500" \
  -m -- hssl pretrain "$workspace" --run "$run" --minutes "$minutes" --json
