"""Trained models in formats that others read: ONNX, SavedModel, Keras, LiteRT, PyTorch, and bundles for servers."""
