#!/usr/bin/env bash
# Convert a Hugging Face PatchTST to an OpenVINO model folder: a thin door to `vinocast convert`.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: convert_to_openvino.sh [--model SOURCE] [--output DIR] [--fp16]

  --model SOURCE  folder or Hugging Face hub id (default: ibm-granite/granite-timeseries-patchtst)
  --output DIR    the model's own folder (default: models/openvino of this repository)
  --fp16          store the weights in half precision

Without a network, name a folder that holds config.json and model.safetensors with --model.
USAGE
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
model=ibm-granite/granite-timeseries-patchtst
output=$root/models/openvino
precision=f32

while (($#)); do
  case $1 in
    --model | --output)
      if (($# < 2)); then
        echo "convert_to_openvino.sh: $1 needs a value" >&2
        exit 2
      fi
      if [[ $1 == --model ]]; then model=$2; else output=$2; fi
      shift 2
      ;;
    --fp16)
      precision=f16
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "convert_to_openvino.sh: unknown argument $1" >&2
      usage >&2
      exit 2
      ;;
  esac
done

if [[ -x $root/.venv/bin/vinocast ]]; then
  vinocast=("$root/.venv/bin/vinocast")
elif command -v vinocast >/dev/null; then
  vinocast=(vinocast)
else
  export PYTHONPATH=$root/service${PYTHONPATH:+:$PYTHONPATH}
  vinocast=(python3 -m vinocast)
fi
exec "${vinocast[@]}" convert --output "$output" --precision "$precision" -- "$model"
