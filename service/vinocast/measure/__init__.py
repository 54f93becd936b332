"""What is measured on this machine: the service under load (bench), and how its models run fastest (tune)."""
