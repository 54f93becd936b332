"""What is told of each request once it has ended: to the log, and to Prometheus."""
