#!/bin/sh
# Serves a fetched checkpoint with vLLM, for this machine only. vLLM wants a virtual environment of its own, since it
# brings its own torch: python3 -m venv vllm && vllm/bin/pip install vllm
# Usage: PATH=vllm/bin:$PATH sh serve.sh [NAME]      NAME as in "ibisagent models list"; ibisagent-7b where it's left out
set -eu
name=${1:-ibisagent-7b}
models=${IBISAGENT_MODELS:-${XDG_DATA_HOME:-$HOME/.local/share}/napari-ibisagent/models}
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1

# Prefix caching: with history a turn begins with all that the last one read, and without it with the same prompt.
# n-gram speculation: an answer repeats the words and the form of the ones before it.
# Pixels: as many as the agent was trained on; more is slower and no better.
exec vllm serve "$models/$name" \
    --served-model-name "$name" \
    --host 127.0.0.1 --port "${PORT:-8000}" \
    --max-model-len "${MAX_MODEL_LEN:-16384}" \
    --limit-mm-per-prompt '{"image": 21, "video": 0}' \
    --mm-processor-kwargs '{"max_pixels": 262144}' \
    --enable-prefix-caching \
    --speculative-config '{"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4, "prompt_lookup_min": 2}' \
    --gpu-memory-utilization "${GPU_SHARE:-0.85}" \
    --max-num-seqs "${SEQUENCES:-8}"
