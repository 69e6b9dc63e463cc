"""Serving: a model behind HTTP, with ONNX Runtime and without either framework.

``serve`` answers the Open Inference Protocol (version 2, JSON and binary tensors) and the predict request of
TensorFlow Serving, within the limits of ``Settings``. Everything here is imported when a model is served.
"""
