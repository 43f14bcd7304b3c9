"""The peer of bench/serve.py: a timm network behind FastAPI, as its tutorials have it."""

from __future__ import annotations

import argparse
import io

import timm
import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

app = FastAPI()
network = timm.create_model("tf_efficientnet_lite0", num_classes=18).eval()
transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=network))


@app.post("/v1/predict")
def predict(file: UploadFile) -> dict[str, object]:
    """Label one image."""
    image = Image.open(io.BytesIO(file.file.read())).convert("RGB")
    with torch.inference_mode():
        probabilities = network(transform(image)[None]).softmax(1)[0]
    best = probabilities.topk(5)
    return {"labels": best.indices.tolist(), "probabilities": best.values.tolist()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning")
