"""Training the bundled models. Needs the train extra; a running service never imports it."""
