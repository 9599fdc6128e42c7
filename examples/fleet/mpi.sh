#!/bin/sh
# A list of problems over the ranks of an MPI job, a part a rank:
#
#   mpirun -n 8 examples/fleet/mpi.sh specs/*.attn.yaml --shapes specs/shapes.txt
#
# Each rank has a GPU and tables of its own in $TUNED/<rank>; when all have ended
#
#   attnc tune merge "$TUNED"/*/*.jsonl -o tuned.jsonl
#
# is what one machine would have found.
set -eu
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-${RANK:?no rank of Open MPI, PMI or RANK}}}
local=${OMPI_COMM_WORLD_LOCAL_RANK:-${MPI_LOCALRANKID:-${LOCAL_RANK:-}}}
[ -z "$local" ] || export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-$local}"
export ATTNC_TUNE_DIR="${TUNED:-$PWD/tuned}/$rank"
exec "${ATTNC:-attnc}" tune "$@" --shard auto --resume --quiet
