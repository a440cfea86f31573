"""What may leave the device, decided in one place: the typed question, its pseudonyms, and the answer as it is read back.

Rules: pure; a question is built from a plan and a list of what is allowed, never by copying a document and taking things out;
every text in it matches the closed pattern of its field or nothing leaves (EgressError). Names and operators' words have no
field. The schema stands in `docs/formats/egress.md`.
"""
