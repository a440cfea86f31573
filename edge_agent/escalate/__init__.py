"""Delivery of one question to a stronger model, one file per backend, and what bounds it: budgets, breaker, backoff, windows.

`contract` says what a backend is; `openai` (over `http`), `mqtt` and `spool` are the family, `table` lists it. `budget`,
`breaker`, `backoff`, `windows` and `turns` are pure; what lasts of their state (`state`) is kept in the journal by whoever uses
them. `gate` puts them together. `key` holds the secret of the pseudonyms.

Rules: a backend is handed a question that was made by the egress schema and gives back an answer or a reason; it knows nothing
of incidents, retries or budgets. An answer is wording with slots like the writer's own, and goes through the same verifier.
"""
