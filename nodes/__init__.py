"""The workload: split-learning server and client programs, their algorithms, models and data.

It stands on three names of the emulator (Node, Message, Work) and on its units; the emulator starts it by name
(`nodes.server:main`, `nodes.client:main`) and knows nothing of it.
"""
