"""Delivery of one incident to a stronger model, one file per backend. No backend is built in: nothing leaves the device.

Rules: a backend is handed what may leave and returns an answer or a reason; budgets and retries belong to the journal.
"""
