"""The network `textbook` in PyTorch, eager: an epoch for each line read, its milliseconds a step for each answer."""

import sys
import time

import numpy as np
import torch


class Textbook(torch.nn.Module):
    """LSTM 64, dropout, LSTM 32, dropout, dense 1."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = torch.nn.LSTM(features, 64, batch_first=True)
        self.second = torch.nn.LSTM(64, 32, batch_first=True)
        self.dropout, self.output = torch.nn.Dropout(0.2), torch.nn.Linear(32, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecasts for windows."""
        states, _ = self.first(x)
        states, _ = self.second(self.dropout(states))
        return self.output(self.dropout(states[:, -1]))


def main(path: str, threads: int, batch: int) -> None:
    """Train an epoch whenever a line arrives."""
    torch.set_num_threads(threads)
    data = np.load(path)
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    model = Textbook(x.shape[2])
    optimizer, error = torch.optim.Adam(model.parameters(), lr=0.01), torch.nn.MSELoss()
    for _ in sys.stdin:
        start, batches = time.perf_counter(), torch.randperm(len(x)).split(batch)
        for rows in batches:
            optimizer.zero_grad()
            error(model(x[rows]), y[rows]).backward()
            optimizer.step()
        print((time.perf_counter() - start) / len(batches) * 1e3, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
