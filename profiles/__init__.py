"""The shipped devices, links, testbeds and experiments, as package data."""
