"""Whether a stand-in answers as the fitted pipeline does: rows that would show a difference, comparison, and record.

Nothing here knows what stands in: compiled kernels and ONNX Runtime are compared by the packages that hold them.
"""
