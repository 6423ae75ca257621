"""One torch thread, as on a node; and no test depends on how many cores there are."""

import torch

torch.set_num_threads(1)
