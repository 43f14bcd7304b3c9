"""Check that a plain installation, without torch, serves what was exported elsewhere.

    python .ci/check_serving.py FOLDER

Run by the environment that trains. It trains and exports a small model on rendered photos, installs
shopsight with the extra `serve` alone into a new environment in FOLDER, and lets that one predict,
embed, verify and serve. Prints how large the environment is. Where nothing can be installed,
nothing is checked.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "timm", "lightning", "cv2", "scipy", "sklearn", "matplotlib")


def call(*words: object, fails: bool = False) -> str:
    """Run a command to its end; give what it printed."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, encoding="utf-8", check=False
    )
    if (done.returncode != 0) != fails:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}")
    return done.stderr if fails else done.stdout


def trained(folder: Path) -> Path:
    """A model of rendered photos, exported."""
    from shopsight import api
    from shopsight.datasets.synthetic import draw_catalog

    catalog = draw_catalog(folder / "photos", products_per_class=6)
    settings = ["training.epochs=1", "training.batch_size=16"]
    run = folder / "run"
    api.train(catalog, out=run, recipe="fashion-mnist-cnn", settings=settings)
    api.export(run)
    return run


def check_service(words: list[object], photo: Path) -> None:
    """Serve, and ask for a photo's label."""
    service = subprocess.Popen(
        [str(word) for word in words], stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        said = []
        for line in service.stderr:
            said.append(line)
            if found := re.search(r"serving at (\S+)", line):
                break
        else:
            sys.exit("".join(said))
        request = urllib.request.Request(
            f"{found[1]}/v1/predict", photo.read_bytes(), {"Content-Type": "image/jpeg"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            (one,) = json.load(answer)["predictions"]
        assert one["labels"], one
    finally:
        service.terminate()
        service.communicate(timeout=60)


def main() -> None:
    """Train and export here, serve there."""
    venv = Path(sys.argv[1])
    done = subprocess.run(["bash", ROOT / ".ci" / "make-venv", venv], check=False)
    python = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install.append(f"{ROOT}[serve]")
    if done.returncode or subprocess.run(install, check=False).returncode:
        print("not checked: an environment without extras cannot be made here")
        return
    for module in HEAVY:
        call(python, "-c", f"import {module}", fails=True)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        run = trained(folder)
        shopsight = [python, "-m", "shopsight"]
        photo = next((folder / "photos").rglob("*.jpg"))
        said = call(*shopsight, "predict", run, photo)
        assert "%" in said, said
        call(*shopsight, "embed", run, folder / "photos", "--out", folder / "vectors")
        checks = json.loads(call(*shopsight, "verify", run, "--json"))
        assert [one["engine"] for one in checks] == ["onnxruntime on cpu, 32"], checks
        check_service([*shopsight, "serve", run, "--port", "0"], photo)
        said = call(*shopsight, "train", folder / "photos", "--out", folder / "b", fails=True)
        assert "shopsight[train]" in said, said
    size = sum(file.stat().st_size for file in venv.rglob("*") if file.is_file())
    print(f"a plain installation of {size / 1e6:.0f} MB predicts, embeds, verifies and serves")


if __name__ == "__main__":
    main()
