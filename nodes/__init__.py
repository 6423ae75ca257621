"""The workload: split-learning server and client programs, their algorithms, models and data.

It stands on what a program sees of the emulator (Node, Message), on its units and on its way with wrong words; the
emulator starts it by name (`nodes.server:main`, `nodes.client:main`) and knows nothing of it.
"""
