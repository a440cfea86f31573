"""What stands on the other side of an escalation, for tests: a server with every fault, its certificates, wrong answers."""
