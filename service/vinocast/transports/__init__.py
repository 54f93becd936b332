"""The ways in: JSON lines and HTTP. They know nothing of OpenVINO."""
