"""Fault lab: real servers, clients and publishers under schedules of faults, and an oracle."""
