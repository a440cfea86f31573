"""What a release is worth before it is sent out: incidents to measure on, a judge of sentences, the certificate, the curve.

Rules: the judge (`reading`, `oracle`) shares no code with what writes, plans, prints or verifies sentences on the device, so
that a fault there is found here and not repeated. Everything drawn is drawn from a seed.
"""
