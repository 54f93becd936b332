"""Models on this machine: CPU budget, profiles, manifests, compiled models, the lane."""
