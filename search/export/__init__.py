"""Deployable files: TFLite and ONNX, checked against the network, with metadata and a model card."""
