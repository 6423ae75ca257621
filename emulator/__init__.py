"""The emulator: links, devices, the message bus and the runtimes. It knows no machine learning.

What a program written for it needs is all here.
"""

from emulator.node import Deadline, Message, Node, Work

__all__ = ["Deadline", "Message", "Node", "Work"]
