"""The second peer of bench/serve.py: a timm network behind LitServe, batched, as its guide has it.

Run by a Python that has litserve, torch and timm:

    python -m venv --system-site-packages LIT && LIT/bin/pip install litserve
    python bench/serve.py MODEL --litserve LIT/bin/python
"""

from __future__ import annotations

import argparse
import io
from typing import Any

import litserve
import timm
import torch
from PIL import Image

BATCH_SIZE = 16
BATCH_TIMEOUT_S = 0.01


class Labels(litserve.LitAPI):
    """Decoding, batches, the network and answers, each where LitServe wants it."""

    def setup(self, device: str) -> None:
        self.network = timm.create_model("tf_efficientnet_lite0", num_classes=18).eval()
        data = timm.data.resolve_data_config({}, model=self.network)
        self.transform = timm.data.create_transform(**data)

    # No annotation: LitServe parses bodies by it, and takes none for a form.
    def decode_request(self, request) -> torch.Tensor:  # type: ignore[no-untyped-def]
        image = Image.open(io.BytesIO(request["file"].file.read())).convert("RGB")
        return self.transform(image)

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    @torch.inference_mode()
    def predict(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images).softmax(1)

    def unbatch(self, output: torch.Tensor) -> list[torch.Tensor]:
        return list(output)

    def encode_response(self, output: torch.Tensor) -> dict[str, Any]:
        best = output.topk(5)
        return {"labels": best.indices.tolist(), "probabilities": best.values.tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    labels = Labels(
        max_batch_size=BATCH_SIZE, batch_timeout=BATCH_TIMEOUT_S, api_path="/v1/predict"
    )
    server = litserve.LitServer(labels, accelerator="cpu", timeout=False)
    server.run(
        host="127.0.0.1",
        port=parser.parse_args().port,
        generate_client_file=False,
        log_level="warning",
    )
