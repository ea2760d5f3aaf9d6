"""Encoders in the form of the Hugging Face Hub: tiny ones of each family, random and written here,
and every folder that is refused."""

from __future__ import annotations

import http.server
import json
import pickle
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from genrecore.errors import GenrecoreError, UsageError
from genrecore.models.encoders import files
from genrecore.models.encoders.huggingface import FAMILIES

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2}
WAVES = {
    "hidden_size": 32, "intermediate_size": 37, "conv_dim": (16, 16), "conv_kernel": (10, 8),
    "conv_stride": (40, 40), "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
MAPS = {
    "patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": [1, 1], "spec_size": 64,
    "num_attention_heads": [2, 2], "num_mel_bins": 16, "patch_size": 4, "patch_stride": (4, 4),
    "window_size": 4,
}  # fmt: skip
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
SPEECH = {
    "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 37,
    "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 37, "vocab_size": 99,
    "num_mel_bins": 40, "max_source_positions": 150, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
README = "---\nlicense: cc-by-nc-4.0\ndatasets:\n- marsyas/gtzan\n---\nA model."


def write(folder: Path, family: str) -> Any:
    """A tiny random model of a family, written by the package; the model."""
    import transformers as hf  # takes a second

    torch.manual_seed(3)
    match family:
        case "audio-spectrogram-transformer":
            shape = {"max_length": 300, "num_mel_bins": 32}
            model = hf.ASTForAudioClassification(
                hf.ASTConfig(hidden_size=32, intermediate_size=37, **SMALL, **shape)
            )
            extractor = hf.ASTFeatureExtractor(**shape)
        case "clap":
            maps = {**MAPS, "enable_fusion": True, "fusion_type": "aff_2d"}
            model = hf.ClapModel(hf.ClapConfig(audio_config=maps, text_config=TEXT))
            extractor = hf.ClapFeatureExtractor(feature_size=16, max_length_s=1)
        case "clap_audio_model":
            model = hf.ClapAudioModel(hf.ClapAudioConfig(**MAPS))
            extractor = hf.ClapFeatureExtractor(
                feature_size=16, max_length_s=1, truncation="rand_trunc"
            )
        case "hubert":
            model = hf.HubertModel(hf.HubertConfig(**SMALL, **WAVES))
            extractor = hf.Wav2Vec2FeatureExtractor()
        case "wav2vec2":
            model = hf.Wav2Vec2Model(hf.Wav2Vec2Config(**SMALL, **WAVES))
            extractor = hf.Wav2Vec2FeatureExtractor()
        case "whisper":
            model = hf.WhisperForConditionalGeneration(hf.WhisperConfig(**SPEECH))
            extractor = hf.WhisperFeatureExtractor(feature_size=40, chunk_length=3)
    model.eval()
    if norms := [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]:
        norms[0].running_mean.uniform_(-1, 1)  # so that evaluation mode shows
    hf.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    (folder / "README.md").write_text(README)
    return model


def sound(n_samples: int, batch: int = 3) -> torch.Tensor:
    noise = torch.randn(batch, n_samples, generator=torch.Generator().manual_seed(5))
    return noise * torch.tensor([0.01, 0.1, 0.5])[:batch, None]


@pytest.fixture
def ast(tmp_path: Path) -> Path:
    """A folder that holds the smallest model."""
    write(tmp_path / "tiny_ast", "audio-spectrogram-transformer")
    return tmp_path / "tiny_ast"


WINDOWS = {
    "audio-spectrogram-transformer": (16_000, 3.0),
    "clap": (48_000, 1.0),
    "clap_audio_model": (48_000, 1.0),
    "hubert": (16_000, 5.0),
    "wav2vec2": (16_000, 5.0),
    "whisper": (16_000, 3.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_each_family_gives_what_its_package_gives(
    family: str, own_cache: Path, tmp_path: Path
) -> None:
    """Alone, in a batch, and for each layer; the original is asked for each patch by itself."""
    from transformers import AutoFeatureExtractor

    model = write(tmp_path / "Tiny model", family)
    (card,) = files.add(tmp_path / "Tiny model")
    assert (card.name, card.title, card.kind) == ("tiny_model", "Tiny model", "huggingface")
    assert (card.sample_rate_hz, card.patch_s) == WINDOWS[family]
    assert card.licence == "cc-by-nc-4.0"
    assert card.non_commercial
    assert card.may_be_shared
    assert (card.trained_on, card.has_heard("gtzan")) == ("marsyas/gtzan", "yes")
    assert card.has_heard("fma_small") == "unknown"
    assert list(card.layers) == ["last", "1", "2"]
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "Tiny model")
    part = {
        "audio-spectrogram-transformer": lambda: model.audio_spectrogram_transformer,
        "clap": lambda: model.audio_model,
        "whisper": lambda: model.model.encoder,
    }.get(family, lambda: model)()
    network, hop = files.load("tiny_model", card.sha256), card.patch_samples // 2
    waves = sound(2 * card.patch_samples)
    made = {layer: network.embeddings(waves, (layer,), hop) for layer in card.layers}
    joined = network.embeddings(waves, tuple(card.layers), hop)
    torch.testing.assert_close(joined, torch.cat(list(made.values()), dim=2))
    for k in range(3):
        for step in range(3):
            patch = waves[k, step * hop : step * hop + card.patch_samples].numpy()
            rate_hz = card.sample_rate_hz
            inputs = dict(extractor(patch, sampling_rate=rate_hz, return_tensors="pt"))
            if "is_longer" in inputs:  # the extractor says it of one patch a batch by chance
                inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)
            theirs = part(**inputs, output_hidden_states=True)
            states = [theirs.last_hidden_state, *theirs.hidden_states[1:]]
            for (layer, ours), state in zip(made.items(), states, strict=True):
                assert ours.shape == (3, 3, card.layers[layer])
                # CLAP's maps have their numbers first, tokens theirs last
                mean = state.flatten(2).mean(2) if state.dim() == 4 else state.mean(1)
                torch.testing.assert_close(ours[k, step], mean[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_can_be_trained_on(family: str, own_cache: Path, tmp_path: Path) -> None:
    write(tmp_path / "tiny", family)
    (card,) = files.add(tmp_path / "tiny")
    with torch.device("meta"):
        shape = (
            files.blank(card)
            .embeddings(torch.empty(2, card.patch_samples + 7), ("last",), card.hop_samples())
            .shape
        )
    assert shape == (2, 1, card.layers["last"])
    network = files.load("tiny").train().requires_grad_(True)
    network.embeddings(sound(card.patch_samples), ("last",), card.hop_samples()).sum().backward()
    first = next(iter(network.parameters()))
    assert first.grad is not None
    random = files.blank(card).state_dict()
    assert {name: value.shape for name, value in random.items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }


# What is refused


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: Path) -> None:
    no_weights(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def remote_code(folder: Path) -> None:
    change(folder / "config.json", auto_map={"AutoModel": "modeling.Model"})
    (folder / "modeling.py").write_text("raise SystemExit('run')")


def remote_preparation(folder: Path) -> None:
    change(folder / "preprocessor_config.json", auto_map={"AutoFeatureExtractor": "x.X"})


def kernels_of_the_hub(folder: Path) -> None:
    change(folder / "config.json", attn_implementation="someone/attention")


def half(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def tensors(folder: Path, name: str, value: torch.Tensor | None) -> None:
    """One tensor changed, or left out."""
    state = safetensors.torch.load_file(folder / "model.safetensors")
    (full,) = (key for key in state if key.endswith(name))
    state.pop(full)
    if value is not None:
        state[full] = value
    safetensors.torch.save_file(state, folder / "model.safetensors", {"format": "pt"})


def not_a_number(folder: Path) -> None:
    tensors(folder, "embeddings.cls_token", torch.full((1, 1, 32), torch.nan))


def missing(folder: Path) -> None:
    tensors(folder, "embeddings.cls_token", None)


def other_shape(folder: Path) -> None:
    tensors(folder, "embeddings.cls_token", torch.zeros(1, 1, 31))


def unknown(folder: Path) -> None:
    change(folder / "config.json", model_type="bert")


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def impossible_rate(folder: Path) -> None:
    change(folder / "preprocessor_config.json", sampling_rate=7)


def no_extractor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (no_weights, r"tiny_ast holds no weights; expected model\.safetensors"),
        (pickled, r"as a pickle \(pytorch_model\.bin\), which can run any program code"),
        (remote_code, r"wants program code from elsewhere .*auto_map.* which is never done"),
        (remote_preparation, r"wants program code from elsewhere"),
        (kernels_of_the_hub, r"wants program code from elsewhere .*attn_implementation in its"),
        (half, r"tiny_ast cannot be read by transformers: "),
        (not_a_number, r"hold NaN or infinity: .*cls_token"),
        (missing, r"lack .*cls_token"),
        (other_shape, r"cannot be read by transformers: "),
        (unknown, r"of the type 'bert'; those that can be read are: audio-spectrogram-"),
        (no_json, r"of the type None"),
        (impossible_rate, r"cannot be read by transformers: "),
        (no_extractor, r"cannot be read by transformers: "),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_sentence_and_nothing_is_kept(
    damage: Any, sentence: str, own_cache: Path, ast: Path
) -> None:
    damage(ast)
    with pytest.raises(GenrecoreError, match=sentence) as caught:
        files.add(ast)
    assert "\n" not in str(caught.value)
    assert not files.installed()
    assert not (own_cache / "encoders").exists()


def test_a_name_that_is_none_is_refused(own_cache: Path, ast: Path) -> None:
    with pytest.raises(UsageError, match=r"'My model' is no name .* expected small letters"):
        files.add(ast, "My model")
    assert not files.installed()


def test_settings_that_were_changed_in_the_cache_are_noticed(own_cache: Path, ast: Path) -> None:
    files.add(ast)
    kept = own_cache / "encoders/tiny_ast"
    assert not list(kept.glob("*.py"))
    change(kept / "preprocessor_config.json", do_normalize=False)
    with pytest.raises(GenrecoreError, match="have changed"):
        files.load("tiny_ast")


def test_without_the_package_one_sentence_says_how_to_get_it(
    own_cache: Path, ast: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("transformers", "huggingface_hub"):
        monkeypatch.setitem(sys.modules, package, None)
    how = r"pip install -c constraints\.txt 'genrecore\[encoders\]'\."
    with pytest.raises(GenrecoreError, match=f"Reading tiny_ast needs the package .*: {how}"):
        files.add(ast)
    with pytest.raises(GenrecoreError, match=f"Fetching hf:a/b needs the package .*: {how}"):
        files.add("hf:a/b")


# By name


@pytest.fixture
def served(ast: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """A server that answers as the Hub does, with one model, `someone/tiny`; what it was asked."""
    from huggingface_hub import HfApi

    asked: list[str] = []
    shutil.copy(ast / "config.json", ast / "notes.json")
    revision = "0123456789abcdef0123456789abcdef01234567"

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            asked.append(path)
            file = ast / path.rsplit("/", 1)[-1]
            if path == f"/api/models/someone/tiny/tree/{revision}":
                entries = [
                    {"type": "file", "path": each.name, "size": each.stat().st_size, "oid": "0"}
                    for each in ast.iterdir()
                ]
                content = json.dumps(entries).encode()
            elif path.startswith("/api/models/someone/tiny"):
                names = [{"rfilename": each.name} for each in ast.iterdir()]
                facts = {"id": "someone/tiny", "sha": revision, "siblings": names}
                content = json.dumps(facts).encode()
            elif path.startswith(f"/someone/tiny/resolve/{revision}/") and file.is_file():
                content = file.read_bytes()
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{file.name}"')
            self.send_header("X-Repo-Commit", revision)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *values: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.HfApi", partial(HfApi, address))
    yield asked
    server.shutdown()
    server.server_close()


def test_a_model_is_fetched_by_name_with_its_revision(own_cache: Path, served: list[str]) -> None:
    (card,) = files.add("hf:someone/tiny")
    assert card.name == "tiny"
    assert card.source == "hf:someone/tiny@0123456789abcdef0123456789abcdef01234567"
    assert card.made_by == f"{card.source} of the Hugging Face Hub"
    assert files.load("tiny", card.sha256)
    assert not [path for path in served if path.endswith("notes.json")]
    with pytest.raises(GenrecoreError, match=r"hf:someone/other cannot be fetched: .* hf download"):
        files.add("hf:someone/other")
    with pytest.raises(UsageError, match="expected hf:OWNER/NAME"):
        files.add("hf:tiny")
    assert list(files.installed()) == ["tiny"]


def test_without_a_network_one_sentence_says_how_to_bring_the_folder(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    nowhere = partial(HfApi, "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.HfApi", nowhere)
    with pytest.raises(GenrecoreError) as caught:
        files.add("hf:someone/tiny")
    sentence = str(caught.value)
    assert sentence.startswith("hf:someone/tiny cannot be fetched: ")
    assert "hf download someone/tiny --local-dir FOLDER" in sentence
    assert "\n" not in sentence
    assert not files.installed()
