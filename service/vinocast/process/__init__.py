"""What this process is to its parent: signals and standard streams, whatever the parent has made of them."""
