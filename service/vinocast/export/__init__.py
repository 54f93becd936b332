"""From a Hugging Face checkpoint to a model folder. Needs the ``convert`` extra; a running service never imports it."""
