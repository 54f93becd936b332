"""The Open Inference Protocol, version 2: tensors in and out, over HTTP and gRPC."""
