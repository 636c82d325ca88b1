#!/bin/sh
# GRPO with verl 0.9 (Ray and vLLM) on a Ray cluster that is up already; started on its head.
# Written from the source of 0.9.1 and not run: no GPU was at hand. What was run is told in docs/training-rl-elsewhere.md.
# Usage: NODES=2 CARDS=8 sh verl_train.sh CHECKPOINT ROWS OUTPUT [key=value ...]
#   ROWS: a Parquet file of write_rows. CHECKPOINT, ROWS, OUTPUT, and the file of terms that verl_agent.yaml names, lie
#   where all nodes see them.
set -eu
checkpoint=$1 rows=$2 output=$3
shift 3
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

# With history a prompt is the system's words and the first picture, a response all that follows: 8 turns of an answer
# and a picture of 334 tokens. Without history (terms.toml) both are of one turn, and far shorter.
exec "${PYTHON:-python}" -m verl.trainer.main_ppo \
    data.train_files="$rows" \
    data.val_files="$rows" \
    data.val_max_samples=64 \
    data.train_batch_size=64 \
    data.max_prompt_length=2048 \
    data.max_response_length=8192 \
    algorithm.adv_estimator=grpo \
    algorithm.norm_adv_by_std_in_grpo=False \
    algorithm.use_kl_in_reward=False \
    actor_rollout_ref.model.path="$checkpoint" \
    actor_rollout_ref.actor.optim.lr=1e-6 \
    actor_rollout_ref.actor.use_kl_loss=False \
    actor_rollout_ref.actor.loss_agg_mode=token-mean \
    actor_rollout_ref.actor.clip_ratio_low=0.2 \
    actor_rollout_ref.actor.clip_ratio_high=0.28 \
    actor_rollout_ref.actor.freeze_vision_tower=True \
    actor_rollout_ref.actor.ppo_mini_batch_size=64 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1 \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=8 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.5 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=1 \
    actor_rollout_ref.rollout.agent.default_agent_loop=ibisagent \
    actor_rollout_ref.rollout.agent.agent_loop_config_path="$here/verl_agent.yaml" \
    +actor_rollout_ref.rollout.limit_images=9 \
    trainer.nnodes="${NODES:-1}" \
    trainer.n_gpus_per_node="${CARDS:-8}" \
    trainer.total_epochs=1 \
    trainer.save_freq=50 \
    trainer.test_freq=50 \
    trainer.logger='["console","tensorboard"]' \
    trainer.project_name=ibisagent \
    trainer.experiment_name=grpo \
    trainer.default_local_dir="$output" \
    "$@"
