"""The emulator: links, devices, the message bus and the runtimes. It knows no machine learning.

A program written for it needs three names, and they are all here.
"""

from emulator.node import Message, Node, Work

__all__ = ["Message", "Node", "Work"]
