"""Native resources of one release: writer (CTranslate2), classifier (TFLite), memory (usearch), and how a release is opened.

Rules: one file an engine; each imports its native library late; each has one owner; each raises EngineError and nothing else.
"""
